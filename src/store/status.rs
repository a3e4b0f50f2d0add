//! How a store is doing: read by metrics, health and overviews while the writer works.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use crate::shard::counter::{Counter, Histogram};

/// Counters of a store's writer, and whether it can go on. Only the writer changes them.
#[derive(Debug, Default)]
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
    failure: Mutex<Option<StoreFailure>>,
}

/// Reason for which a store does not take anything at present.
#[derive(Clone, Debug)]
pub(crate) struct StoreFailure {
    /// In words.
    pub(crate) reason: Arc<str>,
    /// When the first of the batches failed that have failed since.
    pub(crate) since: SystemTime,
}

impl StoreStatus {
    /// Returns why the store does not take anything at present; `None` if it does.
    pub(crate) fn failure(&self) -> Option<StoreFailure> {
        let failure = self.failure.lock();
        failure.unwrap_or_else(PoisonError::into_inner).clone()
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
