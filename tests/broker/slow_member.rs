//! Members that stop reading: what the policies do to them, and that nobody else notices.

use std::io::Write as _;
use std::time::Duration;

use mles::channel::{ChannelSettings, SlowPolicy};
use mles::protocol::Keyring;
use mles::{Broker, Settings};

use crate::common::bystanders::Bystanders;
use crate::common::{Client, LONG, PATIENCE, is_timeout, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];
const SIZE: usize = 50_000;
const QUEUE: usize = 20 * SIZE;
/// Sends that fill any socket buffer and a queue of [`QUEUE`] bytes several times over.
const MANY: usize = 600;

fn with(channel: ChannelSettings, spread_threshold: usize) -> Broker {
    let mut settings = Settings {
        spread_threshold,
        ..settings()
    };
    settings.channels.default = ChannelSettings {
        history_frames: 0,
        ..channel
    };
    start(settings)
}

/// A message that tells its number and is whole only at its full length.
fn message(i: usize) -> Vec<u8> {
    let mut message = format!("{i} ").into_bytes();
    message.resize(SIZE, b'.');
    message
}

fn number(message: &[u8]) -> usize {
    assert_eq!(message.len(), SIZE);
    let text = std::str::from_utf8(message).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Sends [`MANY`] messages, each of which `reader` gets before the next is sent.
fn send_many(alice: &mut Client, reader: &mut Client) {
    for i in 0..MANY {
        alice.send(&message(i));
        assert_eq!(number(&reader.receive_message().message), i);
    }
}

#[test]
fn disconnect_at_queue_bytes() {
    for threshold in SPREAD {
        let channel = ChannelSettings {
            queue_bytes: QUEUE,
            ..settings().channels.default
        };
        let broker = with(channel, threshold);
        let good = Bystanders::start(&broker);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        let mut slow = Client::join_and_wait(&broker, "slow", "room");
        send_many(&mut alice, &mut reader);
        wait_until("it is disconnected", || {
            broker.stats().slow_disconnects == 1
        });
        assert!(broker.stats().dropped_frames > 0);
        // What had reached the socket can still be read, in order and without a gap.
        let mut next = 0;
        while let Ok(Some(received)) = slow.try_receive(PATIENCE) {
            assert_eq!(number(&received.message), next);
            next += 1;
        }
        assert!((1..MANY).contains(&next), "{next}");
        good.finish();
    }
}

#[test]
fn disconnect_at_write_deadline() {
    for threshold in SPREAD {
        for policy in [SlowPolicy::Disconnect, SlowPolicy::DropOldest] {
            let channel = ChannelSettings {
                slow_policy: policy,
                write_deadline: Duration::from_millis(300),
                ..settings().channels.default
            };
            let broker = with(channel, threshold);
            let mut alice = Client::join_and_wait(&broker, "alice", "room");
            let mut reader = Client::join_and_wait(&broker, "reader", "room");
            let _slow = Client::join_and_wait(&broker, "slow", "room");
            send_many(&mut alice, &mut reader);
            wait_until("it is disconnected", || {
                broker.stats().slow_disconnects == 1
            });
            alice.send(b"goodbye");
            assert_eq!(reader.text(), "goodbye");
        }
    }
}

#[test]
fn drop_oldest_keeps_the_newest_frames_whole() {
    for threshold in SPREAD {
        let channel = ChannelSettings {
            queue_bytes: QUEUE,
            slow_policy: SlowPolicy::DropOldest,
            ..settings().channels.default
        };
        let broker = with(channel, threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        let mut slow = Client::join_and_wait(&broker, "slow", "room");
        send_many(&mut alice, &mut reader);
        let (mut got, mut last) = (0, None);
        while last != Some(MANY - 1) {
            let next = number(&slow.receive_message().message);
            assert!(last < Some(next), "{last:?} then {next}");
            (got, last) = (got + 1, Some(next));
        }
        assert!(got < MANY);
        assert_eq!(broker.stats().dropped_frames, (MANY - got) as u64);
        assert_eq!(broker.stats().slow_disconnects, 0);
        // It is a member like any other again.
        alice.send(b"hello");
        assert_eq!(slow.text(), "hello");
    }
}

fn backpressure(write_deadline: Duration) -> ChannelSettings {
    ChannelSettings {
        queue_bytes: QUEUE,
        write_deadline,
        slow_policy: SlowPolicy::Backpressure,
        ..settings().channels.default
    }
}

/// Publishes until the socket has been full for a while, and returns how many frames went in.
fn publish_until_held(alice: &mut Client) -> (usize, Vec<u8>) {
    alice.stream.set_nonblocking(true).unwrap();
    let (mut sent, mut rest, mut idle) = (0, Vec::new(), 0);
    while idle < 100 {
        if rest.is_empty() {
            rest = alice.frame(&message(sent)).to_vec();
            sent += 1;
        }
        match alice.stream.write(&rest) {
            Ok(n) => {
                rest.drain(..n);
                idle = 0;
            }
            Err(error) => {
                assert!(is_timeout(&error), "{error}");
                std::thread::sleep(Duration::from_millis(5));
                idle += 1;
            }
        }
        assert!(sent < 100 * MANY, "never held back");
    }
    alice.stream.set_nonblocking(false).unwrap();
    (sent, rest)
}

#[test]
fn backpressure_pauses_the_publisher_until_the_member_reads() {
    for threshold in SPREAD {
        let broker = with(backpressure(LONG), threshold);
        let good = Bystanders::start(&broker);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut slow = Client::join_and_wait(&broker, "slow", "room");
        let (sent, rest) = publish_until_held(&mut alice);
        let reading = std::thread::spawn(move || {
            for i in 0..sent {
                assert_eq!(number(&slow.receive_message().message), i);
            }
            slow
        });
        alice.stream.write_all(&rest).unwrap();
        let mut slow = reading.join().unwrap();
        alice.send(b"hello");
        assert_eq!(slow.text(), "hello");
        assert_eq!(broker.stats().slow_disconnects, 0);
        assert_eq!(broker.stats().dropped_frames, 0);
        good.finish();
    }
}

#[test]
fn backpressure_lasts_no_longer_than_write_deadline() {
    for threshold in SPREAD {
        let broker = with(backpressure(Duration::from_millis(300)), threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        let _slow = Client::join_and_wait(&broker, "slow", "room");
        send_many(&mut alice, &mut reader);
        wait_until("it is disconnected", || {
            broker.stats().slow_disconnects == 1
        });
        alice.send(b"hello");
        assert_eq!(reader.text(), "hello");
    }
}

/// A publisher is let go on when the member that held it back leaves instead of reading.
#[test]
fn backpressure_ends_with_the_member() {
    for threshold in SPREAD {
        let broker = with(backpressure(LONG), threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let slow = Client::join_and_wait(&broker, "slow", "room");
        let (_, rest) = publish_until_held(&mut alice);
        slow.reset();
        alice.stream.write_all(&rest).unwrap();
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        alice.send(b"hello");
        while reader.receive_message().message != b"hello" {}
    }
}

/// Its connection is free for others before the hold is over.
#[test]
fn a_publisher_that_dies_while_it_is_held_back_is_gone() {
    for threshold in SPREAD {
        let broker = with(backpressure(LONG), threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let _slow = Client::join_and_wait(&broker, "slow", "room");
        publish_until_held(&mut alice);
        alice.reset();
        // What is sent to her shows that she is gone.
        let keyring = Keyring::default();
        let _bob = Client::join_with(&broker, &keyring, "bob", "room", b"hello", None);
        wait_until("she is gone", || broker.stats().connections == 2);
    }
}
