//! Figures of the store, to be run by hand, optimized:
//! `cargo test --release --lib store::tests::measure -- --ignored --nocapture --test-threads 1`
#![allow(clippy::disallowed_macros, reason = "it is run to print")]

use std::time::Instant;

use super::*;

/// Bytes that this process has had written to disks.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("Linux");
    let line = io.lines().find(|line| line.starts_with("write_bytes"));
    let bytes = line.and_then(|line| line.split(' ').nth(1));
    bytes
        .and_then(|bytes| bytes.parse().ok())
        .expect("a number")
}

/// Returns the time that all threads of this process have worked.
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("its name is in parentheses");
    // Of user and system, in hundredths of a second.
    let times = fields.split_whitespace().skip(11).take(2);
    let ticks = times.map(|ticks| ticks.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// Publishes `rounds` times to `channels` channels, `runs` runs of `len` bytes each, of which a history keeps `kept`.
fn publish(channels: usize, rounds: usize, len: usize, kept: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let (store, _) = open_all(dir.path(), &interval());
    let mut rooms: Vec<_> = (0..channels)
        .map(|at| TestChannel::new(&store, &format!("room{at}")))
        .collect();
    let (before, begun) = (written(), Instant::now());
    let mut published = 0;
    for _ in 0..rounds {
        let changes = rooms.iter_mut().map(|room| {
            let run = room.publish(1, len);
            room.first = (room.state.newest + 1).saturating_sub(kept).max(1);
            published += run.run.bytes().len() as u64;
            room.save(vec![run])
        });
        write(&store, changes.collect()).expect("it is written");
    }
    let took = begun.elapsed();
    let space = crate::store::database::disk_space(dir.path()).expect("it is there");
    store.close();
    let wrote = written() - before;
    let syncs = u32::try_from(rounds).expect("few rounds");
    println!(
        "{channels} channels, runs of {len} B, {kept} kept: {published} B published, {:.2} written per byte, \
         {:?} for a batch with its sync, {space} B on disk",
        wrote as f64 / published as f64,
        took / syncs,
    );
}

#[test]
#[ignore = "takes minutes, and tells figures only"]
fn bytes_written_for_each_byte_published() {
    publish(1, 2000, 200, 100);
    publish(1, 2000, 16_000, 100);
    publish(100, 500, 200, 100);
    publish(100, 200, 16_000, 100);
    publish(1000, 100, 1_000, 10);
}

#[test]
#[ignore = "takes minutes, and tells figures only"]
fn time_to_load_a_gibibyte() {
    for len in [1000, 60_000] {
        let dir = tempfile::tempdir().expect("a directory");
        let (store, _) = open_all(dir.path(), &interval());
        let mut rooms: Vec<_> = (0..64)
            .map(|at| TestChannel::new(&store, &format!("room{at}")))
            .collect();
        let mut left = 1_i64 << 30;
        while left > 0 {
            let changes = rooms.iter_mut().map(|room| {
                let runs: Vec<_> = (0..4).map(|_| room.publish(1, len)).collect();
                let bytes: usize = runs.iter().map(|run| run.run.bytes().len()).sum();
                left -= i64::try_from(bytes).expect("few bytes");
                room.save(runs)
            });
            write(&store, changes.collect()).expect("it is written");
        }
        store.close();
        drop(store);
        let (begun, worked) = (Instant::now(), processor_time());
        let (store, loaded) = open(dir.path(), &interval(), 4 << 30, &|_| true).expect("it opens");
        let (took, worked) = (begun.elapsed(), processor_time() - worked);
        let runs = loaded.channels.iter().flat_map(|channel| &channel.runs);
        let bytes: usize = runs.map(|run| run.run.bytes().len()).sum();
        let rate = bytes as f64 / took.as_secs_f64() / 1e6;
        println!(
            "runs of {len} B: {bytes} B loaded in {took:?}, {rate:.0} MB/s, {worked:?} of processors"
        );
        drop(store);
    }
}
