//! The life of a link: opened for a channel with members, closed when they are gone, refused with a
//! reason, and honest about what it could not bring over.

use std::time::Duration;

use mles::protocol::{Cid, Keyring};
use mles::{LinkState, NameCheck, Settings};

use crate::common::{Client, free_address, start, wait_until};
use crate::linked_servers::{
    self, CHANNEL, Publisher, Recorder, all_sent, expect_history, link, peer_settings, start_at,
    state, wait_for_link,
};

#[test]
fn a_channel_has_a_link_for_as_long_as_it_has_members() {
    let root = start(peer_settings(&[]));
    let mut settings = peer_settings(root.local_addrs());
    settings.peer.linger = Duration::from_millis(50);
    let peer = start(settings);
    assert_eq!((peer.links(), root.stats().joined), (vec![], 0));

    let mut publisher = Publisher::join(&peer, "publisher", 1);
    wait_for_link(&peer);
    publisher.publish();
    let sent = all_sent([&publisher]);
    expect_history(&root, 2, &sent);
    drop(publisher);
    wait_until("the link is closed", || {
        state(&peer) == Some(LinkState::Idle)
    });
    wait_until("it has left the root", || root.stats().left == 1);

    // Who comes next finds the history, and what came to the root meanwhile.
    let mut above = Publisher::join(&root, "above", 3);
    above.publish();
    let both = all_sent([&above]).into_iter().chain(sent).collect();
    expect_history(&root, 4, &both);
    expect_history(&peer, 5, &both);
    assert_eq!(link(&peer).unwrap().counts.connects, 2);
}

#[test]
fn members_that_come_and_go_do_not_cost_the_link() {
    let root = start(peer_settings(&[]));
    let mut settings = peer_settings(root.local_addrs());
    settings.peer.linger = Duration::from_secs(60);
    let peer = start(settings);
    for number in 1..10 {
        let member = Recorder::join(&peer, "member", number);
        wait_for_link(&peer);
        drop(member);
        wait_until("it has left", || {
            peer.stats().left + peer.stats().half_closed >= number.into()
        });
    }
    assert_eq!(link(&peer).unwrap().counts.connects, 1);
}

/// The user is connected to both servers, with the same id.
#[test]
fn a_link_whose_member_is_above_already_takes_another_members_name() {
    let root = start(peer_settings(&[]));
    let above = Recorder::join(&root, "user", 1);
    wait_until("the user is above", || root.stats().joined == 1);
    let peer = start(peer_settings(root.local_addrs()));
    let mut user = Publisher::join(&peer, "user", 1);
    wait_until("the link is refused", || {
        link(&peer).is_some_and(|link| link.last_failure.is_some())
    });
    let failure = link(&peer).unwrap().last_failure.unwrap();
    assert!(failure.contains("connection id"), "{failure}");
    let _other = Recorder::join(&peer, "other", 2);
    wait_for_link(&peer);
    user.publish();
    above.expect(&all_sent([&user]));
}

#[test]
fn a_link_with_the_wrong_key_is_told_so_and_members_are_served() {
    let keyring = |secret: &str| Keyring::new(Some(secret.to_owned()), None);
    let root = start(Settings {
        keyring: keyring("one"),
        ..peer_settings(&[])
    });
    let peer = start(Settings {
        keyring: keyring("another"),
        ..peer_settings(root.local_addrs())
    });
    let join = |uid| Client::join_with(&peer, &keyring("another"), uid, CHANNEL, b"", None);
    let (mut alice, mut bob) = (join("alice"), join("bob"));
    wait_until("the link is refused", || {
        state(&peer) == Some(LinkState::Refused)
    });
    let failure = link(&peer).unwrap().last_failure.unwrap();
    assert!(failure.contains("wrong key"), "{failure}");
    alice.send(b"hello");
    assert_eq!(bob.text(), "hello");
}

/// `sender` is about the sessions that a server takes. Its own link is none of these.
#[test]
fn a_server_that_checks_senders_links_to_one_that_does_not() {
    let root = start(peer_settings(&[]));
    let mut settings = peer_settings(root.local_addrs());
    settings.limits.check_names = NameCheck::Sender;
    let peer = start(settings);
    let below = Recorder::join(&peer, "below", 1);
    let mut publisher = Publisher::join(&peer, "publisher", 2);
    wait_for_link(&peer);
    let mut above = Publisher::join(&root, "above", 3);
    let recorder = Recorder::join(&root, "recorder", 4);
    for _ in 0..20 {
        publisher.publish();
        above.publish();
    }
    let sent = all_sent([&publisher, &above]);
    below.expect(&sent);
    recorder.expect(&sent);
}

#[test]
fn a_server_below_one_that_checks_senders_says_so() {
    let mut settings = peer_settings(&[]);
    settings.limits.check_names = NameCheck::Sender;
    let root = start(settings);
    let peer = start(peer_settings(root.local_addrs()));
    let _member = Client::join(&peer, "member", CHANNEL);
    wait_until("the link is refused", || {
        state(&peer) == Some(LinkState::Refused)
    });
    let failure = link(&peer).unwrap().last_failure.unwrap();
    assert!(failure.contains("check_names"), "{failure}");
}

#[test]
fn frames_beyond_the_window_are_counted_as_lost() {
    let upstream = free_address();
    let mut settings = peer_settings(&[upstream]);
    settings.channels.default.history_frames = 10;
    let peer = start(settings);
    let mut publisher = Publisher::join(&peer, "publisher", 1);
    (0..35).for_each(|_| publisher.publish());
    wait_until("all are published", || peer.stats().frames_in == 35);
    let root = start_at(upstream, peer_settings(&[]));
    wait_for_link(&peer);
    expect_history(&root, 2, &linked_servers::count(&publisher.sent()[25..]));
    assert_eq!(link(&peer).unwrap().counts.frames_lost, 25);

    // What has arrived is not counted again when the link breaks.
    drop(root);
    publisher.publish();
    let root = start_at(upstream, peer_settings(&[]));
    wait_until("it is up again", || {
        link(&peer).unwrap().counts.connects == 2
    });
    expect_history(&root, 3, &linked_servers::count(&publisher.sent()[26..]));
    assert_eq!(link(&peer).unwrap().counts.frames_lost, 25);
}

/// A resync is one frame, and a frame has a limit. What the upstream cannot know follows it; of what
/// an upstream has lost that had it before, the newest go up.
#[test]
fn a_history_that_is_too_large_for_one_frame_is_cut_to_the_newest() {
    let upstream = free_address();
    let mut settings = peer_settings(&[upstream]);
    settings.limits.max_frame = 64 << 10;
    let peer = start(settings);
    let stream = Client::connect(&peer);
    let mut sender = Client::on(stream, &Keyring::default(), "s", CHANNEL, Some(Cid(1)));
    sender.send(b"");
    let text = |n: usize| format!("{n}{}", "x".repeat(10 << 10));
    (0..20).for_each(|n| sender.send(text(n).as_bytes()));
    wait_until("all are published", || peer.stats().frames_in == 20);
    let has = |server: &mles::Broker, texts: std::ops::Range<usize>| {
        let mut late = Client::join(server, "late", CHANNEL);
        for n in texts {
            assert!(late.text() == text(n), "message {n}");
        }
        late.assert_silent();
    };
    let root = start_at(upstream, peer_settings(&[]));
    wait_until("all are above", || root.stats().frames_in == 20);
    has(&root, 0..20);

    drop(root);
    let root = start_at(upstream, peer_settings(&[]));
    wait_until("the link is back", || root.stats().resync_frames > 0);
    has(&root, 14..20);
    assert_eq!(
        link(&peer).unwrap().counts.frames_lost,
        0,
        "they had arrived"
    );
}
