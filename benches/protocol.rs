//! Costs of the protocol library per frame: body codec, scanner, key.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros; inputs are our own"
)]

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mles::protocol::{
    BodyCheck, BodyPrefix, Cid, Key, Keyring, MAX_BODY_LEN, Message, encode_frame, frames, scan,
};

const UID: &str = "alice";
const CHANNEL: &str = "room";

fn message(payload: &[u8]) -> Message<'_> {
    Message {
        uid: UID,
        channel: CHANNEL,
        message: payload,
    }
}

fn body(c: &mut Criterion) {
    let mut group = c.benchmark_group("body");
    for len in [64, 4096] {
        let payload = vec![7; len];
        let message = message(&payload);
        let mut encoded = Vec::new();
        message.encode_into(&mut encoded);
        group.bench_function(BenchmarkId::new("encode_frame", len), |b| {
            b.iter(|| encode_frame(Cid(1), Key(2), black_box(&message)));
        });
        group.bench_function(BenchmarkId::new("decode", len), |b| {
            b.iter(|| Message::decode(black_box(&encoded)).is_ok());
        });
    }
    group.finish();
}

/// Runs of frames with 64-byte payloads. `names` is what a session costs that sends what it joined
/// with; `other uid` has every body decoded, as on a link between servers.
fn run_scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("scan");
    let frame = encode_frame(Cid(1), Key(2), &message(&[7; 64])).unwrap();
    for count in [1, 64, 1024] {
        let run = frame.repeat(count);
        group.throughput(Throughput::Elements(count as u64));
        for (name, check) in [
            ("no check", BodyCheck::Off),
            ("names", BodyCheck::Sender(BodyPrefix::new(UID, CHANNEL))),
            (
                "other uid",
                BodyCheck::Channel(BodyPrefix::new("bob", CHANNEL)),
            ),
        ] {
            assert_eq!(scan(&run, MAX_BODY_LEN, &check).run.frames, count);
            group.bench_function(BenchmarkId::new(name, count), |b| {
                b.iter(|| scan(black_box(&run), MAX_BODY_LEN, &check));
            });
        }
        group.bench_function(BenchmarkId::new("walk", count), |b| {
            b.iter(|| frames(black_box(&run)).count());
        });
    }
    group.finish();
}

fn key(c: &mut Criterion) {
    let mut group = c.benchmark_group("key");
    let client = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let shared = Keyring::new(Some("secret".to_owned()), None);
    let address = Keyring::new(None, Some("addrkey".to_owned()));
    for (name, keyring) in [("shared", shared), ("address", address)] {
        group.bench_function(name, |b| {
            b.iter(|| keyring.session_key(black_box(client), UID, CHANNEL));
        });
    }
    group.finish();
}

criterion_group!(benches, body, run_scan, key);
criterion_main!(benches);
