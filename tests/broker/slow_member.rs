//! Members that stop reading: what the policies do to them, and that nobody else notices.

use std::io::Write as _;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use mles::channel::{ChannelSettings, SlowPolicy};
use mles::protocol::Keyring;
use mles::{Broker, Settings};

use crate::common::bystanders::Bystanders;
use crate::common::slow::{self, MANY, QUEUE, message, number, read_to_last, send_many};
use crate::common::{Client, LONG, PATIENCE, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

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

/// A publisher, a member that reads, and one that does not.
fn join_three(broker: &Broker) -> [Client; 3] {
    ["alice", "reader", "slow"].map(|uid| Client::join_and_wait(broker, uid, "room"))
}

fn wait_until_disconnected(broker: &Broker) {
    wait_until("it is disconnected", || {
        broker.stats().slow_disconnects == 1
    });
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
        let [mut alice, mut reader, mut slow] = join_three(&broker);
        send_many(&mut alice, &mut reader);
        wait_until_disconnected(&broker);
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
            let [mut alice, mut reader, _slow] = join_three(&broker);
            send_many(&mut alice, &mut reader);
            wait_until_disconnected(&broker);
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
        let [mut alice, mut reader, mut slow] = join_three(&broker);
        send_many(&mut alice, &mut reader);
        let got = read_to_last(|| number(&slow.receive_message().message));
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

/// Has `alice` publish until she is held back.
fn publish_until_held(alice: &Client) -> (usize, Vec<u8>) {
    slow::publish_until_held(&alice.stream, |i| alice.frame(&message(i)).to_vec())
}

#[test]
fn backpressure_pauses_the_publisher_until_the_member_reads() {
    for threshold in SPREAD {
        let broker = with(backpressure(LONG), threshold);
        let good = Bystanders::start(&broker);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut slow = Client::join_and_wait(&broker, "slow", "room");
        let (sent, rest) = publish_until_held(&alice);
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
fn what_a_client_sent_before_its_connection_failed_is_published() {
    const LAST_WORDS: usize = 10;
    for threshold in SPREAD {
        let broker = with(backpressure(LONG), threshold);
        let [alice, mut reader, mut doomed] = join_three(&broker);
        // Nothing that members send is read while the publishers pause.
        let (sent, _) = publish_until_held(&alice);
        for i in 0..LAST_WORDS {
            doomed.send(format!("last words {i}").as_bytes());
        }
        doomed.reset();
        let (mut from_alice, mut last_words) = (0, 0);
        while last_words < LAST_WORDS {
            let received = reader.receive_message();
            if received.uid == "slow" {
                let expected = format!("last words {last_words}");
                assert_eq!(received.message, expected.as_bytes());
                last_words += 1;
            } else {
                from_alice += 1;
            }
        }
        assert!(from_alice <= sent);
        wait_until("its place is free", || broker.stats().left == 1);
    }
}

#[test]
fn backpressure_lasts_no_longer_than_write_deadline() {
    for threshold in SPREAD {
        let broker = with(backpressure(Duration::from_millis(300)), threshold);
        let [mut alice, mut reader, _slow] = join_three(&broker);
        send_many(&mut alice, &mut reader);
        wait_until_disconnected(&broker);
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
        let (_, rest) = publish_until_held(&alice);
        slow.reset();
        alice.stream.write_all(&rest).unwrap();
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        alice.send(b"hello");
        while reader.receive_message().message != b"hello" {}
    }
}

/// What it has sent is read when the hold is over, and then its connection is free for others.
#[test]
fn a_publisher_that_dies_while_it_is_held_back_is_gone_after_that() {
    for threshold in SPREAD {
        let broker = with(backpressure(LONG), threshold);
        let alice = Client::join_and_wait(&broker, "alice", "room");
        let slow = Client::join_and_wait(&broker, "slow", "room");
        publish_until_held(&alice);
        alice.reset();
        // What is sent to her shows that she is gone.
        let keyring = Keyring::default();
        let bob = Client::join_with(&broker, &keyring, "bob", "room", b"hello", None);
        // He reads, or he would be the next to hold her back.
        let mut stream = bob.stream.try_clone().unwrap();
        let reading = thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        slow.reset();
        wait_until("she is gone as well", || broker.stats().connections == 1);
        bob.stream.shutdown(Shutdown::Both).unwrap();
        // However that ends.
        let _ = reading.join().unwrap();
    }
}
