//! WebSocket clients that stop reading: what the policies do to them, and that what they get is
//! whole.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mles::Broker;
use mles::channel::{ChannelSettings, SlowPolicy};
use mles::protocol::Message;

use crate::common::bystanders::Bystanders;
use crate::common::slow::{
    MANY, QUEUE, message, number, publish_until_held, read_to_last, send_many,
};
use crate::common::websocket::{
    BINARY, Got, PONG, TEXT, Ws, address, body, frame, settings, with_policy,
};
use crate::common::{Client, LONG, PATIENCE, is_timeout, start, wait_until};

/// The number of a message of either version, and in which channel it was, for v1.
fn read(got: &Got) -> (String, usize) {
    match got {
        Got::Binary(body) => {
            let message = Message::decode(body).unwrap();
            (message.channel.into(), number(message.message))
        }
        Got::Text(text) => (String::new(), number(text.as_bytes())),
        got => panic!("{got:?}"),
    }
}

/// A publisher and a member that reads, both over TCP.
fn join_two(broker: &Broker) -> [Client; 2] {
    ["alice", "reader"].map(|uid| Client::join_and_wait(broker, uid, "room"))
}

/// Opens a session of either version.
fn open(broker: &Broker, is_v2: bool, uid: &str) -> Ws {
    if is_v2 {
        Ws::v2(broker, uid, "room")
    } else {
        Ws::v1(broker, uid, "room")
    }
}

/// A client that reads again when it is told to go gets whole messages, and why.
#[test]
fn disconnect_at_queue_bytes_says_so() {
    for is_v2 in [false, true] {
        let broker = with_policy(SlowPolicy::Disconnect, QUEUE, LONG);
        let good = Bystanders::start(&broker);
        let [mut alice, mut reader] = join_two(&broker);
        let mut slow = open(&broker, is_v2, "slow");
        let reading = std::thread::spawn({
            let stats = broker.stop_handle();
            move || {
                wait_until("it is slow", || stats.stats().slow_disconnects == 1);
                let mut next = 0;
                loop {
                    match slow.message() {
                        Got::Close(code, reason) => {
                            slow.assert_end();
                            return (next, code, reason);
                        }
                        got => assert_eq!(read(&got).1, next),
                    }
                    next += 1;
                }
            }
        });
        send_many(&mut alice, &mut reader);
        let (got, code, reason) = reading.join().unwrap();
        assert_eq!(code, 4408, "{reason}");
        assert!((1..MANY).contains(&got), "{got}");
        let stats = broker.stats();
        assert_eq!(stats.slow_disconnects, 1, "{stats}");
        assert!(stats.dropped_frames > 0, "{stats}");
        good.finish();
    }
}

#[test]
fn disconnect_at_write_deadline() {
    for policy in [SlowPolicy::Disconnect, SlowPolicy::DropOldest] {
        let broker = with_policy(policy, 64 << 20, Duration::from_millis(300));
        let [mut alice, mut reader] = join_two(&broker);
        let _slow = [open(&broker, false, "slow"), open(&broker, true, "slow")];
        send_many(&mut alice, &mut reader);
        wait_until("they are disconnected", || {
            broker.stats().slow_disconnects == 2
        });
        wait_until("they are gone", || broker.stats().connections == 2);
    }
}

#[test]
fn drop_oldest_keeps_the_newest_messages_whole() {
    for is_v2 in [false, true] {
        let broker = with_policy(SlowPolicy::DropOldest, QUEUE, LONG);
        let good = Bystanders::start(&broker);
        let [mut alice, mut reader] = join_two(&broker);
        let mut slow = open(&broker, is_v2, "slow");
        send_many(&mut alice, &mut reader);
        let got = read_to_last(|| read(&slow.message()).1);
        let stats = broker.stats();
        assert_eq!(stats.dropped_frames, (MANY - got) as u64, "{stats}");
        assert_eq!(stats.slow_disconnects, 0, "{stats}");
        // It is a member like any other again.
        alice.send(&message(MANY));
        assert_eq!(read(&slow.message()).1, MANY);
        good.finish();
    }
}

#[test]
fn backpressure_waits_for_a_websocket_member() {
    for is_v2 in [false, true] {
        let broker = with_policy(SlowPolicy::Backpressure, QUEUE, LONG);
        let good = Bystanders::start(&broker);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut slow = open(&broker, is_v2, "slow");
        let next = |i| alice.frame(&message(i)).to_vec();
        let (sent, rest) = publish_until_held(&alice.stream, next);
        let reading = std::thread::spawn(move || {
            for i in 0..sent {
                assert_eq!(read(&slow.message()).1, i);
            }
            slow
        });
        alice.stream.write_all(&rest).unwrap();
        let mut slow = reading.join().unwrap();
        alice.send(&message(sent));
        assert_eq!(read(&slow.message()).1, sent);
        let stats = broker.stats();
        assert_eq!((stats.slow_disconnects, stats.dropped_frames), (0, 0));
        good.finish();
    }
}

/// It holds the publisher back for longer than a silent client is kept: but who is not listened to
/// is not silent.
#[test]
fn backpressure_holds_a_websocket_publisher() {
    let mut settings = settings();
    let timeout = Duration::from_secs(1);
    settings.websocket.ping_interval = timeout / 4;
    settings.websocket.ping_timeout = timeout;
    settings.channels.default = ChannelSettings {
        history_frames: 0,
        slow_policy: SlowPolicy::Backpressure,
        queue_bytes: QUEUE,
        ..settings.channels.default
    };
    let broker = start(settings);
    let mut slow = Client::join_and_wait(&broker, "slow", "room");
    let mut alice = Ws::v1(&broker, "alice", "room");
    let next = |i| frame(BINARY, &body("alice", "room", &message(i)));
    let (sent, rest) = publish_until_held(&alice.stream, next);
    // One that is silent from now on is let go.
    let silent = Ws::v1(&broker, "silent", "elsewhere");
    wait_until("it is let go", || broker.stats().connections == 2);
    drop(silent);
    // Reading is left to the broker's own time. Once it listens again, it wants answers.
    let is_over = Arc::<AtomicBool>::default();
    let over = is_over.clone();
    let writing = std::thread::spawn(move || {
        alice.stream.write_all(&rest).unwrap();
        while !is_over.load(Ordering::Relaxed) {
            match alice.try_next(timeout / 10) {
                Ok(Some(Got::Ping(payload))) => alice.send(PONG, &payload),
                Ok(got) => panic!("{got:?}"),
                Err(error) => assert!(is_timeout(&error), "{error}"),
            }
        }
        alice
    });
    for i in 0..sent {
        assert_eq!(number(&slow.receive_message().message), i);
    }
    over.store(true, Ordering::Relaxed);
    let mut alice = writing.join().unwrap();
    alice.send(BINARY, &body("alice", "room", &message(sent)));
    assert_eq!(number(&slow.receive_message().message), sent);
}

/// Two members on one connection whose socket is full: they take turns.
#[test]
fn members_on_one_connection_take_turns() {
    const EACH: usize = 1200;
    let broker = with_policy(SlowPolicy::Disconnect, 1 << 30, LONG);
    for channels in [["one", "two"], ["two", "one"]] {
        let mut ws = Ws::open(address(&broker));
        for channel in channels {
            ws.join(&broker, BINARY, &body("slow", channel, b""));
            let mut alice = Client::join_and_wait(&broker, "alice", channel);
            let before = broker.stats().deliveries;
            for i in 0..EACH {
                alice.send(&message(i));
            }
            wait_until("all is queued", || {
                broker.stats().deliveries >= before + EACH as u64
            });
            alice.reset();
        }
        let (mut turns, mut at) = (0, String::new());
        let mut next = [0, 0];
        for _ in 0..2 * EACH {
            let (channel, i) = read(&ws.message());
            let count = &mut next[usize::from(channel == channels[1])];
            assert_eq!(*count, i);
            *count += 1;
            turns += usize::from(channel != at);
            at = channel;
        }
        assert_eq!(next, [EACH; 2]);
        assert!(turns >= 8, "{turns} turns");
        drop(ws);
    }
}

/// Hundreds of members on one connection whose socket is full.
#[test]
fn a_crowd_on_one_connection_gets_everything() {
    const CHANNELS: usize = 300;
    const EACH: usize = 10;
    let message = |i: usize| {
        let mut message = format!("{i} ").into_bytes();
        message.resize(10_000, b'.');
        message
    };
    let broker = with_policy(SlowPolicy::Disconnect, 1 << 30, LONG);
    let names: Vec<_> = (0..CHANNELS).map(|i| format!("room {i}")).collect();
    let (mut slow, mut alice) = (Ws::open(address(&broker)), Ws::open(address(&broker)));
    for name in &names {
        slow.send(BINARY, &body("slow", name, b""));
        alice.send(BINARY, &body("alice", name, b""));
    }
    let all = 2 * CHANNELS as u64;
    wait_until("all have joined", || broker.stats().joined == all);
    let before = broker.stats().deliveries;
    for i in 0..EACH {
        for name in &names {
            alice.send(BINARY, &body("alice", name, &message(i)));
        }
    }
    wait_until("all is queued", || {
        broker.stats().deliveries >= before + (CHANNELS * EACH) as u64
    });
    let mut next = std::collections::HashMap::new();
    for _ in 0..CHANNELS * EACH / 2 {
        let Got::Binary(body) = slow.message() else {
            panic!("no body");
        };
        let got = Message::decode(&body).unwrap();
        let count = next.entry(got.channel.to_owned()).or_insert(0);
        assert_eq!(got.message, message(*count));
        *count += 1;
    }
    assert!(next.len() > CHANNELS / 2, "{} had a turn", next.len());
    // The others are let go at once.
    drop(slow);
    wait_until("its seats are free", || {
        broker.stats().connections == all / 2
    });
}

/// A member that goes takes the others on its connection along, and no other.
#[test]
fn one_slow_member_ends_its_connection_only() {
    let broker = with_policy(SlowPolicy::Disconnect, QUEUE, LONG);
    let mut ws = Ws::open(address(&broker));
    ws.join(&broker, BINARY, &body("slow", "room", b""));
    ws.join(&broker, BINARY, &body("slow", "elsewhere", b""));
    let mut other = Ws::v2(&broker, "other", "elsewhere");
    let [mut alice, mut reader] = join_two(&broker);
    send_many(&mut alice, &mut reader);
    wait_until("both seats are free", || broker.stats().connections == 3);
    assert_eq!(broker.stats().slow_disconnects, 1);
    let mut bob = Client::join_and_wait(&broker, "bob", "elsewhere");
    bob.send(b"hi");
    assert_eq!(other.message(), Got::Text("hi".to_owned()));
    other.send(TEXT, b"hello");
    assert_eq!(bob.text(), "hello");
    while ws.try_next(PATIENCE).is_ok_and(|got| got.is_some()) {}
}
