//! A client that has closed its sending side still receives, and costs little once it is gone.

use std::io::Write as _;
use std::time::Duration;

use mles::{Broker, Limits, Settings};

use crate::common::bystanders::Bystanders;
use crate::common::{Client, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

fn spreading(spread_threshold: usize) -> Broker {
    start(Settings {
        spread_threshold,
        ..settings()
    })
}

/// Closes the sending side of each and waits until the broker has seen it.
fn finish(broker: &Broker, clients: &mut [Client]) {
    let goal = broker.stats().half_closed + clients.len() as u64;
    clients.iter_mut().for_each(Client::finish);
    wait_until("their end is seen", || broker.stats().half_closed == goal);
}

#[test]
fn it_keeps_receiving() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut listeners: Vec<_> = (0..8)
            .map(|i| Client::join_and_wait(&broker, &format!("listener {i}"), "room"))
            .collect();
        finish(&broker, &mut listeners);
        for i in 0..200 {
            alice.send(format!("message {i}").as_bytes());
        }
        let large = vec![b'x'; 1_600_000];
        alice.send(&large);
        for listener in &mut listeners {
            for i in 0..200 {
                assert_eq!(listener.text(), format!("message {i}"));
            }
            assert_eq!(listener.receive_message().message, large);
        }
        broker.stop().unwrap();
    }
}

#[test]
fn what_it_sent_before_is_delivered_and_a_torn_frame_is_not() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut bob = Client::join_and_wait(&broker, "bob", "room");
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let torn = alice.frame(b"torn");
        alice.send(b"whole");
        alice.stream.write_all(&torn[..torn.len() - 1]).unwrap();
        alice.finish();
        assert_eq!(bob.text(), "whole");
        bob.assert_silent();
        bob.send(b"hello");
        assert_eq!(alice.text(), "hello");
    }
}

#[test]
fn that_it_is_gone_altogether_shows_when_something_is_sent() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        for i in 0..8 {
            drop(Client::join_and_wait(&broker, &format!("gone {i}"), "room"));
        }
        wait_until("the broker lets them go", || {
            alice.send(b"anyone?");
            broker.stats().connections == 1
        });
        assert_eq!(broker.stats().left, 8);
        // Nothing of them is left in the channel: its next member is alone with alice.
        let mut bob = Client::join_and_wait(&broker, "bob", "room");
        alice.send(b"last");
        while bob.text() != "last" {}
    }
}

#[test]
fn a_reset_ends_it() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut clients: Vec<_> = (0..8)
            .map(|i| Client::join_and_wait(&broker, &format!("client {i}"), "room"))
            .collect();
        finish(&broker, &mut clients);
        clients.into_iter().for_each(Client::reset);
        wait_until("they are gone", || broker.stats().connections == 0);
    }
}

#[test]
fn when_there_are_too_many_the_oldest_go() {
    const MOST: usize = 10;
    for spread_threshold in SPREAD {
        let broker = start(Settings {
            spread_threshold,
            limits: Limits {
                max_half_closed: MOST,
                ..settings().limits
            },
            ..settings()
        });
        let good = Bystanders::start(&broker);
        let mut clients: Vec<_> = (0..3 * MOST)
            .map(|i| Client::join_and_wait(&broker, &format!("client {i}"), "room"))
            .collect();
        for client in &mut clients {
            finish(&broker, std::slice::from_mut(client));
        }
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let (oldest, newest) = clients.split_at_mut(2 * MOST);
        oldest.iter_mut().for_each(Client::assert_closed);
        assert_eq!(broker.stats().half_closed_evicted, 2 * MOST as u64);
        alice.send(b"hello");
        for client in newest {
            assert_eq!(client.text(), "hello");
        }
        good.finish();
    }
}

/// The memory of an incomplete frame is given back when the rest cannot come any more.
#[test]
fn torn_frames_do_not_use_up_the_memory_for_incomplete_ones() {
    let mut settings = settings();
    settings.shards = Some(1);
    settings.limits.max_frame = 1 << 20;
    // Enough for two frames of the largest size, the least that a broker works with.
    settings.limits.partial_bytes = 0;
    let broker = start(settings);
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut torn = Vec::new();
    for i in 0..20 {
        let mut client = Client::join_and_wait(&broker, &format!("client {i}"), "room");
        let frame = client.frame(&vec![b'x'; 600_000]);
        client.stream.write_all(&frame[..550_000]).unwrap();
        finish(&broker, std::slice::from_mut(&mut client));
        torn.push(client);
    }
    bob.send(&vec![b'y'; 900_000]);
    for client in &mut torn {
        assert_eq!(client.receive_message().message.len(), 900_000);
    }
    assert_eq!(broker.stats().protocol_errors, 0);
}

/// A stop does not wait for clients that can say nothing more.
#[test]
fn a_stop_lets_it_go_at_once() {
    for spread_threshold in SPREAD {
        let broker = start(Settings {
            spread_threshold,
            drain_deadline: Duration::from_secs(3600),
            ..settings()
        });
        let mut clients: Vec<_> = (0..8)
            .map(|i| Client::join_and_wait(&broker, &format!("client {i}"), "room"))
            .collect();
        finish(&broker, &mut clients);
        broker.stop().unwrap();
        clients.iter_mut().for_each(Client::assert_closed);
    }
}
