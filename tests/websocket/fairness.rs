//! However much a client makes of few bytes, others have their turn in between: the work of each
//! turn is bounded.

use std::io::{Read as _, Write as _};

use mles::{Broker, Settings};

use crate::common::bystanders::Bystanders;
use crate::common::websocket::{self, BINARY, PING, TEXT, Ws, address, body, frame, hello, quiet};
use crate::common::{Client, wait_until};

/// A budget, and as much again for what cannot be divided.
const LONGEST: u64 = 2 * 8192;
const MEMBERS: usize = 500;

fn one_shard() -> Broker {
    // A crowd takes two descriptors for each member.
    let _ = rlimit::increase_nofile_limit(20_000);
    let mut settings = Settings {
        shards: Some(1),
        ..quiet()
    };
    settings.limits.max_connections_per_address = 2 * MEMBERS;
    settings.limits.max_joining = 2 * MEMBERS;
    settings.channels.default.announce_joins = false;
    Broker::start(settings).unwrap()
}

/// Members of "busy" that read nothing: what a test sends fits into the buffers of their sockets.
fn crowd(broker: &Broker) -> Vec<Client> {
    let before = broker.stats().joined;
    let crowd = (0..MEMBERS)
        .map(|n| Client::join(broker, &format!("m{n}"), "busy"))
        .collect();
    wait_until("the crowd has joined", || {
        broker.stats().joined == before + MEMBERS as u64
    });
    crowd
}

#[test]
fn a_burst_of_two_pairs_in_turn_to_a_crowd() {
    const PAIRS: usize = 1000;
    let broker = one_shard();
    let _crowd = crowd(&broker);
    let mut ws = Ws::open(address(&broker));
    let messages = ["a", "b"].map(|uid| frame(BINARY, &body(uid, "busy", b"x")));
    for message in &messages {
        ws.raw(message);
    }
    wait_until("both are members", || {
        broker.stats().joined == MEMBERS as u64 + 2
    });
    let good = Bystanders::start(&broker);
    let before = broker.stats().deliveries;
    // A run for each message, as each is of another member than the one before it.
    ws.raw(&messages.concat().repeat(PAIRS));
    let goal = before + (2 * PAIRS * (MEMBERS + 1)) as u64;
    wait_until("all is delivered", || broker.stats().deliveries >= goal);
    good.finish();
    let stats = broker.stats();
    assert!(stats.longest_turn <= LONGEST, "{stats}");
}

#[test]
fn many_messages_of_one_member_to_a_crowd() {
    const MESSAGES: usize = 4000;
    let broker = one_shard();
    let _crowd = crowd(&broker);
    let mut alice = Client::join_and_wait(&broker, "alice", "busy");
    let good = Bystanders::start(&broker);
    let before = broker.stats().deliveries;
    let burst = alice.frame(b"x").repeat(MESSAGES);
    alice.stream.write_all(&burst).unwrap();
    let goal = before + (MESSAGES * MEMBERS) as u64;
    wait_until("all is delivered", || broker.stats().deliveries >= goal);
    good.finish();
    let stats = broker.stats();
    assert!(stats.longest_turn <= LONGEST, "{stats}");
}

#[test]
fn a_flood_of_pings() {
    const PINGS: usize = 20_000;
    let broker = one_shard();
    let good = Bystanders::start(&broker);
    let ws = Ws::v1(&broker, "alice", "busy");
    let (mut writer, mut reader) = (ws.stream.try_clone().unwrap(), ws.stream);
    let flood = std::thread::spawn(move || {
        writer.write_all(&frame(PING, b"").repeat(PINGS)).unwrap();
        writer
            .write_all(&frame(BINARY, &body("alice", "busy", b"last")))
            .unwrap();
        writer
    });
    // Pongs of one write may be answered by one; the last message shows that all have been read.
    let mut bob = Client::join_and_wait(&broker, "bob", "busy");
    let answers =
        std::thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
    while bob.receive_message().message != b"last" {}
    let writer = flood.join().unwrap();
    writer.shutdown(std::net::Shutdown::Both).unwrap();
    answers.join().unwrap();
    good.finish();
    let stats = broker.stats();
    assert!(stats.longest_turn <= LONGEST, "{stats}");
}

#[test]
fn a_crowd_that_joins_a_long_history() {
    const MESSAGES: usize = 30_000;
    let mut settings = Settings {
        shards: Some(1),
        ..websocket::settings()
    };
    settings.channels.default.history_frames = MESSAGES;
    settings.channels.default.announce_joins = false;
    let broker = Broker::start(settings).unwrap();
    let mut alice = Client::join_and_wait(&broker, "alice", "busy");
    let small = alice.frame(b"x");
    for _ in 0..MESSAGES / 10 {
        // One read each, as far as the broker keeps up.
        for _ in 0..10 {
            alice.stream.write_all(&small).unwrap();
        }
    }
    wait_until("all is stored", || {
        broker.stats().frames_in >= MESSAGES as u64
    });
    let good = Bystanders::start(&broker);
    let joined = broker.stats().joined;
    let plain: Vec<_> = (0..10)
        .map(|n| Client::join(&broker, &format!("plain {n}"), "busy"))
        .collect();
    let sessions: Vec<_> = (0..20)
        .map(|n| {
            let mut ws = Ws::open(address(&broker));
            let uid = format!("ws {n}");
            if n % 2 == 0 {
                ws.raw(&frame(BINARY, &body(&uid, "busy", b"")));
            } else {
                ws.raw(&frame(TEXT, hello(&uid, "busy").as_bytes()));
            }
            ws
        })
        .collect();
    wait_until("all have joined", || broker.stats().joined == joined + 30);
    for mut client in plain {
        for _ in 0..MESSAGES {
            assert_eq!(client.receive_message().message, b"x");
        }
    }
    for mut ws in sessions.into_iter().take(2) {
        for _ in 0..MESSAGES {
            ws.message();
        }
    }
    good.finish();
    let stats = broker.stats();
    assert!(stats.longest_turn <= LONGEST, "{stats}");
}
