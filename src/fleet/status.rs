//! How a node of a fleet does, for whoever asks from any thread.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::order::{FleetEpoch, Sequence};
use crate::protocol::Epoch;
use crate::shard::counter::Counter;

/// State of a node. It serves as long as its own records come back from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum FleetPhase {
    /// It reads what the log has, and serves nobody yet.
    Starting,
    /// Clients are served.
    Serving,
    /// Its records do not come back. Who publishes has to wait.
    Stalled,
    /// They have not come back for so long that its clients were closed.
    CutOff,
    /// The log is not as it must be, or has what this version does not know.
    Unusable,
}

impl FleetPhase {
    /// Returns its name, as it is told.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Stalled => "stalled",
            Self::CutOff => "cut off",
            Self::Unusable => "unusable",
        }
    }

    const fn of(value: u8) -> Self {
        match value {
            0 => Self::Starting,
            1 => Self::Serving,
            2 => Self::Stalled,
            3 => Self::CutOff,
            _ => Self::Unusable,
        }
    }
}

/// How a node of a fleet does.
#[derive(Debug)]
pub(crate) struct FleetStatus {
    phase: AtomicU8,
    is_connected: AtomicBool,
    /// Sequence of the record that was applied last.
    applied: AtomicU64,
    /// The newest record of the log when it was last looked at.
    newest: AtomicU64,
    epoch_number: AtomicU64,
    epoch_id: AtomicU64,
    /// When its own record came back last, in milliseconds since `made`; 0 before the first one.
    returned_ms: AtomicU64,
    made: Instant,
    /// What is wrong with the log, while something is.
    trouble: Mutex<Option<Box<str>>>,
    /// Time in milliseconds of the log until a node that starts knows all that others know, at least; 0 once it does.
    pub(crate) sure_in_ms: Counter,
    /// Seats of publishers and names of publications that are remembered.
    pub(crate) remembered: Counter,
    /// Records that this node has appended.
    pub(crate) batches: Counter,
    /// Bytes of them.
    pub(crate) batch_bytes: Counter,
    /// Attempts to append one that had to be made again.
    pub(crate) retries: Counter,
    /// Records of all nodes that were read from the log.
    pub(crate) records: Counter,
    /// Bytes of them.
    pub(crate) record_bytes: Counter,
    /// Records that were in the log twice, and publications by a name that had its place already.
    pub(crate) repeats: Counter,
    /// Runs that were left out, as their publisher had taken another seat.
    pub(crate) fenced: Counter,
    /// Sections that were void, as the log had them too late or in another epoch.
    pub(crate) late: Counter,
    /// Records that could not be read, and were left out by all nodes.
    pub(crate) unreadable: Counter,
    /// Times that the log was read anew.
    pub(crate) reconnects: Counter,
    /// Times that the node has begun anew from what the log has.
    pub(crate) restarts: Counter,
    /// Digests of other nodes that are not as those of this one: they have read other records.
    pub(crate) differences: Counter,
    /// Frames that were proposed and let go, as the node was cut off.
    pub(crate) let_go_frames: Counter,
}

impl FleetStatus {
    pub(super) fn new(epoch: FleetEpoch, applied: Sequence) -> Self {
        Self {
            phase: AtomicU8::new(FleetPhase::Starting as u8),
            is_connected: AtomicBool::new(false),
            applied: AtomicU64::new(applied.0),
            newest: AtomicU64::new(0),
            epoch_number: AtomicU64::new(epoch.number),
            epoch_id: AtomicU64::new(epoch.id.0),
            returned_ms: AtomicU64::new(0),
            made: Instant::now(),
            trouble: Mutex::new(None),
            sure_in_ms: Counter::default(),
            remembered: Counter::default(),
            batches: Counter::default(),
            batch_bytes: Counter::default(),
            retries: Counter::default(),
            records: Counter::default(),
            record_bytes: Counter::default(),
            repeats: Counter::default(),
            fenced: Counter::default(),
            late: Counter::default(),
            unreadable: Counter::default(),
            reconnects: Counter::default(),
            restarts: Counter::default(),
            differences: Counter::default(),
            let_go_frames: Counter::default(),
        }
    }

    /// Returns whether the node serves.
    pub(crate) fn phase(&self) -> FleetPhase {
        FleetPhase::of(self.phase.load(Ordering::Acquire))
    }

    /// Returns `true` while the log is being read.
    pub(crate) fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// Returns the place of the record that was applied last.
    pub(crate) fn applied(&self) -> Sequence {
        Sequence(self.applied.load(Ordering::Relaxed))
    }

    /// Returns how many records the log is known to have that were not applied yet.
    pub(crate) fn lag(&self) -> u64 {
        let newest = self.newest.load(Ordering::Relaxed);
        newest.saturating_sub(self.applied().0)
    }

    /// Returns the epoch in force.
    pub(crate) fn epoch(&self) -> FleetEpoch {
        FleetEpoch {
            number: self.epoch_number.load(Ordering::Relaxed),
            id: Epoch(self.epoch_id.load(Ordering::Relaxed)),
        }
    }

    /// Returns how long ago the node's own record came back; `None` before the first one.
    pub(crate) fn own_record_age(&self) -> Option<Duration> {
        let returned = self.returned_ms.load(Ordering::Relaxed);
        let at = self.made + Duration::from_millis(returned);
        (returned > 0).then(|| at.elapsed())
    }

    /// Returns what is wrong with the log, while something is.
    pub(crate) fn trouble(&self) -> Option<Box<str>> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }
}

#[cfg(feature = "fleet")]
impl FleetStatus {
    pub(super) fn set_phase(&self, phase: FleetPhase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(super) fn set_connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
    }

    pub(super) fn set_applied(&self, sequence: Sequence) {
        self.applied.store(sequence.0, Ordering::Relaxed);
        self.newest.fetch_max(sequence.0, Ordering::Relaxed);
    }

    /// Records that nothing is applied but what is before `sequence` or there.
    pub(super) fn begin_at(&self, sequence: Sequence) {
        self.applied.store(sequence.0, Ordering::Relaxed);
    }

    /// Records the newest record that the log has.
    pub(super) fn set_newest(&self, sequence: Sequence) {
        self.newest.store(sequence.0, Ordering::Relaxed);
    }

    pub(super) fn set_epoch(&self, epoch: FleetEpoch) {
        self.epoch_number.store(epoch.number, Ordering::Relaxed);
        self.epoch_id.store(epoch.id.0, Ordering::Relaxed);
    }

    /// Records that an own record has come back now.
    pub(super) fn own_record_returned(&self) {
        let millis = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.returned_ms.store(millis.max(1), Ordering::Relaxed);
    }

    /// Records what is wrong with the log, if something is.
    pub(super) fn set_trouble(&self, trouble: Option<&str>) {
        let mut now = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if now.as_deref() != trouble {
            *now = trouble.map(Into::into);
        }
    }
}
