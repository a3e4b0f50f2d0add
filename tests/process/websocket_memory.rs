//! Memory is bounded by the settings, not by WebSocket clients. The broker runs in a process of its
//! own here.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use mles::Settings;

use crate::broker_process::{BrokerProcess, be_the_broker, connect_small, send_large};
use crate::common::bystanders::Bystanders;
use crate::common::websocket::{BINARY, Got, PING, TEXT, Ws, body, frame, hello, quiet, request};
use crate::common::{Client, wait_until};

const MIB: usize = 1 << 20;
/// Bytes that the broker holds for each member that has stopped reading.
const QUEUE: usize = 16 * MIB;
/// Connections of [`Bystanders`].
const GOOD: u64 = 4;

#[test]
#[ignore = "no test: the broker process that the others start"]
fn broker_process() {
    be_the_broker(|role| {
        let mut settings = quiet();
        if role == "history" {
            settings.channels.default.history_frames = 100_000;
        }
        let channel = &mut settings.channels.default;
        channel.announce_joins = false;
        channel.queue_bytes = QUEUE;
        Settings {
            drain_deadline: Duration::from_millis(100),
            ..settings
        }
    });
}

fn start_process(role: &str) -> (BrokerProcess, SocketAddr) {
    let broker = BrokerProcess::start(module_path!(), role);
    let at = broker.websocket.unwrap();
    (broker, at)
}

fn open_small(at: SocketAddr, greeting: &[u8]) -> Ws {
    let mut ws = Ws::ask_on(connect_small(at), &request("/", "")).unwrap();
    ws.raw(greeting);
    ws
}

/// Joins `each` members of v1 and of v2, by connections with small buffers.
fn join_both(at: SocketAddr, each: u64) -> Vec<Ws> {
    let join = |i| {
        let uid = format!("member {i}");
        let v1 = frame(BINARY, &body(&uid, "room", b""));
        let v2 = frame(TEXT, hello(&uid, "room").as_bytes());
        [open_small(at, &v1), open_small(at, &v2)]
    };
    (0..each).flat_map(join).collect()
}

/// Ten bytes of a message that is announced with the largest length that may be.
fn greedy() -> Vec<u8> {
    let head = [&[BINARY, 0xFF][..], &(15u64 << 20).to_be_bytes(), b"mask"].concat();
    [&head[..], &[0; 10]].concat()
}

#[test]
fn announced_lengths_cost_nothing() {
    const MANY: u64 = 1000;
    let (mut broker, at) = start_process("");
    let good = Bystanders::start(&broker);
    let mut sessions: Vec<_> = (0..2 * MANY)
        .map(|i| {
            let mut ws = Ws::open(at);
            if i % 2 == 0 {
                let hello = hello(&format!("member {i}"), &format!("room {}", i % 20));
                ws.send(TEXT, hello.as_bytes());
            }
            ws
        })
        .collect();
    wait_until("half have joined", || broker.stat("joined") == MANY + GOOD);
    let before = broker.resident();
    for ws in &mut sessions {
        ws.raw(&greedy());
    }
    good.wait_for_rounds(100);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 20 * MIB, "grown by {grown} bytes");
    assert_eq!(broker.stat("protocol_errors"), 0);
    assert_eq!(broker.stat("connections"), 2 * MANY + GOOD);
    drop(sessions);
    wait_until("all are gone", || broker.stat("connections") == GOOD);
    good.finish();
}

/// Pings without end from clients that read no answer.
#[test]
fn unread_pongs_are_not_kept() {
    const BYTES: usize = 4 * MIB;
    let (mut broker, at) = start_process("");
    let good = Bystanders::start(&broker);
    let mut sessions: Vec<_> = (0..20)
        .map(|i| {
            let hello = hello(&format!("member {i}"), "room");
            open_small(at, &frame(TEXT, hello.as_bytes()))
        })
        .collect();
    wait_until("all have joined", || broker.stat("joined") == 20 + GOOD);
    let before = broker.resident();
    let pings = frame(PING, &[b'p'; 125]).repeat(500);
    for ws in &mut sessions {
        // All of them are taken: nobody waits for the client to read.
        for _ in 0..BYTES / pings.len() {
            ws.raw(&pings);
        }
    }
    good.wait_for_rounds(10);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 20 * MIB, "grown by {grown} bytes");
    assert_eq!(broker.stat("connections"), 20 + GOOD);
    good.finish();
}

/// Queues are shared by members of a version: hundreds that do not read cost little more than one
/// of each.
#[test]
fn members_that_stop_reading_share_their_queues() {
    const EACH: u64 = 200;
    let (mut broker, at) = start_process("");
    let good = Bystanders::start(&broker);
    let mut alice = Client::join(&broker, "alice", "room");
    let mut reader = Client::join(&broker, "reader", "room");
    let stopped = join_both(at, EACH);
    let members = GOOD + 2 + 2 * EACH;
    wait_until("all have joined", || broker.stat("joined") == members);
    let before = broker.resident();
    send_large(QUEUE / 2, &mut alice, &mut reader);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 6 * QUEUE, "grown by {grown} bytes");
    assert_eq!(broker.stat("slow_disconnects"), 0);
    send_large(2 * QUEUE, &mut alice, &mut reader);
    wait_until("they are disconnected", || {
        broker.stat("slow_disconnects") == 2 * EACH
    });
    wait_until("they are gone", || broker.stat("connections") == GOOD + 2);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 6 * QUEUE, "grown by {grown} bytes");
    drop(stopped);
    good.finish();
}

/// A crowd that joins a channel with a long history and reads nothing of it shares the channel's.
#[test]
fn unread_histories_are_shared() {
    const EACH: u64 = 100;
    const SIZE: usize = 1000;
    const MANY: usize = 15_000;
    let (mut broker, at) = start_process("history");
    let good = Bystanders::start(&broker);
    let mut alice = Client::join(&broker, "alice", "room");
    let mut reader = Client::join(&broker, "reader", "room");
    for _ in 0..MANY {
        alice.send(&[b'x'; SIZE]);
    }
    for _ in 0..MANY {
        assert_eq!(reader.receive_message().message.len(), SIZE);
    }
    let before = broker.resident();
    let crowd = join_both(at, EACH);
    let members = GOOD + 2 + 2 * EACH;
    wait_until("all have joined", || broker.stat("joined") == members);
    good.wait_for_rounds(10);
    // Of each queue the piece that is written next is made, and the others are entries. Copies would
    // be 200 times the history.
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 3 * MANY * SIZE, "grown by {grown} bytes");
    // It is all there for who reads it.
    for mut ws in crowd.into_iter().take(2) {
        for _ in 0..MANY {
            match ws.next() {
                Got::Text(text) => assert_eq!(text.len(), SIZE),
                Got::Binary(body) => assert!(body.len() > SIZE),
                got => panic!("{got:?}"),
            }
        }
    }
    good.finish();
}

/// Half of a request costs what has come of it.
#[test]
fn unfinished_requests_cost_little() {
    let (mut broker, at) = start_process("");
    let good = Bystanders::start(&broker);
    let before = broker.resident();
    let half: Vec<_> = (0..2000)
        .map(|_| {
            let mut stream = Client::connect(&at);
            stream.write_all(&request("/", "")[..100]).unwrap();
            stream
        })
        .collect();
    wait_until("all are there", || {
        broker.stat("connections") == 2000 + GOOD
    });
    good.wait_for_rounds(10);
    let grown = broker.resident().saturating_sub(before);
    assert!(grown < 20 * MIB, "grown by {grown} bytes");
    drop(half);
    wait_until("all are gone", || broker.stat("connections") == GOOD);
    good.finish();
}
