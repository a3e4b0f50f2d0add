//! What is too long, too large or too many is refused, and everybody else is served.

use std::io::Write as _;
use std::time::Duration;

use mles::{Broker, Limits, Settings, StartError};

use crate::common::bystanders::Bystanders;
use crate::common::{Client, assert_closes, settings, start, wait_until};

/// Room for four good clients: what the bystanders need.
const GOOD: usize = 4;

fn limited(limits: Limits) -> Broker {
    start(Settings {
        limits,
        ..settings()
    })
}

#[test]
fn a_name_at_the_limit_is_taken_and_a_longer_one_refused() {
    let broker = limited(Limits {
        max_uid: 20,
        max_channel_name: 30,
        ..settings().limits
    });
    let good = Bystanders::start(&broker);
    let (uid, channel) = ("u".repeat(20), "c".repeat(30));
    let _client = Client::join_and_wait(&broker, &uid, &channel);
    for (uid, channel) in [("u".repeat(21), "c"), ("u".into(), &*"c".repeat(31))] {
        let refused = broker.stats().refused;
        let mut client = Client::join(&broker, &uid, channel);
        assert_closes(&mut client.stream);
        wait_until("it is counted", || broker.stats().refused > refused);
    }
    good.finish();
}

#[test]
fn a_frame_at_the_limit_is_taken_and_a_longer_one_ends_the_session() {
    let broker = limited(Limits {
        max_frame: 2000,
        ..settings().limits
    });
    let good = Bystanders::start(&broker);
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let overhead = alice.frame(&[0; 1000]).len() - 1000;
    let largest = vec![b'x'; 2000 - overhead];
    alice.send(&largest);
    assert_eq!(bob.receive_message().message, largest);
    alice.send(&vec![b'x'; 2001 - overhead]);
    alice.assert_closed();
    bob.assert_silent();
    assert_eq!(broker.stats().protocol_errors, 1);
    good.finish();
}

#[test]
fn a_broker_for_no_frame_at_all_does_not_start() {
    for max_frame in [0, 16] {
        let limits = Limits {
            max_frame,
            ..settings().limits
        };
        let refused = Broker::start(Settings {
            limits,
            ..settings()
        });
        assert!(matches!(refused, Err(StartError::MaxFrame(m)) if m == max_frame));
    }
}

/// Fills `broker`, where `most` fit beside the good clients, with members, and sees that the next is
/// turned away, and that there is room again when they have gone.
fn assert_turns_away(limits: Limits, most: usize) {
    let broker = limited(limits);
    let good = Bystanders::start(&broker);
    wait_until("the good have joined", || {
        broker.stats().joined == GOOD as u64
    });
    let join = |i| Client::join_and_wait(&broker, &format!("member {i}"), "room");
    let members: Vec<_> = (0..most).map(join).collect();
    assert_closes(&mut Client::connect(&broker));
    wait_until("it is counted", || broker.stats().turned_away == 1);
    members.into_iter().for_each(Client::reset);
    wait_until("there is room again", || {
        broker.stats().connections == GOOD as u64
    });
    let _client = Client::join_and_wait(&broker, "alice", "room");
    good.finish();
}

#[test]
fn connections_over_the_limit_are_turned_away() {
    let limits = Limits {
        max_connections: GOOD + 5,
        ..settings().limits
    };
    assert_turns_away(limits, 5);
}

#[test]
fn connections_of_one_address_over_the_limit_are_turned_away() {
    let limits = Limits {
        max_connections_per_address: GOOD + 6,
        ..settings().limits
    };
    assert_turns_away(limits, 6);
}

#[test]
fn who_has_joined_does_not_count_as_joining() {
    let broker = limited(Limits {
        max_joining: 2,
        ..settings().limits
    });
    let join = |i| Client::join_and_wait(&broker, &format!("client {i}"), "room");
    let _clients: Vec<_> = (0..10).map(join).collect();
    assert_eq!(broker.stats().turned_away, 0);
}

#[test]
fn a_flood_of_channel_names_ends_at_the_limit() {
    const MOST: usize = 50;
    let broker = limited(Limits {
        max_channels: MOST,
        ..settings().limits
    });
    let good = Bystanders::start(&broker);
    let mut flood: Vec<_> = (0..500)
        .map(|i| Client::join(&broker, "flood", &format!("name {i}")))
        .collect();
    // One channel is that of the good clients.
    let refused = (flood.len() + 1 - MOST) as u64;
    wait_until("the flood has been handled", || {
        broker.stats().refused == refused
    });
    assert_eq!(broker.stats().channels, MOST as u64);
    // Who joins a channel that exists is not concerned.
    let _client = Client::join_and_wait(&broker, "late", "bystanders");
    flood.drain(..).for_each(Client::reset);
    wait_until("the names are free again", || broker.stats().channels == 1);
    let _client = Client::join_and_wait(&broker, "late", "a new name");
    good.finish();
}

#[test]
fn a_join_frame_must_come_in_time_however_slowly_it_drips() {
    let broker = limited(Limits {
        join_deadline: Duration::from_millis(300),
        ..settings().limits
    });
    let good = Bystanders::start(&broker);
    let key = mles::protocol::Keyring::default();
    let slow = || Client::on(Client::connect(&broker), &key, "slow", "room", None);
    let frame = slow().frame(&[b'x'; 10_000]);
    // Silent; in the header; at its end; in the body, within and beyond what is copied.
    for whole in [0, 2, 15, 16, 100, 5000] {
        let refused = broker.stats().refused;
        let mut client = slow();
        client.stream.write_all(&frame[..whole]).unwrap();
        let mut rest = frame[whole..].iter();
        wait_until("it is refused", || {
            if whole > 0
                && let Some(&byte) = rest.next()
            {
                // It fails when the broker has closed the connection, as it should.
                let _ = client.stream.write_all(&[byte]);
            }
            broker.stats().refused > refused
        });
    }
    good.finish();
}
