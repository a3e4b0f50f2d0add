//! Stopping: WebSocket clients get what was queued for them, whole, then a close with 1001.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mles::protocol::Message;
use mles::{Broker, BrokerError, Settings, Stats};

use crate::common::websocket::{
    self, BINARY, Got, PING, TEXT, Ws, address, body, frame, hello, quiet,
};
use crate::common::{Client, LONG, PATIENCE, Rng, is_timeout, reset, start, wait_until};

const SIZE: usize = 100_000;
/// Messages that fill any socket, so that the broker's own queues are in use.
const MANY: usize = 150;

fn draining_for(drain_deadline: Duration) -> Settings {
    Settings {
        drain_deadline,
        ..quiet()
    }
}

fn stop(broker: Broker) -> JoinHandle<Result<Stats, BrokerError>> {
    std::thread::spawn(|| broker.stop())
}

/// Publishes [`MANY`] messages to a channel without anyone reading them, and waits until they are
/// queued for its `members`.
fn publish_unread(broker: &Broker, channel: &str, members: usize) {
    let mut alice = Client::join_and_wait(broker, "alice", channel);
    let before = broker.stats().deliveries;
    for i in 0..MANY {
        let mut message = format!("{i} ").into_bytes();
        message.resize(SIZE, b'.');
        alice.send(&message);
    }
    let goal = before + (members * MANY) as u64;
    wait_until("all is queued", || broker.stats().deliveries >= goal);
    alice.reset();
}

/// Members, hardly all on one shard, for whom nothing is queued.
fn idle_members(broker: &Broker) -> Vec<Ws> {
    let idle = |i| Ws::v2(broker, &format!("idle {i}"), "elsewhere");
    (0..6).map(idle).collect()
}

fn number(message: &[u8]) -> usize {
    assert_eq!(message.len(), SIZE);
    let text = std::str::from_utf8(message).unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// The next message of either version that is no hint; `None` for a close with 1001 and the end.
fn next_number(ws: &mut Ws) -> Option<usize> {
    match ws.message() {
        Got::Binary(body) => Some(number(Message::decode(&body).unwrap().message)),
        Got::Text(text) => Some(number(text.as_bytes())),
        Got::Close(1001, _) => {
            ws.assert_end();
            None
        }
        got => panic!("{got:?}"),
    }
}

#[test]
fn everybody_gets_what_was_queued_and_then_a_close() {
    let broker = start(draining_for(LONG));
    let mut members: Vec<_> = (0..3)
        .flat_map(|i| {
            let uid = format!("member {i}");
            [Ws::v1(&broker, &uid, "room"), Ws::v2(&broker, &uid, "room")]
        })
        .collect();
    publish_unread(&broker, "room", members.len());
    let stopping = stop(broker);
    for member in &mut members {
        for i in 0..MANY {
            assert_eq!(next_number(member), Some(i));
        }
        assert_eq!(next_number(member), None);
    }
    let stats = stopping.join().unwrap().unwrap();
    assert_eq!(stats.dropped_frames, 0, "{stats}");
    assert_eq!(stats.slow_disconnects, 0, "{stats}");
}

/// A join is refused when the broker stops, but what the others have waits for them.
#[test]
fn a_new_pair_during_a_stop_costs_the_others_nothing() {
    let broker = start(draining_for(LONG));
    let mut member = Ws::v1(&broker, "bob", "room");
    publish_unread(&broker, "room", 1);
    let handle = broker.stop_handle();
    handle.drain();
    let stopping = std::thread::spawn(|| broker.wait());
    member.send(BINARY, &body("bob", "elsewhere", b"late"));
    for i in 0..MANY {
        assert_eq!(next_number(&mut member), Some(i));
    }
    assert_eq!(next_number(&mut member), None);
    let stats = stopping.join().unwrap().unwrap();
    assert_eq!(
        (stats.dropped_frames, stats.protocol_errors),
        (0, 0),
        "{stats}"
    );
}

/// The last message is only partly in the socket, and nothing is queued behind it.
#[test]
fn the_rest_of_a_message_comes_before_the_close() {
    const LARGE: usize = 15 << 20;
    for uid in ["one", "two", "three", "four"] {
        let broker = start(draining_for(LONG));
        let mut member = Ws::v2(&broker, uid, "room");
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let before = broker.stats().deliveries;
        alice.send(&vec![b'x'; LARGE]);
        wait_until("it is queued", || broker.stats().deliveries > before);
        alice.reset();
        let others = idle_members(&broker);
        let stopping = stop(broker);
        // The broker would have let it go by now.
        for mut other in others {
            other.assert_closed(1001);
        }
        assert!(member.next() == Got::Text("x".repeat(LARGE)));
        member.assert_closed(1001);
        stopping.join().unwrap().unwrap();
    }
}

/// Members on one connection, of whom one has nothing queued: the others get everything.
#[test]
fn one_member_does_not_take_the_connection_from_the_others() {
    let broker = start(draining_for(LONG));
    let mut ws = Ws::open(address(&broker));
    for channel in ["a", "b", "c", "d"] {
        ws.join(&broker, BINARY, &body("alice", channel, b""));
    }
    publish_unread(&broker, "b", 1);
    publish_unread(&broker, "d", 1);
    let others = idle_members(&broker);
    let handle = broker.stop_handle();
    let stopping = stop(broker);
    // Sessions whose clients have got everything are not waited for any more.
    wait_until("they have ended", || handle.stats().sessions <= 4);
    drop(others);
    for _ in 0..2 * MANY {
        assert!(next_number(&mut ws).is_some());
    }
    assert_eq!(next_number(&mut ws), None);
    let stats = stopping.join().unwrap().unwrap();
    assert_eq!(stats.dropped_frames, 0, "{stats}");
}

/// A client cannot tell that one of its pairs is let go while the connection stays.
#[test]
fn all_pairs_of_a_connection_are_let_go_at_once() {
    let broker = start(Settings {
        drain_period: Some(LONG),
        ..draining_for(LONG)
    });
    let mut ws = Ws::open(address(&broker));
    for channel in ["a", "b", "c", "d"] {
        ws.join(&broker, BINARY, &body("alice", channel, b""));
    }
    let handle = broker.stop_handle();
    handle.drain();
    ws.assert_closed(1001);
    handle.abort();
    broker.wait().unwrap();
}

/// Milliseconds in the reason of a close with 1001.
fn retry_after(reason: &str) -> u32 {
    let wait = reason.strip_prefix("the server is stopping; retry after ");
    let wait = wait.and_then(|wait| wait.strip_suffix(" ms"));
    wait.expect(reason).parse().expect(reason)
}

#[test]
fn everybody_is_told_when_to_come_back() {
    let broker = start(draining_for(LONG));
    let mut plain = [
        Ws::v1(&broker, "v1", "room"),
        Ws::v2(&broker, "v2", "room"),
        Ws::open(address(&broker)),
    ];
    let mut resuming = Ws::resume(&broker, "resuming", "");
    resuming.notice("welcome");
    wait_until("all have joined", || broker.stats().joined == 3);
    let stopping = stop(broker);
    for member in &mut plain {
        let wait = retry_after(&member.assert_closed(1001));
        assert!((1000..5000).contains(&wait), "{wait}");
    }
    let wait = resuming.notice("stopping")["retry"].as_u64().unwrap();
    assert!((1000..5000).contains(&wait), "{wait}");
    retry_after(&resuming.assert_closed(1001));
    stopping.join().unwrap().unwrap();
}

/// A stop does not wait for those who have not joined.
#[test]
fn who_has_not_joined_is_told_as_well() {
    let broker = start(draining_for(LONG));
    let mut silent = Ws::open(address(&broker));
    let mut inside = Ws::open(address(&broker));
    inside.raw(&frame(BINARY, &body("alice", "room", b""))[..10]);
    let asking = Client::connect(&address(&broker));
    wait_until("all are there", || broker.stats().connections == 3);
    stop(broker).join().unwrap().unwrap();
    silent.assert_closed(1001);
    inside.assert_closed(1001);
    drop(asking);
}

#[test]
fn members_that_do_not_read_are_cut_off_at_the_deadline() {
    let broker = start(draining_for(Duration::from_secs(3)));
    let mut reader = Ws::v2(&broker, "reader", "room");
    let stuck = [
        Ws::v1(&broker, "stuck", "room"),
        Ws::v2(&broker, "stuck", "room"),
    ];
    publish_unread(&broker, "room", 3);
    // Only the end is left to the time of the stop, which a busy machine may use up.
    for i in 0..MANY - 10 {
        assert_eq!(next_number(&mut reader), Some(i));
    }
    let stopping = stop(broker);
    while next_number(&mut reader).is_some() {}
    let stats = stopping.join().unwrap().unwrap();
    assert!(stats.dropped_frames > 0, "{stats}");
    drop(stuck);
}

/// Clients in every state while the server stops: nothing panics, and what comes is whole.
#[test]
fn a_stop_in_the_middle_of_everything() {
    let mut rng = Rng::seeded();
    for _ in 0..5 {
        let broker = start(draining_for(Duration::from_secs(2)));
        let at = address(&broker);
        let over = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let (rng, over) = (Rng(rng.below(usize::MAX) as u64), over.clone());
                std::thread::spawn(move || visit_until(rng, &over, at))
            })
            .collect();
        wait_until("there is life", || broker.stats().deliveries > 300);
        broker.stop().unwrap();
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    }
}

fn visit_until(mut rng: Rng, over: &AtomicBool, at: std::net::SocketAddr) {
    while !over.load(Ordering::Relaxed) {
        let Ok(mut stream) = std::net::TcpStream::connect(at) else {
            continue;
        };
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if stream.write_all(&websocket::request("/", "")).is_err() {
            continue;
        }
        visit(&mut rng, &mut stream);
        if rng.below(2) == 0 {
            reset(stream);
        }
    }
}

/// Joins as either, says a few things, reads some of what comes.
fn visit(rng: &mut Rng, stream: &mut std::net::TcpStream) {
    let uid = format!("client {}", rng.below(1 << 30));
    let mut all = match rng.below(3) {
        0 => Vec::new(),
        1 => frame(TEXT, hello(&uid, "room").as_bytes()),
        _ => frame(BINARY, &body(&uid, "room", b"")),
    };
    let is_v2 = all.first() == Some(&TEXT);
    for i in 0..rng.below(50) {
        let payload = vec![b'x'; rng.below(2000)];
        let channel = ["room", "elsewhere"][i % 2];
        all.extend(match (is_v2, rng.below(10)) {
            (_, 0) => frame(PING, b"?"),
            (true, _) => frame(TEXT, &payload),
            (false, _) => frame(BINARY, &body(&uid, channel, &payload)),
        });
    }
    let part = all.len() - rng.below(2) * rng.below(all.len() + 1);
    if stream.write_all(&all[..part]).is_err() {
        return;
    }
    let mut ws = Ws::on(stream.try_clone().unwrap());
    if ws.head().is_err() {
        return;
    }
    for _ in 0..rng.below(20) {
        match ws.try_next(Duration::from_millis(20)) {
            Ok(Some(Got::Close(..)) | None) => break,
            Ok(Some(_)) => {}
            Err(error) if is_timeout(&error) => break,
            // A server that stops at its deadline, or that was sent more than it wanted.
            Err(_) => break,
        }
    }
}
