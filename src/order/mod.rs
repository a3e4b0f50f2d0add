//! The order of a fleet: records of a log, what goes into them, and what each node makes of them.
//!
//! A node packs what its shards propose into [`Record`]s, and appends one at a time to a log that all nodes read whole.
//! What comes back from the log goes through [`Applied`], which decides for each section whether it takes its place. All
//! nodes read the same log, so they come to the same decisions.
//!
//! Invariants:
//!
//! * Decisions are a function of the log alone: of no clock, no setting and no start of a node.
//! * A section takes its place once, however often its record is in the log.
//!
//! It must not know shards, sessions or any engine.

#[cfg(feature = "fleet")]
mod applied;
#[cfg(feature = "fleet")]
mod packer;
#[cfg(feature = "fleet")]
mod recent;
#[cfg(any(feature = "fleet", feature = "fuzzing"))]
mod record;
#[cfg(feature = "fleet")]
mod segment;

#[cfg(all(test, feature = "fleet"))]
mod tests;

use bytes::Bytes;

use crate::channel::{FrameRun, PublisherId};
use crate::protocol::Epoch;
#[cfg(feature = "fleet")]
pub(crate) use applied::{Applied, Continuity, NotApplied};
#[cfg(feature = "fleet")]
pub(crate) use packer::{InFlight, Packer};
#[cfg(feature = "fuzzing")]
pub use record::encode_again;

/// Bits of an offset that count the messages of one record. See [`Sequence::offset`].
const INDEX_BITS: u32 = 16;
/// Most messages of one channel in a record.
pub(crate) const MAX_MESSAGES: u64 = (1 << INDEX_BITS) - 1;

/// The place of a record in the log, counted from 1. The engine gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequence(pub(crate) u64);

impl Sequence {
    /// Returns the offset of the message that comes as the `index`th of its channel in the record here, counted from 1. With
    /// 0 that is the offset before them.
    pub(crate) fn offset(self, index: u64) -> u64 {
        (self.0 << INDEX_BITS) | index.min(MAX_MESSAGES)
    }

    /// Returns an offset that no message of this record or of one before it exceeds.
    pub(crate) fn end_offset(self) -> u64 {
        self.offset(MAX_MESSAGES)
    }

    /// Returns the record in which the message at `offset` is.
    pub(crate) fn of_offset(offset: u64) -> Self {
        Self(offset >> INDEX_BITS)
    }
}

/// Names one start of a node: random, so that nothing of a node before it is taken for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Incarnation(pub(crate) u64);

/// The order in which positions of a fleet count. A new one begins when the log has lost records that nodes have applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FleetEpoch {
    /// Counts the epochs of a log. The highest that a node has seen is in force.
    pub(crate) number: u64,
    /// The epoch of all channels' positions.
    pub(crate) id: Epoch,
}

/// Who has appended a record, as which of its records, and what it knew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) incarnation: Incarnation,
    /// Counts the records of this incarnation from 1. One that is retried keeps its number.
    pub(crate) batch: u64,
    pub(crate) basis: Basis,
}

/// What a node has applied when it makes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Basis {
    /// The epoch in force. In a record that begins an epoch, that one.
    pub(crate) epoch: FleetEpoch,
    /// The newest record that was applied.
    pub(crate) sequence: Sequence,
    /// When the engine has taken it, in milliseconds since 1970; 0 if there was none.
    pub(crate) at_ms: u64,
}

/// A record of the log.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) head: RecordHead,
    pub(crate) body: RecordBody,
}

/// What a record says.
#[derive(Clone, Debug)]
pub(crate) enum RecordBody {
    /// What a node's shards have proposed, in their order.
    Sections(Vec<Section>),
    /// The epoch of the basis begins with this record: the log has lost records.
    Epoch,
    /// The node is there, and its record comes back. It tells the digest of the last whole segment that it has applied.
    Heartbeat(Option<SegmentDigest>),
}

/// What all records of a segment come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentDigest {
    /// Which segment it is: its first sequence divided by the length of a segment.
    pub(crate) segment: u64,
    pub(crate) digest: u64,
}

/// Something that a session of a node has proposed for a channel.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) channel: Box<str>,
    /// The session on the node that has proposed it; 0 if it has no seat.
    pub(crate) session: u64,
    /// Names the proposal on its node, where somebody may wait for it. Rises from one proposal of a channel to the next.
    pub(crate) ticket: u64,
    pub(crate) content: Content,
}

/// What is proposed.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Messages, and hints among them.
    Run {
        run: FrameRun,
        /// Number of messages in it. Not in the log: every node counts.
        messages: u32,
        by: Author,
    },
    /// A publisher takes a seat in the channel: from here on nothing of its sessions before takes its place.
    Seat {
        publisher: PublisherId,
        /// `true` if the node that seats it does not know how many of its messages have their place, or the client has not
        /// had the welcome with which that was counted from. All nodes count anew from here, so that they agree.
        counts_anew: bool,
    },
    /// Hints for members on other nodes. They have no place.
    Hints { run: FrameRun },
}

/// Whose a run is, as far as that matters for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// A session that nobody knows, or nobody with a seat.
    Unnamed,
    /// A publisher, whose session that is.
    Publisher(PublisherId),
    /// Nobody with a seat, but the publication itself has a name.
    Publication(NamedPublication),
}

/// A publication with a name, which takes its place once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NamedPublication {
    /// Who has named it, and how.
    pub(crate) publisher: PublisherId,
    /// Hash of what it says, by a key that all nodes have.
    pub(crate) content: u64,
}

/// What becomes of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It takes its place: its first message comes behind the offset `before`.
    Commit { before: u64 },
    /// A publication of that name has its place already, from `first` to `last`.
    Repeat { first: u64, last: u64 },
    /// A publication of that name has its place already. This node has started too late to know where.
    OldRepeat,
    /// A publication of that name says something else.
    OtherContent,
    /// Its publisher has taken another seat since.
    Fenced,
    /// The log has it too late after it was made, in another epoch, or without something that its node had applied. It has no place and never gets one, so it may be
    /// proposed again.
    Late,
}

/// A record as all nodes apply it.
#[derive(Debug)]
pub(crate) struct OrderedRecord {
    pub(crate) sequence: Sequence,
    /// When the engine has taken it, in milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) head: RecordHead,
    /// The epoch in force from this record on.
    pub(crate) epoch: Epoch,
    /// `true` if that epoch begins here: everything that was known before is void.
    pub(crate) begins_epoch: bool,
    /// `true` if it was appended by this node since its start.
    pub(crate) is_own: bool,
    /// What comes of its sections.
    pub(crate) outcome: Outcome,
}

/// What comes of the sections of a record.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// They are decided, in their order. Heartbeats and the beginnings of epochs have none.
    Decided(Vec<(Section, Decision)>),
    /// The record was in the log before: nothing comes of it.
    Repeat,
    /// This node does not know what the others have made of it, as it has not seen enough of the log. See [`Applied`].
    Unsure,
}

/// A record of the log as the engine keeps it.
#[derive(Clone, Debug)]
pub(crate) struct LogEntry {
    pub(crate) sequence: Sequence,
    /// When the engine has taken it, in milliseconds since 1970: the same for all nodes.
    pub(crate) at_ms: u64,
    pub(crate) bytes: Bytes,
}
