//! What shards have of a store: the way to its writer, and how that does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender};

use super::{Batch, ChannelKey, LoadedChannel, StoreStatus};

/// What was in a store when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// Its channels, those that were used last first.
    pub(crate) channels: Vec<LoadedChannel>,
    /// The secret that names of publishers are made with.
    pub(crate) secret: u128,
    pub(crate) unwanted: usize,
    pub(crate) too_many: usize,
}

/// The way to the writer of a store.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    batches: Sender<Batch>,
    next_key: Arc<AtomicU64>,
    status: Arc<StoreStatus>,
}

impl StoreHandle {
    /// Creates the way to a writer that takes what comes out of the other end, for `shards` shards. New channels get keys
    /// from `next_key` on.
    pub(crate) fn new(shards: usize, next_key: ChannelKey) -> (Self, Receiver<Batch>) {
        // Each shard has one batch on its way at most, and one more when it begins.
        let (batches, writer) = crossbeam_channel::bounded(2 * shards);
        let handle = Self {
            batches,
            next_key: Arc::new(AtomicU64::new(next_key.0)),
            status: Arc::default(),
        };
        (handle, writer)
    }

    /// Hands over a batch. Never blocks.
    ///
    /// # Errors
    ///
    /// The batch, if there is no room for it or the writer is gone.
    pub(crate) fn submit(&self, batch: Batch) -> Result<(), Batch> {
        let sent = self.batches.try_send(batch);
        sent.map_err(crossbeam_channel::TrySendError::into_inner)
    }

    /// Returns a key that no other channel has or had.
    pub(crate) fn next_key(&self) -> ChannelKey {
        ChannelKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns how the writer does.
    pub(crate) fn status(&self) -> &Arc<StoreStatus> {
        &self.status
    }
}

#[cfg(test)]
impl StoreHandle {
    /// Creates a handle for tests, and what its batches come out of.
    pub(crate) fn for_tests() -> (Self, TestWriter) {
        let (handle, batches) = Self::new(64, ChannelKey(1));
        (handle, TestWriter(batches))
    }
}

/// Takes batches in place of a writer.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct TestWriter(Receiver<Batch>);

#[cfg(test)]
impl TestWriter {
    /// Returns the batch that has waited longest; `None` if none waits.
    pub(crate) fn next(&self) -> Option<Batch> {
        self.0.try_recv().ok()
    }
}
