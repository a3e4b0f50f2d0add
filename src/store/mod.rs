//! Histories on disk: what shards hand over is written by one thread, and loaded before the next start.
//!
//! A shard hands over a [`Batch`] at a time: what is new of its channels, and what of them goes. The writer puts the
//! batches that wait into one transaction, and syncs as the settings say. Then it tells each shard. Nothing here waits
//! for a shard, and no shard waits for the disk: what is not taken yet stays in the histories, and is handed over later as
//! far as it is still there.
//!
//! It must not know sessions or settings of channels, nor decide what a history keeps.

mod batch;
#[cfg(feature = "store")]
mod contents;
#[cfg(feature = "store")]
mod database;
#[cfg(feature = "store")]
mod engine;
mod handle;
#[cfg(feature = "cli")]
mod inspect;
#[cfg(feature = "store")]
mod journal;
#[cfg(feature = "store")]
mod load;
#[cfg(feature = "store")]
mod marker;
#[cfg(feature = "store")]
mod open;
#[cfg(feature = "store")]
mod parallel;
#[cfg(feature = "store")]
mod record;
mod secret;
mod status;
#[cfg(all(test, feature = "store"))]
mod tests;
#[cfg(feature = "store")]
mod writer;

use std::sync::Arc;

use thiserror::Error;

pub(crate) use batch::{
    Batch, Change, ChannelKey, ChannelState, LoadedChannel, SavedChannel, StoredPublisher,
    StoredRun,
};
#[cfg(test)]
pub(crate) use handle::TestWriter;
pub(crate) use handle::{Loaded, StoreHandle};
#[cfg(feature = "cli")]
pub(crate) use inspect::{ChannelSummary, StoreInspection, StoreSummary, compact, renew};
#[cfg(feature = "store")]
pub use open::OpenStoreError;
#[cfg(feature = "store")]
pub(crate) use open::open;
pub(crate) use secret::PublisherSecret;
pub(crate) use status::StoreStatus;

/// Reason for which a batch was not written.
#[derive(Clone, Debug, Error)]
pub(crate) enum StoreError {
    /// The store cannot write, and nothing is wrong with the batch.
    #[error("cannot write to the store: {0}")]
    Failed(Arc<str>),
    /// The batch does not fit to what the store has: its channels are to be handed over as a whole.
    #[error("the store does not take a batch: {0}")]
    Refused(&'static str),
}
