//! Links over a network that fails: when it is well again, every frame is on all servers once, and
//! members that stayed connected to their server have got each once.
//!
//! Each plan of faults is made from a seed. A seed that fails can be repeated with
//! `MLES_TEST_SEED`.

use std::time::Duration;

use mles::LinkState;

use crate::common::{self, Rng, Server as _, free_address, start, wait_until};
use crate::linked_servers::proxy::{Cut, Mode};
use crate::linked_servers::world::{STAR, World};
use crate::linked_servers::{
    self, CHANNEL, Publisher, Recorder, all_sent, expect_history, link, peer_settings, start_at,
    state, wait_for_link,
};

#[test]
fn any_faults_with_seed_1() {
    World::suffer(STAR, Rng(1));
}

#[test]
fn any_faults_with_seed_2() {
    World::suffer(STAR, Rng(2));
}

#[test]
fn any_faults_with_seed_3() {
    World::suffer(STAR, Rng(3));
}

#[test]
fn any_faults_with_a_seed_of_today() {
    World::suffer(STAR, Rng::seeded());
}

#[test]
fn faults_and_restarts_with_seed_1() {
    World::suffer_with(STAR, Rng(1), World::restart_sometimes);
}

#[test]
fn faults_and_restarts_with_a_seed_of_today() {
    World::suffer_with(STAR, Rng::seeded(), World::restart_sometimes);
}

#[test]
fn a_link_that_flaps() {
    let mut world = World::new(STAR, |_| {});
    for round in 0..30 {
        world.publish_during(3);
        let cut = if round % 2 == 0 {
            Cut::Reset
        } else {
            Cut::Close
        };
        world.proxies[round % 2].cut(cut);
    }
    world.converges();
}

/// The first frame of a link is cut at any place, more than once.
#[test]
fn a_resync_that_is_cut() {
    let mut world = World::new(STAR, |_| {});
    let mut rng = Rng(7);
    for _ in 0..12 {
        world.proxies[0].set(Mode::Refuse);
        world.proxies[0].cut(Cut::Reset);
        world.publish_during(4);
        world.proxies[0].cut_after(rng.below(4000));
        world.proxies[0].set(Mode::Pass);
        world.publish_during(10);
    }
    world.converges();
}

/// The root dies and comes back empty, on the same address, while everybody publishes.
#[test]
fn a_root_that_comes_back_empty_gets_its_history_back() {
    let mut rng = Rng::seeded();
    let mut world = World::new(STAR, |_| {});
    let address = world.servers[0].address();
    world.publish_during(30);
    wait_until("all is at the first peer", || {
        world.recorders[1].has_all(&all_sent(&world.publishers))
    });
    let settings = peer_settings(&[]);
    // Nobody publishes on the root while it dies: what it has not passed on dies with it.
    let first = world.publishers.remove(0);
    let recorder = world.recorders.remove(0);
    drop((recorder, world.servers.remove(0)));
    world.publishers.iter_mut().for_each(Publisher::publish);
    let mut restarted = start_at(address, settings.clone());
    for _ in 0..3 {
        // Killed again while the resyncs come in.
        std::thread::sleep(Duration::from_millis(1 + rng.below(40) as u64));
        world.publishers.iter_mut().for_each(Publisher::publish);
        drop(restarted);
        restarted = start_at(address, settings.clone());
    }
    world.publishers.iter_mut().for_each(Publisher::publish);
    world.servers.iter().for_each(wait_for_link);
    let sent = all_sent(world.publishers.iter().chain([&first]));
    world
        .recorders
        .iter()
        .for_each(|recorder| recorder.expect(&sent));
    expect_history(&restarted, 90, &sent);
}

/// Both sides go on until what they had in common has left every history.
#[test]
fn a_window_that_has_moved_on_doubles_nothing() {
    let window = 20;
    let mut world = World::new(STAR, |settings| {
        settings.channels.default.history_frames = window
    });
    world.publish_during(window);
    let shared = all_sent(&world.publishers);
    world
        .recorders
        .iter()
        .for_each(|recorder| recorder.expect(&shared));
    for round in 0..4 {
        let proxy = &world.proxies[0];
        proxy.set(Mode::Refuse);
        proxy.cut(Cut::Reset);
        let below = world.publishers[1].sent().len();
        // The root's history moves on altogether, the peer's only in part.
        for _ in 0..2 * window {
            world.publishers[0].publish();
        }
        for _ in 0..window / 4 {
            world.publishers[1].publish();
        }
        let own = linked_servers::count(&world.publishers[1].sent()[below..]);
        wait_until("it is published below", || world.recorders[1].has_all(&own));
        world.proxies[0].set(Mode::Pass);
        wait_for_link(&world.servers[1]);
        world.publish();
        for (recorder, at) in world.recorders.iter().zip(0..) {
            let last = world
                .publishers
                .iter()
                .map(|p| p.sent().last().unwrap().clone());
            let last = linked_servers::count(&last.collect::<Vec<_>>());
            wait_until("the last have come", || recorder.has_all(&last));
            wait_until("so has what was in the window", || recorder.has_all(&own));
            let (sent, got) = (all_sent(&world.publishers), recorder.counts());
            let doubled: Vec<_> = got.iter().filter(|(text, n)| sent[*text] < **n).collect();
            assert!(
                doubled.is_empty(),
                "round {round}, server {at}: {doubled:?}"
            );
        }
    }
}

/// Nothing but equal frames, more than the histories hold: only counts tell which are missing.
#[test]
fn equal_frames_are_counted_when_a_link_comes_back() {
    let window = 20;
    let mut world = World::new(STAR, |settings| {
        settings.channels.default.history_frames = window
    });
    let keyring = mles::protocol::Keyring::default();
    let tick = |server: &mles::Broker, number, count| {
        let cid = Some(mles::protocol::Cid(number));
        let mut client = common::Client::join_with(server, &keyring, "clock", CHANNEL, b"", cid);
        for _ in 0..count {
            client.send(b"tick");
        }
        client
    };
    let ticks = |count| [("tick".to_owned(), count)].into();
    let mut clocks = vec![tick(&world.servers[0], 100, 2 * window)];
    let mut expected = 2 * window;
    world
        .recorders
        .iter()
        .for_each(|r| r.expect(&ticks(expected)));
    for round in 0..4 {
        world.proxies[0].set(Mode::Refuse);
        world.proxies[0].cut(Cut::Reset);
        clocks.push(tick(&world.servers[0], 101 + round, 3));
        clocks.push(tick(&world.servers[1], 201 + round, 4));
        let frames_in = || world.servers[1].stats().frames_in;
        wait_until("the peer's own are published", || {
            usize::try_from(frames_in()).unwrap() >= expected + 4
        });
        expected += 7;
        world.proxies[0].set(Mode::Pass);
        wait_for_link(&world.servers[1]);
        world
            .recorders
            .iter()
            .for_each(|r| r.expect(&ticks(expected)));
    }
    world.publishers.clear();
}

/// The upstream takes the connection and reads nothing.
#[test]
fn a_stuck_upstream_keeps_nobody_waiting() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = peer_settings(&[silent.local_addr().unwrap()]);
    settings.channels.default.queue_bytes = 1 << 20;
    settings.channels.default.history_frames = 10;
    settings.limits.max_frame = 512 << 10;
    let peer = start(settings);
    let recorder = Recorder::join(&peer, "recorder", 1);
    let keyring = mles::protocol::Keyring::default();
    let mut client = common::Client::join_with(&peer, &keyring, "sender", CHANNEL, b"", None);
    let (text, mut sent) = ("x".repeat(100 << 10), Vec::new());
    let given_up = || link(&peer).is_some_and(|link| link.counts.failures > 0);
    while !given_up() {
        assert!(sent.len() < 2000, "its queue has a bound");
        client.send(text.as_bytes());
        sent.push(text.clone());
        wait_until("members have it at once", || {
            recorder.got().len() == sent.len()
        });
    }
    let status = link(&peer).unwrap();
    assert!(status.last_failure.unwrap().contains("queue_bytes"));
}

#[test]
fn service_goes_on_without_the_upstream() {
    let upstream = free_address();
    let peer = start(peer_settings(&[upstream]));
    let recorder = Recorder::join(&peer, "recorder", 1);
    let mut publisher = Publisher::join(&peer, "publisher", 2);
    (0..20).for_each(|_| publisher.publish());
    let sent = all_sent([&publisher]);
    recorder.expect(&sent);
    expect_history(&peer, 3, &sent);
    wait_until("it is tried again", || {
        link(&peer).unwrap().counts.failures > 3
    });
    assert_ne!(state(&peer), Some(LinkState::Up));
    let root = start_at(upstream, peer_settings(&[]));
    wait_for_link(&peer);
    expect_history(&root, 4, &sent);
}

#[test]
fn the_next_upstream_is_tried_when_the_first_is_gone() {
    let (first, second) = (free_address(), free_address());
    let root = start_at(second, peer_settings(&[]));
    let peer = start(peer_settings(&[first, second]));
    let above = Recorder::join(&root, "above", 1);
    let mut publisher = Publisher::join(&peer, "publisher", 2);
    publisher.publish();
    above.expect(&all_sent([&publisher]));
    assert_eq!(link(&peer).unwrap().upstream, second.to_string());

    // The one in use goes, the other comes: what was published meanwhile is there once.
    drop(root);
    publisher.publish();
    let root = start_at(first, peer_settings(&[]));
    wait_until("it has changed over", || {
        link(&peer).is_some_and(|l| l.state == LinkState::Up && l.upstream == first.to_string())
    });
    publisher.publish();
    expect_history(&root, 3, &all_sent([&publisher]));
}
