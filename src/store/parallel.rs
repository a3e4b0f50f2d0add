//! Loads a store on several threads, and tells how far that has come.

use std::convert::Infallible;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::info;

use super::batch::ChannelKey;
use super::contents::Contents;
use super::engine::{ALL_CHANNELS, Engine, EngineError};
use super::load::{Collector, Faults, Part, read_part};
use super::open::RUN_COST;
use super::record::ChannelRecord;

/// Most threads that read: more of them wait for each other.
const THREADS: usize = 8;
/// Bytes in a part, which is never less than a channel.
const PART: u64 = 16 << 20;
/// Time between two lines about the progress.
const TOLD: Duration = Duration::from_secs(1);

/// What was read.
#[derive(Default)]
pub(super) struct Loading {
    pub(super) contents: Contents,
    pub(super) faults: Faults,
    pub(super) collector: Collector,
}

impl Loading {
    fn append(&mut self, other: Self) {
        self.contents.append(other.contents);
        self.faults.append(other.faults);
        self.collector.append(other.collector);
    }
}

/// Reads all histories and publishers of `channels`, which are in the order of their keys. Those that `wanted` returns `true`
/// for are collected; the others are checked as well. Blocks until that is done, and logs the progress once per second.
///
/// # Errors
///
/// When the store cannot be read any further. Other faults are in what is returned.
pub(super) fn load(
    engine: &dyn Engine,
    channels: &[ChannelRecord],
    wanted: &(dyn Fn(&ChannelRecord) -> bool + Sync),
) -> Result<Loading, EngineError> {
    let parts = split(channels, PART);
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let work = Work {
        engine,
        parts: &parts,
        wanted,
        next: AtomicUsize::new(0),
        bytes: AtomicU64::new(0),
    };
    let total = channels.iter().map(|channel| channel.bytes).sum();
    thread::scope(|scope| {
        // Nothing is sent: a thread has ended when it has dropped its end.
        let (running, ended) = bounded(0);
        let mut threads = Vec::new();
        for _ in 0..cores.min(THREADS).min(parts.len()) {
            let (work, running) = (&work, running.clone());
            let thread = thread::Builder::new().name("mles-load".to_owned());
            match thread.spawn_scoped(scope, move || work.run(running)) {
                Ok(thread) => threads.push(thread),
                Err(error) if threads.is_empty() => {
                    return Err(EngineError::System(error.to_string()));
                }
                // Fewer do it as well.
                Err(_) => break,
            }
        }
        drop(running);
        work.tell(&ended, total);
        let mut all = Loading::default();
        for thread in threads {
            let read = thread.join();
            // Those that look into the database do not panic.
            let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            all.append(read?);
        }
        Ok(all)
    })
}

/// What the threads share.
struct Work<'a> {
    engine: &'a dyn Engine,
    parts: &'a [Part<'a>],
    wanted: &'a (dyn Fn(&ChannelRecord) -> bool + Sync),
    /// The part that is read next.
    next: AtomicUsize,
    /// Bytes of frames that were read.
    bytes: AtomicU64,
}

impl Work<'_> {
    /// Reads parts until none is left.
    fn run(&self, _running: Sender<Infallible>) -> Result<Loading, EngineError> {
        let mut all = Loading::default();
        while let Some(part) = self.parts.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            let collector = &mut all.collector;
            let read = read_part(self.engine, part, self.wanted, collector, &self.bytes);
            let (contents, faults) = read.inspect_err(|_| {
                // What the others find makes no difference.
                self.next.store(self.parts.len(), Ordering::Relaxed);
            })?;
            all.contents.append(contents);
            all.faults.append(faults);
        }
        Ok(all)
    }

    /// Logs how far it has come, until all threads have ended.
    fn tell(&self, ended: &Receiver<Infallible>, total: u64) {
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(TOLD) {
            let bytes = self.bytes.load(Ordering::Relaxed);
            info!("loaded {} of {} MiB of histories", bytes >> 20, total >> 20);
        }
    }
}

/// Divides channels into parts of about `size` bytes. There is one at least.
fn split(channels: &[ChannelRecord], size: u64) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let (mut rest, mut first) = (channels, *ALL_CHANNELS.start());
    let (mut count, mut bytes) = (0, 0);
    for channel in channels {
        count += 1;
        bytes += channel.bytes + channel.runs * RUN_COST;
        if bytes >= size && count < rest.len() {
            let (part, behind) = rest.split_at(count);
            let last = channel.state.key;
            parts.push(Part {
                channels: part,
                keys: first..=last,
            });
            (rest, first) = (behind, ChannelKey(last.0 + 1));
            (count, bytes) = (0, 0);
        }
    }
    parts.push(Part {
        channels: rest,
        keys: first..=*ALL_CHANNELS.end(),
    });
    parts
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::protocol::Epoch;
    use crate::store::ChannelState;

    fn channel(key: u64, bytes: u64) -> ChannelRecord {
        ChannelRecord {
            state: ChannelState {
                key: ChannelKey(key),
                name: "room".into(),
                epoch: Epoch(1),
                past: Vec::new(),
                newest: 0,
                idle_since: None,
            },
            first: 1,
            runs: 0,
            bytes,
            newest_at: SystemTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn each_key_is_in_one_part() {
        let channels = [(3, 5), (4, 100), (9, 5), (10, 5), (u64::MAX, 5)];
        let channels = channels.map(|(key, bytes)| channel(key, bytes));
        for size in [1, 10, 100, 1000] {
            let parts = split(&channels, size);
            assert!(size > 1 || parts.len() == 5);
            assert!(size < 1000 || parts.len() == 1);
            let mut next = 0;
            for part in &parts {
                assert_eq!(part.keys.start().0, next);
                next = part.keys.end().0.wrapping_add(1);
                let mut keys = part.channels.iter().map(|channel| channel.state.key);
                assert!(keys.all(|key| part.keys.contains(&key)));
            }
            assert_eq!(next, 0, "the last key is in the last part");
            let count: usize = parts.iter().map(|part| part.channels.len()).sum();
            assert_eq!(count, channels.len());
        }
        assert_eq!(split(&[], 1).len(), 1);
    }
}
