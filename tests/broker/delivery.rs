//! Members get the history, then live messages, in one order, whole, never its own.

use crate::common::{self, Client, settings, start};

#[test]
fn a_message_reaches_the_others_as_it_was_sent() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut eve = Client::join_and_wait(&broker, "eve", "other");
    alice.send(b"hello");
    let received = bob.receive_message();
    assert_eq!(received.raw, alice.frame(b"hello"));
    alice.assert_silent();
    eve.assert_silent();
    broker.stop().unwrap();
}

#[test]
fn a_late_member_gets_history_then_live() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    for i in 0..5 {
        alice.send(format!("old {i}").as_bytes());
    }
    common::wait_until("the frames have come", || broker.stats().frames_in >= 5);
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    alice.send(b"new");
    for i in 0..5 {
        assert_eq!(bob.text(), format!("old {i}"));
    }
    assert_eq!(bob.text(), "new");
    broker.stop().unwrap();
}

#[test]
fn a_large_message_arrives_whole() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let large: Vec<u8> = (0..1_600_000_u32).map(|i| i.to_le_bytes()[1]).collect();
    for _ in 0..3 {
        alice.send(&large);
        assert_eq!(bob.receive_message().message, large);
    }
    broker.stop().unwrap();
}

#[test]
fn the_join_frame_may_publish() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let keyring = mles::protocol::Keyring::default();
    let _bob = Client::join_with(&broker, &keyring, "bob", "room", b"hi, I am bob", None);
    assert_eq!(alice.text(), "hi, I am bob");
    let mut carol = Client::join_and_wait(&broker, "carol", "room");
    assert_eq!(carol.text(), "hi, I am bob");
    broker.stop().unwrap();
}

#[test]
fn a_silent_join_is_announced_and_not_stored() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let bob = Client::join_and_wait(&broker, "bob", "room");
    assert_eq!(alice.receive().raw, bob.frame(b""));
    let mut carol = Client::join_and_wait(&broker, "carol", "room");
    assert_eq!(alice.receive().raw, carol.frame(b""));
    carol.assert_silent();
    broker.stop().unwrap();
}
