//! Joins with an empty message are announced, collected, and never stored.

use std::collections::HashSet;

use mles::Settings;
use mles::protocol::Keyring;

use crate::common::{Client, settings, start, wait_until};

/// A thousand joining at once: everybody hears of everybody who came later, and it does not cost
/// a thousand writes a member.
#[test]
fn a_crowd_of_joiners_is_announced_in_few_writes() {
    const WITNESSES: usize = 10;
    const CROWD: usize = 1000;
    for spread_threshold in [10 * CROWD, 5] {
        let broker = start(Settings {
            spread_threshold,
            ..settings()
        });
        let join = |i| Client::join_and_wait(&broker, &format!("witness {i}"), "room");
        let mut witnesses: Vec<_> = (0..WITNESSES).map(join).collect();
        let mut crowd: Vec<_> = (0..CROWD)
            .map(|i| {
                let (stream, uid) = (Client::connect(&broker), format!("joiner {i}"));
                Client::on(stream, &Keyring::default(), &uid, "room", None)
            })
            .collect();
        let before = broker.stats().writes;
        crowd.iter_mut().for_each(|client| client.send(b""));
        for witness in &mut witnesses {
            assert_eq!(announced(witness, CROWD).len(), CROWD);
        }
        let total = (WITNESSES + CROWD) as u64;
        assert_eq!(broker.stats().joined, total);
        // Everything is written when a message published behind it has come everywhere.
        witnesses[0].send(b"now");
        for client in witnesses[1..].iter_mut().chain(&mut crowd) {
            assert_eq!(client.text(), "now");
        }
        let writes = broker.stats().writes - before;
        assert!(
            writes < total * 100,
            "{writes} writes for {CROWD} joins among {total} members"
        );
    }
}

/// The uids of the next `n` announcements of the crowd.
fn announced(witness: &mut Client, n: usize) -> HashSet<String> {
    let mut uids = HashSet::new();
    while uids.len() < n {
        let frame = witness.receive();
        assert!(frame.message.is_empty());
        if frame.uid.starts_with("joiner") {
            assert!(uids.insert(frame.uid), "announced twice");
        }
    }
    uids
}

#[test]
fn announcements_come_before_what_the_joiner_publishes() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    for i in 0..20 {
        let mut bob = Client::join(&broker, &format!("bob {i}"), "room");
        bob.send(b"hi");
        let (first, second) = (alice.receive(), alice.receive());
        assert_eq!(first.raw, bob.frame(b""));
        assert_eq!(second.raw, bob.frame(b"hi"));
    }
}

#[test]
fn they_can_be_switched_off() {
    let mut settings = settings();
    settings.channels.default.announce_joins = false;
    let broker = start(settings);
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    bob.send(b"hi");
    assert_eq!(alice.receive().raw, bob.frame(b"hi"));
    // A join that publishes is a message like any other.
    let keyring = Keyring::default();
    let carol = Client::join_with(&broker, &keyring, "carol", "room", b"I am carol", None);
    assert_eq!(alice.receive().raw, carol.frame(b"I am carol"));
}

#[test]
fn a_hundred_silent_joiners_do_not_flush_the_history() {
    let mut settings = settings();
    settings.channels.default.history_frames = 3;
    let broker = start(settings);
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    for text in ["one", "two", "three"] {
        alice.send(text.as_bytes());
    }
    let _crowd: Vec<_> = (0..100)
        .map(|i| Client::join(&broker, &format!("joiner {i}"), "room"))
        .collect();
    wait_until("all have joined", || broker.stats().joined == 101);
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    for text in ["one", "two", "three"] {
        assert_eq!(bob.text(), text);
    }
}
