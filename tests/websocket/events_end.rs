//! How event streams end: slow clients under each policy, and a server that stops.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mles::Broker;
use mles::channel::SlowPolicy;
use mles::protocol::Position;

use crate::common::events::Events;
use crate::common::slow::{MANY, QUEUE, message, number, publish_until_held, send_many};
use crate::common::websocket::{address, settings, with_policy};
use crate::common::{Client, LONG, PATIENCE, Rng, is_timeout, reset, start, wait_until};
use crate::events::EVENTS;

/// A stream of which the welcome was read, and a publisher and a member that reads over TCP.
fn open(broker: &Broker) -> (Events, [Client; 2]) {
    let mut slow = Events::open(address(broker), EVENTS, "");
    slow.data("welcome");
    let others = ["alice", "reader"].map(|uid| Client::join_and_wait(broker, uid, "room"));
    (slow, others)
}

fn number_of(text: &serde_json::Value) -> usize {
    number(text["text"].as_str().unwrap().as_bytes())
}

#[test]
fn drop_oldest_tells_how_many_are_gone() {
    let broker = with_policy(SlowPolicy::DropOldest, QUEUE, LONG);
    let (mut slow, [mut alice, mut reader]) = open(&broker);
    send_many(&mut alice, &mut reader);
    let (mut expected, mut missed) = (0, 0);
    while expected < MANY {
        let event = slow.next();
        if event.name == "gap" {
            let gap = event.data["missed"].as_u64().unwrap();
            missed += gap;
            expected += usize::try_from(gap).unwrap();
            continue;
        }
        assert_eq!(number_of(&event.data), expected);
        expected += 1;
        assert_eq!(event.data["offset"], expected);
    }
    assert!(missed > 0);
    let stats = broker.stats();
    assert_eq!(
        (stats.dropped_frames, stats.slow_disconnects),
        (missed, 0),
        "{stats}"
    );
    alice.send(&message(MANY));
    assert_eq!(number_of(&slow.data("message")), MANY);
}

#[test]
fn disconnect_ends_the_stream_and_says_why() {
    let broker = with_policy(SlowPolicy::Disconnect, QUEUE, LONG);
    let (mut slow, [mut alice, mut reader]) = open(&broker);
    let reading = std::thread::spawn({
        let stats = broker.stop_handle();
        move || {
            wait_until("it is slow", || stats.stats().slow_disconnects == 1);
            for expected in 0.. {
                let event = slow.next();
                if event.name == "close" {
                    slow.assert_end();
                    return (expected, event);
                }
                assert_eq!(number_of(&event.data), expected);
            }
            unreachable!()
        }
    });
    send_many(&mut alice, &mut reader);
    let (got, event) = reading.join().unwrap();
    assert!((1..MANY).contains(&got), "{got}");
    let reason = event.data["reason"].as_str().unwrap();
    assert!(reason.contains("queue_bytes"), "{reason}");
    // It is to come back at once.
    assert_eq!((event.id, event.retry), (None, None));
    wait_until("it is gone", || broker.stats().connections == 2);
}

#[test]
fn disconnect_at_write_deadline() {
    let broker = with_policy(SlowPolicy::DropOldest, 64 << 20, Duration::from_millis(300));
    let (_slow, [mut alice, mut reader]) = open(&broker);
    send_many(&mut alice, &mut reader);
    wait_until("it is disconnected", || {
        broker.stats().slow_disconnects == 1
    });
    wait_until("it is gone", || broker.stats().connections == 2);
}

#[test]
fn backpressure_waits_for_a_stream() {
    let broker = with_policy(SlowPolicy::Backpressure, QUEUE, LONG);
    let mut slow = Events::open(address(&broker), EVENTS, "");
    slow.data("welcome");
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let next = |i| alice.frame(&message(i)).to_vec();
    let (sent, rest) = publish_until_held(&alice.stream, next);
    let reading = std::thread::spawn(move || {
        for i in 0..sent {
            assert_eq!(number_of(&slow.data("message")), i);
        }
        slow
    });
    alice.stream.write_all(&rest).unwrap();
    let mut slow = reading.join().unwrap();
    alice.send(&message(sent));
    assert_eq!(number_of(&slow.data("message")), sent);
    let stats = broker.stats();
    assert_eq!((stats.slow_disconnects, stats.dropped_frames), (0, 0));
}

/// What was queued comes first, and the client is told to come back later, each at another time.
#[test]
fn a_stop_ends_streams_with_all_that_was_queued() {
    const STREAMS: usize = 10;
    let mut settings = settings();
    settings.channels.default.history_frames = 0;
    settings.drain_deadline = LONG;
    let broker = start(settings);
    let mut streams: Vec<_> = (0..STREAMS)
        .map(|_| {
            let mut events = Events::open(address(&broker), EVENTS, "");
            events.data("welcome");
            events
        })
        .collect();
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let before = broker.stats().deliveries;
    for i in 0..100 {
        alice.send(&message(i));
    }
    wait_until("all is queued", || {
        broker.stats().deliveries >= before + 100 * STREAMS as u64
    });
    alice.reset();
    let stopping = std::thread::spawn(move || broker.stop());
    let mut waits: Vec<_> = streams
        .iter_mut()
        .map(|events| {
            for i in 0..100 {
                assert_eq!(number_of(&events.data("message")), i);
            }
            let stopping = events.next();
            assert_eq!(stopping.name, "stopping");
            assert_eq!(stopping.data["retry"], stopping.retry.unwrap());
            assert_eq!(events.data("close")["reason"], "the server is stopping");
            events.assert_end();
            stopping.retry.unwrap()
        })
        .collect();
    assert!(
        waits.iter().all(|wait| (1000..5000).contains(wait)),
        "{waits:?}"
    );
    waits.sort_unstable();
    waits.dedup();
    assert!(waits.len() > 1);
    let stats = stopping.join().unwrap().unwrap();
    assert_eq!(stats.dropped_frames, 0, "{stats}");
}

/// Streams that begin and end in every way while the server stops: nothing panics, and no message is there twice.
#[test]
fn a_stop_in_the_middle_of_everything() {
    let mut rng = Rng::seeded();
    for _ in 0..5 {
        let mut settings = settings();
        settings.shards = Some(3);
        // Whoever comes back finds all that it has missed.
        settings.channels.default.history_frames = 100_000;
        settings.websocket.ping_interval = Duration::from_millis(20);
        let broker = start(settings);
        let at = address(&broker);
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let (rng, over) = (Rng(rng.below(usize::MAX) as u64), over.clone());
                std::thread::spawn(move || visit_until(rng, &over, at))
            })
            .collect();
        wait_until("there is life", || broker.stats().deliveries > 500);
        broker.stop().unwrap();
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    }
}

fn visit_until(mut rng: Rng, over: &AtomicBool, at: SocketAddr) {
    let mut last = String::new();
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(at) else {
            continue;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let post = "POST /channels/room/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
        let get =
            format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: {last}\r\n\r\n");
        let asks = post.repeat(rng.below(3)) + &get + &"noise".repeat(rng.below(2));
        let part = asks.len() - rng.below(2) * rng.below(asks.len());
        if stream.write_all(&asks.as_bytes()[..part]).is_ok() && part == asks.len() {
            read_some(&mut rng, &mut stream, &mut last);
        }
        if rng.below(2) == 0 {
            reset(stream);
        }
    }
}

/// Reads some events of a stream, each of which is behind the one before.
fn read_some(rng: &mut Rng, stream: &mut TcpStream, last: &mut String) {
    let mut all = Vec::new();
    for _ in 0..rng.below(20) {
        let mut chunk = [0; 1000];
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&chunk[..n]),
            Err(error) if is_timeout(&error) => panic!("neither a comment nor an end"),
            Err(_) => break,
        }
    }
    let text = String::from_utf8(all).unwrap();
    let Some((_, events)) = text.split_once("Content-Type: text/event-stream\r\n") else {
        return;
    };
    let ids = events.split_inclusive("\n\n").filter_map(|event| {
        let is_whole = event.ends_with("\n\n") && !event.contains("event: ");
        is_whole.then(|| event.lines().find_map(|line| line.strip_prefix("id: ")))?
    });
    for id in ids {
        let (before, now) = (last.parse(), id.parse::<Position>().unwrap());
        let is_next = |before: Position| now.offset == before.offset + 1;
        assert!(
            before.is_ok_and(is_next) || last.is_empty(),
            "{last}, then {id}"
        );
        *last = id.to_owned();
    }
}
