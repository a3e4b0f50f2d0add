//! How a store is doing: read by metrics, health and overviews while the writer works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::shard::counter::{Counter, Histogram};

/// What the writer of a store has done, and whether it can go on. Only the writer changes it.
#[derive(Debug)]
pub(crate) struct StoreStatus {
    /// Batches of shards that were written.
    pub(crate) batches: Counter,
    /// Runs that were written.
    pub(crate) runs: Counter,
    /// Bytes of frames that were written.
    pub(crate) bytes: Counter,
    /// Commits of the database, each of one batch or more.
    pub(crate) commits: Counter,
    /// Batches that could not be written.
    pub(crate) failed_batches: Counter,
    /// Times between the beginning of a commit and its end, with its sync if it has one.
    pub(crate) commit_time: Histogram,
    /// Times that syncs took.
    pub(crate) sync_time: Histogram,
    /// Bytes that the store takes on disk, as last measured.
    pub(crate) disk_space: Counter,
    /// Since when the commit in hand has been worked on, in milliseconds since `created`; 0 if there is none.
    busy_since: AtomicU64,
    created: Instant,
    failure: Mutex<Option<StoreFailure>>,
}

/// Why a store does not take anything at present.
#[derive(Clone, Debug)]
pub(crate) struct StoreFailure {
    /// In words.
    pub(crate) reason: Arc<str>,
    /// When the first of the batches failed that have failed since.
    pub(crate) since: SystemTime,
}

impl Default for StoreStatus {
    fn default() -> Self {
        Self {
            batches: Counter::default(),
            runs: Counter::default(),
            bytes: Counter::default(),
            commits: Counter::default(),
            failed_batches: Counter::default(),
            commit_time: Histogram::default(),
            sync_time: Histogram::default(),
            disk_space: Counter::default(),
            busy_since: AtomicU64::new(0),
            created: Instant::now(),
            failure: Mutex::new(None),
        }
    }
}

impl StoreStatus {
    /// Returns why the store does not take anything at present; `None` if it does.
    pub(crate) fn failure(&self) -> Option<StoreFailure> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns for how long the commit in hand has been worked on; `None` if there is none.
    pub(crate) fn busy(&self) -> Option<Duration> {
        let since = self.busy_since.load(Ordering::Relaxed);
        let since = self.created + Duration::from_millis(since.checked_sub(1)?);
        Some(since.elapsed())
    }

    /// Records that a commit begins.
    pub(super) fn begin(&self) {
        let since = u64::try_from(self.created.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.busy_since.store(since + 1, Ordering::Relaxed);
    }

    /// Records that a commit has ended.
    pub(super) fn end(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    /// Records that a batch could not be written. Returns `true` if the reason is another one than before.
    pub(super) fn fail(&self, reason: &Arc<str>) -> bool {
        let failure = self.failure.lock();
        let mut failure = failure.unwrap_or_else(PoisonError::into_inner);
        let known = failure.as_ref();
        let is_new = known.is_none_or(|known| known.reason != *reason);
        let since = known.map_or_else(SystemTime::now, |known| known.since);
        let reason = reason.clone();
        *failure = Some(StoreFailure { reason, since });
        is_new
    }

    /// Records that a batch was written. Returns what was wrong before.
    pub(super) fn recover(&self) -> Option<StoreFailure> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).take()
    }
}
