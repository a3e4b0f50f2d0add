//! What a node has applied of the log, and what that makes of the next record.

mod continuity;
mod decide;

use std::collections::{HashMap, VecDeque};

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use continuity::Continuity;
use decide::Named;

use super::recent::Recent;
use super::record::BadRecord;
use super::segment::Segments;
use super::{
    Basis, FleetEpoch, Incarnation, LogEntry, OrderedRecord, Record, RecordBody, RecordHead,
    SegmentDigest, Sequence,
};
use crate::log::LogState;

/// A record is void that the log has taken this much later than the newest record that its node had applied when it made it,
/// in milliseconds of the log's time.
const LATE_MS: u64 = 60_000;
/// How long seats and names of publications are remembered, in milliseconds of the log's time.
const MEMORY_MS: u64 = 600_000;
/// How long a node that starts learns what was the last record of each node: within that time after one, it would be late.
const LEARNING_MS: u64 = 2 * LATE_MS;
/// How long it waits then until what it has not seen is forgotten. A minute more, as the log's time may go back by that.
const WARMING_MS: u64 = MEMORY_MS + LATE_MS;
/// How many of the last records are known by their times.
const KNOWN_TIMES: usize = 4096;
/// How many seats, and how many names of publications, are remembered.
const MEMORY_LIMIT: usize = 1_000_000;

/// What a node has applied of the log, as far as that decides about what follows.
///
/// Whenever a tail is to begin, compare with the log ([`Applied::resume`]); the tail begins behind [`Applied::last`]. Pass
/// every record that it reads to [`Applied::apply`]. Two nodes that do so come to the same decisions, whatever their settings are, whenever
/// they have started, and whatever they have proposed themselves:
///
/// * **Time is the log's.** A record has the time at which the engine has taken it, the same on all nodes. No clock is read.
/// * **Each record once.** A node has one record in flight and counts them, so one whose number is not above the last of its
///   node was there before, also where the engine has not noticed.
/// * **Nothing comes very late.** A record says how new the log was that its node knew. One that the log has taken a minute
///   after that is void for all, and its node knows so: it may propose the sections again. So a record that was delayed
///   somewhere cannot come when nobody knows any more that it was there before, or that its publisher has moved.
/// * **Nothing rests on what is lost.** A record names the newest one that its node had applied. If the log has another in that
///   place, or none, the record is void, too: the log has lost what it rests on, and its node finds that out soon.
/// * **A publisher has one seat.** From the place on at which a publisher has taken a seat, nothing of its other sessions has a
///   place: what they have proposed before, and is in the log only now, would be there twice, because the client was told
///   how much has its place and sends the rest itself. A node whose session has lost its seat in that way ends it when
///   it applies that, so what is still proposed for it was made before, and is void a minute later at the latest.
/// * **A publication with a name has one place.** What was published by a name is remembered until it was not mentioned
///   for ten minutes, on whichever node that was.
/// * **An epoch voids what was before.** When the log has lost what nodes have applied, they cannot agree about what was
///   before. A node that finds that proposes an epoch with the next number; several may, and the first in the log begins.
///   Everything that is remembered is forgotten then, and a record that was made in another epoch is void.
///
/// # A node that starts
///
/// The log keeps records for an hour, say, so a node that starts has not seen all. It is **unsure** at first:
///
/// 1. For two minutes of the log it learns only which record was the last of each node, and which epoch is in force. What it
///    sees may have been there before, or be void.
/// 2. For eleven more minutes it knows what comes of seats and names, but not which of them were there before.
/// 3. Then everything that it has not seen is forgotten by all other nodes as well, and it is sure.
///
/// Its histories begin only then. It is sure at once with a log that has lost nothing yet, and when it sees an epoch
/// begin in the second part. If the log keeps nothing any more, the node has an epoch begin, as after a loss. What it learned in the second part may hide that a publication had a place before: see
/// [`Decision::OldRepeat`]. What is forgotten is what was mentioned longest ago, so that holds for the largest number of
/// seats and names, too. Times of the log may go back, as another server of the engine may have another clock, which is
/// allowed for up to a minute.
#[derive(Debug)]
pub(crate) struct Applied {
    incarnation: Incarnation,
    /// The last record that was applied.
    last: Sequence,
    /// The hash of its bytes, to find it again; 0 if there was none.
    last_hash: u64,
    /// When the engine has taken it.
    last_at_ms: u64,
    /// When the engine has taken the last records, in their order.
    times: VecDeque<u64>,
    /// The epoch in force.
    epoch: FleetEpoch,
    /// The epoch that the log was made with.
    made_with: FleetEpoch,
    certainty: Certainty,
    /// Set if an epoch has to begin with a higher number than that. Nothing is sure before.
    lost: Option<u64>,
    /// The number of the last record of each node, and when that was.
    batches: HashMap<Incarnation, (u64, u64)>,
    /// Who has the seat of a publisher.
    seats: Recent<(Incarnation, u64)>,
    /// What was published by a name.
    named: Recent<Named>,
    segments: Segments,
    /// Number of digests of other nodes that were not as those here.
    differences: u64,
}

/// How much a node knows of what other nodes know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    /// It learns what was in the log before; from the first record behind that time on it knows.
    Learning { until_ms: u64 },
    /// It remembers what it sees; from the first record behind that time on nothing else is remembered anywhere.
    Warming { until_ms: u64 },
    /// It knows all.
    Sure,
}

/// A record was not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotApplied {
    /// It is not the next one, and nothing has changed. A new tail has to begin behind what was applied.
    #[error("record {} came where {} was to come", found.0, expected.0)]
    OutOfOrder {
        /// The one that was to come.
        expected: Sequence,
        /// The one that came.
        found: Sequence,
    },
    /// A later version has written it, and nothing has changed. This node must not go on: what it does not understand may
    /// have a place for other nodes.
    #[error("record {} was written by a later version of mles: its format is {version}", at.0)]
    Newer {
        /// Where it is.
        at: Sequence,
        /// Version of its format.
        version: u8,
    },
    /// It is damaged. It is left out, by all nodes, and the next one may follow.
    #[error("record {} is left out by all nodes: {cause}", at.0)]
    Damaged {
        /// Where it is.
        at: Sequence,
        /// What is wrong with it.
        cause: BadRecord,
    },
}

impl Applied {
    /// Creates the state of a node that begins with the oldest record of a log. `incarnation` names its start.
    pub(crate) fn new(incarnation: Incarnation, log: &LogState) -> Self {
        let mut applied = Self {
            incarnation,
            last: Sequence(0),
            last_hash: 0,
            last_at_ms: 0,
            times: VecDeque::new(),
            epoch: log.epoch,
            made_with: log.epoch,
            certainty: Certainty::Sure,
            lost: None,
            batches: HashMap::new(),
            seats: Recent::new(MEMORY_MS, MEMORY_LIMIT),
            named: Recent::new(MEMORY_MS, MEMORY_LIMIT),
            segments: Segments::default(),
            differences: 0,
        };
        applied.start_over(log);
        applied
    }

    /// Returns the last record that was applied, or left out; the one before the oldest of the log if there was none.
    pub(crate) fn last(&self) -> Sequence {
        self.last
    }

    /// Returns what the next record of this node is made on.
    pub(crate) fn basis(&self) -> Basis {
        Basis {
            epoch: self.epoch,
            sequence: self.last,
            at_ms: self.last_at_ms,
        }
    }

    /// Returns the epoch in force.
    pub(crate) fn epoch(&self) -> FleetEpoch {
        self.epoch
    }

    /// Returns `true` if this node comes to the decisions of all others. One that is not may serve nobody.
    pub(crate) fn is_sure(&self) -> bool {
        self.certainty == Certainty::Sure && self.lost.is_none()
    }

    /// Returns how many milliseconds of the log it takes at least until this node is sure; `None` if only an epoch
    /// has to begin, or nothing.
    pub(crate) fn sure_in_ms(&self) -> Option<u64> {
        let until_ms = match self.certainty {
            Certainty::Learning { until_ms: 0 } => return Some(LEARNING_MS + WARMING_MS),
            Certainty::Learning { until_ms } => until_ms + WARMING_MS,
            Certainty::Warming { until_ms } => until_ms,
            Certainty::Sure => return None,
        };
        Some(until_ms.saturating_sub(self.last_at_ms))
    }

    /// Returns the digest of the newest segment that was applied as a whole, for heartbeats.
    pub(crate) fn digest(&self) -> Option<SegmentDigest> {
        self.segments.newest()
    }

    /// Returns how many digests of other nodes were not as those here. It is a fault, of this node or of another.
    pub(crate) fn differences(&self) -> u64 {
        self.differences
    }

    /// Returns how many seats and names of publications are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.seats.len() + self.named.len()
    }

    /// Applies the next record.
    ///
    /// # Errors
    ///
    /// It cannot be applied. Only one that is [`NotApplied::Damaged`] is done with.
    pub(crate) fn apply(&mut self, entry: &LogEntry) -> Result<OrderedRecord, NotApplied> {
        let expected = Sequence(self.last.0 + 1);
        if entry.sequence != expected {
            let found = entry.sequence;
            return Err(NotApplied::OutOfOrder { expected, found });
        }
        let decoded = Record::decode(&entry.bytes);
        let at = entry.sequence;
        if let Err(BadRecord::Version(version)) = decoded {
            return Err(NotApplied::Newer { at, version });
        }
        self.last = at;
        self.last_hash = hash(entry);
        self.last_at_ms = entry.at_ms;
        if self.times.len() == KNOWN_TIMES {
            self.times.pop_front();
        }
        self.times.push_back(entry.at_ms);
        self.pass_time(entry.at_ms);
        match decoded {
            Ok(record) => Ok(self.apply_record(record, entry)),
            Err(cause) => {
                self.segments.add(entry, None);
                Err(NotApplied::Damaged { at, cause })
            }
        }
    }

    /// Takes in that the log is at that time.
    fn pass_time(&mut self, at_ms: u64) {
        self.certainty = match self.certainty {
            Certainty::Learning { until_ms: 0 } => learning_from(at_ms),
            Certainty::Learning { until_ms } if at_ms > until_ms => Certainty::Warming {
                until_ms: until_ms + WARMING_MS,
            },
            Certainty::Warming { until_ms } if at_ms > until_ms => Certainty::Sure,
            certainty => certainty,
        };
        self.seats.forget_old(at_ms);
        self.named.forget_old(at_ms);
    }

    fn apply_record(&mut self, record: Record, entry: &LogEntry) -> OrderedRecord {
        let Record { head, body } = record;
        let begins_epoch = self.begins_epoch(head, &body);
        if begins_epoch {
            self.begin_epoch(head.basis.epoch);
            self.certainty = match (self.certainty, &body) {
                (Certainty::Warming { .. }, RecordBody::Epoch) => Certainty::Sure,
                // It may have begun in what was not understood.
                (Certainty::Warming { .. }, _) => learning_from(entry.at_ms),
                (certainty, _) => certainty,
            };
        }
        let outcome = self.decide(head, body, entry);
        self.segments.add(entry, Some(&outcome));
        OrderedRecord {
            sequence: entry.sequence,
            at_ms: entry.at_ms,
            head,
            epoch: self.epoch.id,
            begins_epoch,
            is_own: head.incarnation == self.incarnation,
            outcome,
        }
    }

    /// Returns `true` if a record is the first that tells of an epoch.
    fn begins_epoch(&self, head: RecordHead, body: &RecordBody) -> bool {
        let epoch = head.basis.epoch;
        if !matches!(self.certainty, Certainty::Learning { .. }) {
            return epoch.number > self.epoch.number;
        }
        // Of those that were proposed with one number the first began, and it may have been before the oldest record.
        // Whoever does not propose one has seen it begin.
        !matches!(body, RecordBody::Epoch)
            && epoch.number >= self.epoch.number
            && epoch != self.epoch
    }

    fn begin_epoch(&mut self, epoch: FleetEpoch) {
        self.epoch = epoch;
        self.forget_all();
        self.lost = self.lost.filter(|lost| *lost >= epoch.number);
    }

    fn forget_all(&mut self) {
        self.batches = HashMap::new();
        self.seats = Recent::new(MEMORY_MS, MEMORY_LIMIT);
        self.named = Recent::new(MEMORY_MS, MEMORY_LIMIT);
        self.segments = Segments::default();
    }
}

fn learning_from(at_ms: u64) -> Certainty {
    Certainty::Learning {
        until_ms: at_ms + LEARNING_MS,
    }
}

fn hash(entry: &LogEntry) -> u64 {
    xxh3_64(&entry.bytes)
}
