//! What a shard hands over to the store, and what it gets back at the next start.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::oneshot;

use super::StoreError;
use crate::channel::{FrameRun, Origin, PastEpoch, Published, PublisherId};
use crate::protocol::Epoch;

/// Names a channel in the store. One that is opened anew under the same name has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ChannelKey(pub(crate) u64);

/// Changes of channels that are written as a whole or not at all.
#[derive(Debug)]
pub(crate) struct Batch {
    /// At most one for each channel.
    pub(crate) changes: Vec<Change>,
    /// Told once they are written, and synced where every batch is.
    pub(crate) done: oneshot::Sender<Result<(), StoreError>>,
}

impl Batch {
    /// Returns the bytes of the frames in it.
    pub(super) fn bytes(&self) -> usize {
        self.saved_runs().map(|run| run.run.bytes().len()).sum()
    }

    /// Returns the number of runs in it.
    pub(super) fn runs(&self) -> usize {
        self.saved_runs().count()
    }

    fn saved_runs(&self) -> impl Iterator<Item = &StoredRun> {
        self.changes.iter().flat_map(|change| match change {
            Change::Save(saved) => saved.runs.as_slice(),
            Change::Forget(_) => &[],
        })
    }
}

/// Change of one channel.
#[derive(Debug)]
pub(crate) enum Change {
    /// The channel is as this says, and has these messages besides those that it had.
    Save(Box<SavedChannel>),
    /// The channel is closed, and everything of it goes.
    Forget(ChannelKey),
}

impl Change {
    /// Returns the channel that changes.
    #[cfg(feature = "store")]
    pub(super) fn channel(&self) -> ChannelKey {
        match self {
            Self::Save(saved) => saved.state.key,
            Self::Forget(channel) => *channel,
        }
    }
}

/// State of a channel, and what is new of its history.
#[derive(Debug)]
pub(crate) struct SavedChannel {
    pub(crate) state: ChannelState,
    /// Offset of the oldest message that is kept. Runs that end before it go.
    pub(crate) first: u64,
    /// What follows the messages that were saved before, if those are still kept; else what follows from `first`.
    pub(crate) runs: Vec<StoredRun>,
    /// Publishers of whom something else is to be remembered; `None` for those that are forgotten.
    pub(crate) publishers: Vec<(PublisherId, Option<StoredPublisher>)>,
}

/// State of a channel that goes on after a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelState {
    pub(crate) key: ChannelKey,
    pub(crate) name: Arc<str>,
    /// The order in which offsets count.
    pub(crate) epoch: Epoch,
    /// The orders of which this one is the continuation, oldest first.
    pub(crate) past: Vec<PastEpoch>,
    /// Offset of the newest message.
    pub(crate) newest: u64,
    /// Since when it has no members; `None` while it has some.
    pub(crate) idle_since: Option<SystemTime>,
}

/// A run of a history.
#[derive(Clone, Debug)]
pub(crate) struct StoredRun {
    pub(crate) run: FrameRun,
    /// Offset of its last message.
    pub(crate) end: u64,
    /// Number of messages in it.
    pub(crate) messages: u32,
    /// When the first of its frames was stored.
    pub(crate) at: SystemTime,
    /// Where its frames came from.
    pub(crate) origin: Origin,
    /// The publisher that has brought it, if it is saved before it is committed: the publisher's count does not have it yet.
    pub(crate) publisher: Option<PublisherId>,
}

/// State of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StoredPublisher {
    pub(crate) published: Published,
    /// When it last published or left; `None` while it has a session. After a start it has none, and counts as having
    /// left then.
    pub(crate) at: Option<SystemTime>,
    /// Offset of the newest message that `published` may count: later ones are counted by their runs.
    pub(crate) counted: u64,
}

/// A channel as it was saved.
#[derive(Debug)]
pub(crate) struct LoadedChannel {
    pub(crate) state: ChannelState,
    /// Oldest first; their offsets follow one another without a gap, and end with `state.newest`.
    pub(crate) runs: Vec<StoredRun>,
    /// With all that their runs add.
    pub(crate) publishers: Vec<(PublisherId, StoredPublisher)>,
    /// Those among them to whom runs have added something. It has to be handed over no later than those runs go.
    pub(crate) added_to: Vec<PublisherId>,
}
