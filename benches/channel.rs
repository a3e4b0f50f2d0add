//! Costs of the channel core, without I/O: fan-out to queues and draining them, history.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "criterion's macros; inputs are our own"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mles::channel::{
    Channel, ChannelSettings, FrameRun, History, HistoryMemory, Origin, Place, SessionId,
};
use mles::protocol::{Cid, Key, Message, encode_frame};

fn run(frames: u32) -> FrameRun {
    let message = Message {
        uid: "alice",
        channel: "room",
        message: &[7; 64],
    };
    let frame = encode_frame(Cid(1), Key(2), &message).unwrap();
    FrameRun::exact(frame.repeat(frames as usize).into(), frames)
}

fn empty() -> History {
    History::new(HistoryMemory::new(usize::MAX))
}

/// A channel with one publisher and `members` others.
fn channel(members: u32) -> Channel<()> {
    let now = Instant::now();
    let mut channel = Channel::new(Arc::new(ChannelSettings::default()), empty(), now);
    for n in 0..=members {
        let conn = SessionId(u64::from(n) + 1);
        let place = |local: &mut mles::channel::Fanout<()>, skip| {
            Place::Local(local.insert(conn, (), skip))
        };
        channel.join(Cid(n), conn, None, now, place).unwrap();
    }
    channel
}

/// Takes the dirty members and marks all that is queued for them as written, as the flusher
/// does when every socket takes everything.
fn drain(channel: &mut Channel<()>, now: Instant) {
    let (local, settings) = channel.local_and_settings();
    while let Some(key) = local.next_dirty() {
        let queued = local.at(key).map_or(0, |member| member.outbox.bytes());
        local.wrote(key, queued, now, settings);
    }
}

/// One run to all members; figures are per delivery: one frame to one member. The first is with a
/// flush behind every run, the second with one behind sixteen.
fn publish(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish");
    for members in [1, 10, 1000] {
        for frames in [1, 500] {
            for runs in [1, 16] {
                let (mut channel, run) = (channel(members), run(frames));
                let now = Instant::now();
                group.throughput(Throughput::Elements(u64::from(members * frames * runs)));
                let name = format!("{runs} runs of {frames}");
                group.bench_function(BenchmarkId::new(name, members), |b| {
                    b.iter(|| {
                        for _ in 0..runs {
                            let stored = Some((&run, Origin::Member));
                            channel.commit(black_box(&run), SessionId(1), stored, now);
                        }
                        drain(&mut channel, now);
                    });
                });
            }
        }
    }
    group.finish();
}

/// Storing runs in a full history of 1000 frames, and handing it to a joiner.
fn history(c: &mut Criterion) {
    let mut group = c.benchmark_group("history");
    let settings = ChannelSettings {
        history_frames: 1000,
        history_age: Some(Duration::from_secs(60)),
        ..ChannelSettings::default()
    };
    let now = Instant::now();
    for frames in [1, 64, 500] {
        let run = run(frames);
        let mut full = empty();
        while full.frames() < settings.history_frames {
            full.push(&run, Origin::Member, 0, now, &settings);
        }
        group.throughput(Throughput::Elements(frames.into()));
        group.bench_function(BenchmarkId::new("push runs of", frames), |b| {
            b.iter(|| full.push(black_box(&run), Origin::Member, 0, now, &settings));
        });
        group.throughput(Throughput::Elements(full.frames() as u64));
        group.bench_function(BenchmarkId::new("replay runs of", frames), |b| {
            b.iter(|| full.replay(now, &settings));
        });
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group! {
    name = benches;
    config = config();
    targets = publish, history
}
criterion_main!(benches);
