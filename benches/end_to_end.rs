//! A broker in this process and raw blocking clients over loopback: round trip and throughput.
//!
//! Every figure is taken twice: with all members on the channel's owning shard, and with members
//! that stay on the shard that accepted them, so that frames pass from shard to shard. The
//! difference between the two is what the hand-over through the mailboxes costs, wake-ups of the
//! other thread included.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros; inputs are our own"
)]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use mles::protocol::{Cid, Keyring, Message, encode_frame};
use mles::{Broker, Settings};

const CHANNEL: &str = "room";
/// Frames of one pipelined write.
const BATCH: usize = 500;
const SUBSCRIBERS: u32 = 10;
/// The longest time that anything may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    shards: usize,
    spread_threshold: usize,
}

/// Of two shards the system chooses by port which one accepts a connection, so some of the members
/// relay and some are local; with one shard nothing is handed over.
const CASES: [Case; 2] = [
    Case {
        name: "one shard",
        shards: 1,
        spread_threshold: usize::MAX,
    },
    Case {
        name: "spread over two shards",
        shards: 2,
        spread_threshold: 1,
    },
];

fn start(case: Case) -> Broker {
    let mut settings = Settings {
        listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
        shards: Some(case.shards),
        spread_threshold: case.spread_threshold,
        ..Settings::default()
    };
    settings.channels.default.history_frames = 0;
    settings.channels.default.announce_joins = false;
    Broker::start(settings).unwrap()
}

struct Client {
    stream: TcpStream,
    /// The frame that it publishes, with 64 bytes of payload.
    frame: Bytes,
}

impl Client {
    /// Joins as the `n`-th session and waits until the broker counts it.
    fn join(broker: &Broker, n: u32) -> Self {
        let stream = TcpStream::connect(broker.local_addrs()[0]).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let uid = format!("u{n}");
        let address = stream.local_addr().unwrap();
        let key = Keyring::default().session_key(address, &uid, CHANNEL);
        let frame = |payload: &[u8]| {
            let message = Message {
                uid: &uid,
                channel: CHANNEL,
                message: payload,
            };
            encode_frame(Cid(n), key, &message).unwrap()
        };
        let mut client = Self {
            stream,
            frame: frame(&[7; 64]),
        };
        let before = broker.stats().joined;
        client.stream.write_all(&frame(b"")).unwrap();
        while broker.stats().joined == before {
            thread::yield_now();
        }
        client
    }
}

/// There and back again: one frame each way, nobody else in the channel.
fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip");
    for case in CASES {
        let broker = start(case);
        let mut ping = Client::join(&broker, 1);
        let mut pong = Client::join(&broker, 2);
        group.throughput(Throughput::Elements(1));
        group.bench_function(case.name, |b| {
            let mut buf = vec![0; ping.frame.len()];
            b.iter(|| {
                ping.stream.write_all(&ping.frame).unwrap();
                pong.stream.read_exact(&mut buf).unwrap();
                pong.stream.write_all(&pong.frame).unwrap();
                ping.stream.read_exact(&mut buf).unwrap();
            });
        });
        drop((ping, pong));
        broker.stop().unwrap();
    }
    group.finish();
}

/// One publisher writes a batch, ten subscribers read it; figures are per delivery.
fn pipelined(c: &mut Criterion) {
    let mut group = c.benchmark_group("pipelined 1 to 10");
    for case in CASES {
        let broker = start(case);
        let mut publisher = Client::join(&broker, 0);
        let batch = publisher.frame.repeat(BATCH);
        let (done, all_done) = mpsc::channel();
        let subscribers: Vec<_> = (1..=SUBSCRIBERS)
            .map(|n| {
                let mut subscriber = Client::join(&broker, n);
                let (done, mut buf) = (done.clone(), vec![0; batch.len()]);
                thread::spawn(move || {
                    while subscriber.stream.read_exact(&mut buf).is_ok() {
                        done.send(()).unwrap();
                    }
                })
            })
            .collect();
        group.throughput(Throughput::Elements(u64::from(SUBSCRIBERS) * BATCH as u64));
        group.bench_function(case.name, |b| {
            b.iter(|| {
                publisher.stream.write_all(&batch).unwrap();
                for _ in 0..SUBSCRIBERS {
                    all_done.recv_timeout(PATIENCE).unwrap();
                }
            });
        });
        broker.stop().unwrap();
        for subscriber in subscribers {
            subscriber.join().unwrap();
        }
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
}

criterion_group! {
    name = benches;
    config = config();
    targets = round_trip, pipelined
}
criterion_main!(benches);
