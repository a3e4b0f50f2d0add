//! The broker takes no more memory than the formula in `docs/OPERATIONS.md` says, term by term. The broker runs in a process of its own here.

use std::io::Write as _;
use std::time::Duration;

use mles::Settings;
use mles::channel::ChannelSettings;

use crate::broker_process::{BrokerProcess, be_the_broker, join_stopped};
use crate::common::websocket::{BINARY, TEXT, Ws, body, frame, hello};
use crate::common::{Client, PATIENCE, reset, wait_until, websocket};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const LONG: Duration = Duration::from_secs(3600);
/// Bytes that the broker may queue for a member that has stopped reading.
const QUEUE: usize = 512 * KIB;
/// Bytes of all histories.
const HISTORIES: usize = 24 * MIB;
/// Bytes of all incomplete frames.
const PARTIAL: usize = 16 * MIB;
const MAX_FRAME: usize = MIB;
/// Bytes that the measurement adds: it counts whole pages, and threads keep some for later.
const NOISE: usize = 4 * MIB;

#[test]
#[ignore = "no test: the broker process that the others start"]
fn broker_process() {
    be_the_broker(|role| {
        let mut settings = websocket::settings();
        settings.limits.tcp_timeout = LONG;
        settings.limits.history_bytes_total = HISTORIES;
        if role == "partial" {
            settings.limits.partial_bytes = PARTIAL;
            settings.limits.max_frame = MAX_FRAME;
            settings.websocket.max_message = MAX_FRAME;
        }
        settings.channels.default = ChannelSettings {
            history_frames: if role == "histories" { 1 << 20 } else { 1 },
            history_bytes: HISTORIES / 3,
            queue_bytes: QUEUE,
            write_deadline: LONG,
            announce_joins: false,
            ..ChannelSettings::default()
        };
        Settings {
            spread_threshold: 100_000,
            drain_deadline: Duration::from_millis(100),
            ..settings
        }
    });
}

fn start(role: &str) -> BrokerProcess {
    BrokerProcess::start(module_path!(), role)
}

/// A frame of the least length that there is.
const TINY: &[u8] = b"M\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0.";

/// Publishers that each send one tiny frame at a time, so that each frame is a run of its own, and a
/// member that reads.
struct Drip {
    publishers: Vec<Client>,
    reader: Client,
}

impl Drip {
    fn join(broker: &mut BrokerProcess, channel: &str) -> Self {
        let before = broker.stat("joined");
        let join = |uid: String| Client::join(&*broker, &uid, channel);
        let publishers: Vec<_> = (0..16).map(|i| join(format!("publisher {i}"))).collect();
        let reader = join("reader".into());
        wait_until("they have joined", || broker.stat("joined") == before + 17);
        Self { publishers, reader }
    }

    /// Every publisher sends a frame, which all others get.
    fn round(&mut self) {
        for publisher in &mut self.publishers {
            publisher.stream.write_all(TINY).unwrap();
        }
        let all = self.publishers.len();
        let take = |client: &mut Client, count| {
            for _ in 0..count {
                let frame = client.try_receive_raw(PATIENCE).unwrap();
                assert_eq!(frame.as_deref(), Some(TINY));
            }
        };
        take(&mut self.reader, all);
        for publisher in &mut self.publishers {
            take(publisher, all - 1);
        }
    }
}

/// The smallest messages one by one, for members that do not read: what is counted is what they cost.
#[test]
fn queues_of_tiny_messages_take_no_more_than_queue_bytes() {
    const STOPPED: u64 = 100;
    let mut broker = start("queues");
    let mut alice = Client::join(&broker, "alice", "room");
    // A history that fills their sockets, and does not count.
    alice.send(&vec![b'.'; 6 * MIB]);
    wait_until("it is in", || broker.stat("frames_in") == 1);
    let stopped = join_stopped(&broker, STOPPED);
    wait_until("they have joined", || broker.stat("joined") == 1 + STOPPED);
    alice.send(b"the next history");
    wait_until("it is in", || broker.stat("frames_in") == 2);
    drop(alice);
    let mut drip = Drip::join(&mut broker, "room");
    assert_eq!(drip.reader.text(), "the next history");
    for publisher in &mut drip.publishers {
        assert_eq!(publisher.text(), "the next history");
    }
    let before = broker.resident();
    (0..1250).for_each(|_| drip.round());
    let grown = broker.resident().saturating_sub(before);
    assert_eq!(broker.stat("slow_disconnects"), 0);
    // They share what is queued, and each has an entry for many messages.
    assert!(grown < QUEUE + 2 * NOISE, "grown by {grown} bytes");
    (0..1250).for_each(|_| drip.round());
    wait_until("they are disconnected", || {
        broker.stat("slow_disconnects") == STOPPED
    });
    drop(stopped);
}

/// Histories of all kinds of messages and joiners, several times as many as there is memory for.
#[test]
fn histories_take_no_more_than_history_bytes_total() {
    const CHANNELS: u64 = 50;
    let mut broker = start("histories");
    let at = broker.websocket.unwrap();
    let before = broker.resident();
    let mut frames = 0;
    for channel in 0..CHANNELS {
        let name = format!("room {channel}");
        let mut drip = Drip::join(&mut broker, &name);
        (0..100).for_each(|_| drip.round());
        frames += 1600;
        let Drip {
            mut publishers,
            reader,
        } = drip;
        let mut alice = publishers.pop().unwrap();
        publishers.into_iter().for_each(Client::reset);
        reader.reset();
        for (size, count) in [(100, 1000), (1000, 300), (40_000, 20)] {
            (0..count).for_each(|_| alice.send(&vec![b'.'; size]));
            frames += count;
        }
        wait_until("all is in", || broker.stat("frames_in") == frames);
        let joined = broker.stat("joined");
        let greetings = [
            frame(BINARY, &body("one", &name, b"")),
            frame(TEXT, hello("two", &name).as_bytes()),
        ];
        let sessions = greetings.map(|greeting| {
            let mut ws = Ws::open(at);
            ws.raw(&greeting);
            ws
        });
        wait_until("they have joined", || broker.stat("joined") == joined + 2);
        alice.reset();
        sessions.into_iter().for_each(|ws| reset(ws.stream));
        wait_until("all have left", || broker.stat("connections") == 0);
    }
    let grown = broker.resident().saturating_sub(before);
    assert!(
        grown < HISTORIES + HISTORIES / 4 + NOISE,
        "grown by {grown} bytes"
    );
}

/// What the documentation says a connection costs that nothing happens on.
#[test]
fn idle_members_take_what_is_documented() {
    const MANY: usize = 2000;
    const SOME: usize = 100;
    let mut broker = start("idle");
    let at = broker.websocket.unwrap();
    // Those who wait for their seats take more, so that there must not be many at a time.
    let some_have_joined = |broker: &mut BrokerProcess, joined: usize| {
        if joined.is_multiple_of(SOME) {
            wait_until("they have joined", || {
                broker.stat("joined") == joined as u64
            });
        }
    };
    let mut plain = Vec::new();
    // The first ones bring what all share.
    for i in 1..=SOME {
        plain.push(Client::join(&broker, &format!("first {i}"), "room"));
        some_have_joined(&mut broker, i);
    }
    let before = broker.resident();
    for i in SOME + 1..=SOME + MANY {
        plain.push(Client::join(&broker, &format!("plain {i}"), "room"));
        some_have_joined(&mut broker, i);
    }
    let with_plain = broker.resident();
    let grown = with_plain.saturating_sub(before);
    assert!(grown < MANY * 2 * KIB + NOISE / 2, "grown by {grown} bytes");
    let mut sessions = Vec::new();
    for i in 1..=MANY {
        let mut ws = Ws::open(at);
        ws.raw(&frame(TEXT, hello(&format!("ws {i}"), "room").as_bytes()));
        sessions.push(ws);
        some_have_joined(&mut broker, SOME + MANY + i);
    }
    let grown = broker.resident().saturating_sub(with_plain);
    assert!(grown < MANY * 4 * KIB + NOISE / 2, "grown by {grown} bytes");
    drop((plain, sessions));
}

/// Large frames of which the end never comes.
#[test]
fn incomplete_frames_take_no_more_than_partial_bytes() {
    let mut broker = start("partial");
    let before = broker.resident();
    let stopped: Vec<_> = (0..100)
        .map(|i| {
            let mut client = Client::join(&broker, &format!("member {i}"), "room");
            let frame = client.frame(&vec![b'.'; MAX_FRAME - KIB]);
            // Those for whom there is no memory are closed.
            let _ = client.stream.write_all(&frame[..frame.len() - 1]);
            client
        })
        .collect();
    wait_until("all have joined", || broker.stat("joined") == 100);
    let mut last = usize::MAX;
    wait_until("what has come is kept", || {
        let now = broker.resident();
        std::mem::replace(&mut last, now) == now && now > before + PARTIAL / 4
    });
    let grown = broker.resident().saturating_sub(before);
    assert!(
        grown < PARTIAL + PARTIAL / 4 + NOISE,
        "grown by {grown} bytes"
    );
    drop(stopped);
}
