//! Servers that are linked in a ring: each frame reaches each member once, nothing goes round, and
//! the servers say what is wrong.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mles::protocol::Cid;
use mles::{Broker, LinkState};

use crate::common::{PATIENCE, SILENCE, wait_until};
use crate::peer_world::{
    Counts, Publisher, Recorder, all_sent, expect_history, free_address, link, peer_settings,
    start_at, state,
};

/// Servers each of which has the next as its upstream, and the last the first.
fn ring(count: usize, cid: Option<Cid>) -> Vec<Broker> {
    let addresses: Vec<SocketAddr> = (0..count).map(|_| free_address()).collect();
    let server = |at: usize| {
        let mut settings = peer_settings(&[addresses[(at + 1) % count]]);
        settings.peer.cid = cid;
        start_at(addresses[at], settings)
    };
    (0..count).map(server).collect()
}

/// All links but one are up, and that one is left out.
fn is_settled(servers: &[Broker]) -> bool {
    let states: Vec<_> = servers.iter().filter_map(state).collect();
    let is = |wanted: LinkState| states.iter().filter(|state| **state == wanted).count();
    states.len() == servers.len()
        && is(LinkState::Up) == servers.len() - 1
        && is(LinkState::Loop) == 1
}

fn settle(servers: &[Broker]) {
    let deadline = Instant::now() + PATIENCE;
    while !is_settled(servers) {
        let links: Vec<_> = servers.iter().flat_map(Broker::links).collect();
        assert!(
            Instant::now() < deadline,
            "one link is left out: {links:#?}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn frames_in(servers: &[Broker]) -> u64 {
    servers.iter().map(|server| server.stats().frames_in).sum()
}

fn check_ring(count: usize, cid: Option<Cid>) {
    let servers = ring(count, cid);
    let numbered = || servers.iter().zip((10..).step_by(10));
    let recorders = numbered().map(|(s, n)| Recorder::join(s, &format!("r{n}"), n));
    let recorders: Vec<_> = recorders.collect();
    let publishers = numbered().map(|(s, n)| Publisher::join(s, &format!("p{n}"), n + 1));
    let mut publishers: Vec<_> = publishers.collect();
    settle(&servers);
    for _ in 0..20 {
        publishers.iter_mut().for_each(Publisher::publish);
    }
    let sent = all_sent(&publishers);
    recorders.iter().for_each(|recorder| recorder.expect(&sent));
    for (number, server) in (90..).zip(&servers) {
        expect_history(server, number, &sent);
    }
    let before = frames_in(&servers);
    std::thread::sleep(2 * SILENCE);
    assert_eq!(frames_in(&servers), before, "nothing goes round");
    let failure = servers
        .iter()
        .filter_map(link)
        .find_map(|link| link.last_failure);
    let failure = failure.unwrap();
    assert!(
        failure.contains("ring") || failure.contains("loop"),
        "{failure}"
    );
}

#[test]
fn a_server_that_is_its_own_upstream() {
    check_ring(1, None);
    check_ring(1, Some(Cid(7)));
}

#[test]
fn two_servers_that_have_each_other_as_upstream() {
    check_ring(2, None);
    check_ring(2, Some(Cid(7)));
}

#[test]
fn three_servers_in_a_ring() {
    check_ring(3, None);
    check_ring(3, Some(Cid(7)));
}

#[test]
fn a_long_ring() {
    check_ring(6, None);
}

/// The ring is cut at one place. When a server is lost elsewhere, the rest links up again.
#[test]
fn a_ring_stays_connected_when_a_server_is_lost() {
    let mut servers = ring(4, None);
    let _members: Vec<_> = (1..)
        .zip(&servers)
        .map(|(n, s)| Recorder::join(s, "m", n))
        .collect();
    settle(&servers);
    let cut = servers
        .iter()
        .position(|s| state(s) == Some(LinkState::Loop))
        .unwrap();
    // Not one whose own link is the one left out, nor the one which that link would go to.
    let lost = (cut + 2) % 4;
    drop(servers.remove(lost));
    let first = lost % 3;
    wait_until("the other three are in one line", || {
        let up = servers.iter().filter(|s| state(s) == Some(LinkState::Up));
        up.count() == 2
    });
    let last = (first + 2) % 3;
    let recorder = Recorder::join(&servers[last], "end", 70);
    let mut publisher = Publisher::join(&servers[first], "start", 71);
    publisher.publish();
    let sent: Counts = all_sent([&publisher]);
    recorder.expect(&sent);
}

/// Of a group with one static id only one server links up for a channel; the other stands by, and
/// takes over when the first is gone.
#[test]
fn a_group_with_one_static_id_has_one_link_for_each_channel() {
    let root = start_at(free_address(), peer_settings(&[]));
    let mut settings = peer_settings(root.local_addrs());
    settings.peer.cid = Some(Cid(7));
    let servers = [0, 1].map(|_| start_at(free_address(), settings.clone()));
    let _members = [1, 2].map(|n| Recorder::join(&servers[n as usize - 1], "m", n));
    wait_until("one is linked and one is refused", || {
        let states: Vec<_> = servers.iter().filter_map(state).collect();
        states.contains(&LinkState::Up) && states.contains(&LinkState::Refused)
    });
    let [first, second] = servers;
    let (linked, standby) = if state(&first) == Some(LinkState::Up) {
        (first, second)
    } else {
        (second, first)
    };
    let failure = link(&standby).unwrap().last_failure.unwrap();
    assert!(failure.contains("connection id"), "{failure}");
    drop(linked);
    wait_until("the other takes over", || {
        state(&standby) == Some(LinkState::Up)
    });
}
