//! Tests of the store: what was handed over is there at the next start, or is said to be missing.
#![allow(clippy::unwrap_used, reason = "tests say where they cannot go on")]

mod basics;
mod copies;
mod damage;
mod disk;
mod faults;
mod format;
mod measure;
mod model;
mod power_cut;
mod reopened;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::test_runner::Config as ProptestConfig;
use tokio::sync::oneshot;

use super::batch::{
    Batch, Change, ChannelKey, ChannelState, LoadedChannel, SavedChannel, StoredPublisher,
    StoredRun,
};
use super::open::{OpenStoreError, open};
use super::{Loaded, StoreError, StoreHandle};
use crate::channel::{FrameRun, Origin, Published, PublisherId};
use crate::protocol::{Cid, Epoch, Key, Message, encode_frame};
use crate::settings::{StoreSettings, StoreSync};

/// Enough memory for any test.
const BUDGET: u64 = 1 << 30;

/// Returns how many cases a test of random ones has: a few, or as many as `MLES_TEST_SEEDS` says.
fn cases() -> ProptestConfig {
    let given = std::env::var("MLES_TEST_SEEDS");
    let cases = given.map_or(16, |cases| cases.parse().unwrap());
    ProptestConfig::with_cases(cases)
}

fn settings(sync: StoreSync) -> StoreSettings {
    StoreSettings {
        sync,
        min_free: 0,
        ..StoreSettings::default()
    }
}

fn interval() -> StoreSettings {
    settings(StoreSync::Interval(Duration::from_millis(100)))
}

/// Makes a directory that is in memory if there is such a place, for stores that are opened many times over.
fn memory_dir() -> tempfile::TempDir {
    let in_memory = tempfile::tempdir_in("/dev/shm");
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

/// Opens a store and keeps all channels.
fn open_all(dir: &Path, settings: &StoreSettings) -> (StoreHandle, Loaded) {
    open(dir, settings, BUDGET, &|_| true).expect("the store opens")
}

/// Returns why a store cannot be opened.
fn refusal(dir: &Path, settings: &StoreSettings) -> OpenStoreError {
    let opened = open(dir, settings, BUDGET, &|_| true);
    opened.map(drop).expect_err("the store does not open")
}

/// Hands over changes, and waits until they are written.
fn write(store: &StoreHandle, changes: Vec<Change>) -> Result<(), StoreError> {
    let (done, answer) = oneshot::channel();
    let submitted = store.submit(Batch { changes, done });
    submitted.expect("there is room for a batch");
    answer.blocking_recv().expect("each batch is answered")
}

/// Returns the frames of messages, each with its offset in it.
fn frames(first: u64, last: u64, len: usize) -> FrameRun {
    let mut bytes = Vec::new();
    for offset in first..=last {
        let text = format!("{offset:0len$}");
        let message = Message {
            uid: "alice",
            channel: "room",
            message: text.as_bytes(),
        };
        bytes.extend(encode_frame(Cid(7), Key(0), &message).expect("a short message"));
    }
    let count = u32::try_from(last + 1 - first).expect("few messages");
    FrameRun::exact(Bytes::from(bytes), count)
}

/// A channel as a shard would save it.
#[derive(Clone)]
struct TestChannel {
    state: ChannelState,
    first: u64,
}

impl TestChannel {
    fn new(store: &StoreHandle, name: &str) -> Self {
        Self {
            state: ChannelState {
                key: store.next_key(),
                name: name.into(),
                epoch: Epoch(0xE0),
                past: Vec::new(),
                newest: 0,
                idle_since: None,
            },
            first: 1,
        }
    }

    /// Publishes messages of `len` bytes. Returns their run.
    fn publish(&mut self, messages: u32, len: usize) -> StoredRun {
        let first = self.state.newest + 1;
        self.state.newest += u64::from(messages);
        StoredRun {
            run: frames(first, self.state.newest, len),
            end: self.state.newest,
            messages,
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + first),
            origin: Origin::Member,
            publisher: None,
        }
    }

    fn save(&self, runs: Vec<StoredRun>) -> Change {
        Change::Save(Box::new(SavedChannel {
            state: self.state.clone(),
            first: self.first,
            runs,
            publishers: Vec::new(),
        }))
    }

    fn forget(&self) -> Change {
        Change::Forget(self.state.key)
    }
}

/// Returns the offsets of all runs of a channel with their bytes.
fn content(channel: &LoadedChannel) -> Vec<(u64, Bytes)> {
    content_of(&channel.runs)
}

fn content_of(runs: &[StoredRun]) -> Vec<(u64, Bytes)> {
    let runs = runs.iter();
    runs.map(|run| (run.end, run.run.bytes().clone())).collect()
}

fn names(loaded: &Loaded) -> Vec<&str> {
    let channels = loaded.channels.iter();
    channels.map(|channel| &*channel.state.name).collect()
}
