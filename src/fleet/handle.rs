//! The fleet, as shards and the broker see it.

use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::status::{FleetPhase, FleetStatus};
use crate::order::{FleetEpoch, OrderedRecord, Section, Sequence};
use crate::protocol::Epoch;
use crate::shard::{Common, ShardId};

/// Events that wait for a shard at most. The log is not read on while there are as many.
const WAITING: usize = 64;

/// Bytes of a record that are not for the name of a channel, or for its frames, at most.
const RESERVED: usize = 1024;

/// What the log has decided, on its way to the shards. Each gets all of it, in order.
#[derive(Clone, Debug)]
pub(crate) enum FleetEvent {
    /// The next record.
    Record(Arc<RoutedRecord>),
    /// The node begins anew behind the record at `first`, in that epoch: what it knew of channels is void.
    Restart { epoch: Epoch, first: Sequence },
    /// The node serves or does not, from here on.
    Phase(FleetPhase),
}

/// A record that was ordered, with the shard that owns the channel of each section.
#[derive(Debug)]
pub(crate) struct RoutedRecord {
    pub(crate) record: OrderedRecord,
    /// Has as many entries as there are sections.
    pub(crate) owners: Box<[ShardId]>,
    /// `true` if it was in the log when this node began to read: its time is that of the record.
    pub(crate) is_old: bool,
    /// `true` if this node proposes what is late in it again.
    pub(crate) proposes_again: bool,
}

/// The way of shards into the log.
#[derive(Debug)]
pub(crate) struct FleetHandle {
    proposals: mpsc::UnboundedSender<Section>,
    /// The epoch that the log was made with. All nodes make secrets of it that they have to share.
    made_with: FleetEpoch,
    /// What is before the first record that shards are told of.
    begins_behind: Sequence,
    /// Longest record that the log takes, in bytes.
    max_record: usize,
    status: FleetStatus,
}

impl FleetHandle {
    /// Creates the handle of a log that a node begins to read behind `begins_behind`. Returns what is proposed as well.
    pub(super) fn new(
        epoch: FleetEpoch,
        begins_behind: Sequence,
        max_record: usize,
    ) -> (Self, mpsc::UnboundedReceiver<Section>) {
        let (proposals, proposed) = mpsc::unbounded_channel();
        let handle = Self {
            proposals,
            made_with: epoch,
            begins_behind,
            max_record,
            status: FleetStatus::new(epoch, begins_behind),
        };
        (handle, proposed)
    }

    /// Proposes the next section of a channel. It comes back with a [`FleetEvent::Record`], or not at all. Never waits:
    /// shards bound what they have proposed.
    pub(crate) fn propose(&self, section: Section) {
        // The thread is gone only when the broker stops at once.
        let _ = self.proposals.send(section);
    }

    /// Returns the length in bytes of the longest run that fits into a record, whatever the name of its channel is.
    pub(crate) fn max_run(&self, max_channel_name: usize) -> usize {
        self.max_record.saturating_sub(RESERVED + max_channel_name)
    }

    /// Returns the epoch that the log was made with.
    pub(crate) fn made_with(&self) -> FleetEpoch {
        self.made_with
    }

    /// Returns what is before the first record that shards are told of.
    pub(crate) fn begins_behind(&self) -> Sequence {
        self.begins_behind
    }

    /// Returns how the node does.
    pub(crate) fn status(&self) -> &FleetStatus {
        &self.status
    }
}

/// A log that was found, before the node begins to read it.
#[derive(Debug)]
pub(crate) struct OpenFleet {
    pub(crate) handle: Arc<FleetHandle>,
    /// Has the thread begin.
    pub(super) begin: oneshot::Sender<Routes>,
    pub(super) thread: JoinHandle<()>,
}

/// The ways to the shards.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) common: Arc<Common>,
    pub(super) shards: Vec<mpsc::Sender<FleetEvent>>,
}

#[cfg(test)]
impl OpenFleet {
    /// Creates a fleet whose log nobody reads.
    pub(crate) fn for_tests() -> Self {
        let id = Epoch(1);
        let (handle, _) = FleetHandle::new(FleetEpoch { number: 1, id }, Sequence(0), 1 << 20);
        Self {
            handle: Arc::new(handle),
            begin: oneshot::channel().0,
            thread: std::thread::spawn(|| ()),
        }
    }
}

impl OpenFleet {
    /// Makes the ways to `shards` shards. Returns both their ends.
    pub(crate) fn routes(
        shards: usize,
    ) -> (
        Vec<mpsc::Sender<FleetEvent>>,
        Vec<mpsc::Receiver<FleetEvent>>,
    ) {
        (0..shards).map(|_| mpsc::channel(WAITING)).unzip()
    }

    /// Begins to read and to append. Returns the thread, which ends when the broker stops.
    pub(crate) fn begin(
        self,
        common: Arc<Common>,
        shards: Vec<mpsc::Sender<FleetEvent>>,
    ) -> JoinHandle<()> {
        // It waits for that.
        let _ = self.begin.send(Routes { common, shards });
        self.thread
    }
}
