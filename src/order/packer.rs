//! What a node appends: one record at a time, with what was proposed since the one before.

use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

use super::record::SECTIONS_AT;
use super::{
    Basis, FleetEpoch, Incarnation, MAX_MESSAGES, Record, RecordBody, RecordHead, Section,
    SegmentDigest, Sequence,
};

/// A record takes no more sections when it is as long as this, in bytes.
const RECORD_LEN: usize = 256 << 10;

/// Packs what is proposed into records.
///
/// What is proposed is passed to [`Packer::push`]. While nothing is in flight, [`Packer::pack`] makes the next record.
/// It is to be appended, with the same id and the same bytes as often as that takes, until the log shows it; then
/// [`Packer::take_back`] says so. Only then there may be another one, or a record that is late would come behind what
/// was proposed after it. Whatever comes meanwhile is in the next record, so a log that is slow gets larger records, not more
/// of them.
#[derive(Debug)]
pub(crate) struct Packer {
    incarnation: Incarnation,
    /// Longest record that the log takes, in bytes.
    max_record: usize,
    /// What was proposed and is in no record yet.
    waiting: VecDeque<Section>,
    /// Number of the newest record.
    batch: u64,
    in_flight: Option<InFlight>,
}

/// A record that is to be appended until the log shows it.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) batch: u64,
    /// Names the record to the log, so that it is there once.
    pub(crate) id: Box<str>,
    pub(crate) bytes: Bytes,
}

/// What is proposed fits into no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TooLong {
    /// It has too many bytes.
    #[error("{len} bytes, and the log of the fleet takes at most {limit}")]
    Bytes {
        /// How many it has.
        len: usize,
        /// How many there may be.
        limit: usize,
    },
    /// It has too many messages.
    #[error("{0} messages at once, and a record of the fleet has at most {MAX_MESSAGES}")]
    Messages(u64),
    /// The name of its channel is too long.
    #[error("the name of the channel has {0} bytes, and may have 65535 in a fleet")]
    Name(usize),
}

impl Packer {
    /// Creates a packer for a start of a node, and a log that takes records of `max_record` bytes.
    pub(crate) fn new(incarnation: Incarnation, max_record: usize) -> Self {
        Self {
            incarnation,
            max_record,
            waiting: VecDeque::new(),
            batch: 0,
            in_flight: None,
        }
    }

    /// Takes in what comes behind everything that was proposed before.
    ///
    /// # Errors
    ///
    /// It fits into no record, and is not taken.
    pub(crate) fn push(&mut self, section: Section) -> Result<(), TooLong> {
        let (len, limit) = (section.encoded_len(), self.max_record - SECTIONS_AT);
        if len > limit {
            return Err(TooLong::Bytes { len, limit });
        }
        if section.messages() > MAX_MESSAGES {
            return Err(TooLong::Messages(section.messages()));
        }
        if section.channel.len() > u16::MAX.into() {
            return Err(TooLong::Name(section.channel.len()));
        }
        self.waiting.push_back(section);
        Ok(())
    }

    /// Takes in sections that were decided to be [late](super::Decision::Late) once more, in front of everything that
    /// waits: those of one publisher keep their order.
    pub(crate) fn push_again(&mut self, late: impl DoubleEndedIterator<Item = Section>) {
        for section in late.rev() {
            self.waiting.push_front(section);
        }
    }

    /// Lets go what waits and does not pass `keep`. Returns it.
    pub(crate) fn drop_waiting(&mut self, keep: impl Fn(&Section) -> bool) -> Vec<Section> {
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let (kept, dropped): (Vec<_>, Vec<_>) = waiting.partition(keep);
        self.waiting = kept.into();
        dropped
    }

    /// Returns the record that is in flight.
    pub(crate) fn in_flight(&self) -> Option<&InFlight> {
        self.in_flight.as_ref()
    }

    /// Makes a record of what waits, as far as it fits into one; `None` if nothing does, or one is in flight.
    pub(crate) fn pack(&mut self, basis: Basis) -> Option<&InFlight> {
        if self.in_flight.is_some() || self.waiting.is_empty() {
            return None;
        }
        let limit = self.max_record.min(RECORD_LEN) - SECTIONS_AT;
        let (mut len, mut messages) = (0, 0);
        let mut sections = Vec::new();
        while let Some(next) = self.waiting.front() {
            len += next.encoded_len();
            messages += next.messages();
            let fits = len <= limit && messages <= MAX_MESSAGES;
            if !fits && !sections.is_empty() {
                break;
            }
            sections.extend(self.waiting.pop_front());
        }
        self.send(basis, RecordBody::Sections(sections))
    }

    /// Makes a record that shows that the node is there; `None` if one is in flight.
    pub(crate) fn heartbeat(
        &mut self,
        basis: Basis,
        digest: Option<SegmentDigest>,
    ) -> Option<&InFlight> {
        self.send(basis, RecordBody::Heartbeat(digest))
    }

    /// Makes a record that begins an epoch; `None` if one is in flight.
    pub(crate) fn begin_epoch(&mut self, epoch: FleetEpoch, at_ms: u64) -> Option<&InFlight> {
        let sequence = Sequence(0);
        let basis = Basis {
            epoch,
            sequence,
            at_ms,
        };
        self.send(basis, RecordBody::Epoch)
    }

    fn send(&mut self, basis: Basis, body: RecordBody) -> Option<&InFlight> {
        if self.in_flight.is_some() {
            return None;
        }
        self.batch += 1;
        let (incarnation, batch) = (self.incarnation, self.batch);
        let head = RecordHead {
            incarnation,
            batch,
            basis,
        };
        let in_flight = InFlight {
            batch,
            id: format!("{:016x}-{batch}", incarnation.0).into(),
            bytes: Record { head, body }.encode(),
        };
        Some(self.in_flight.insert(in_flight))
    }

    /// Takes in that the log has shown a record with this head. Returns what was in flight, if it is that record: from here on
    /// another one may be. Only then anything is to be done about what is [late](super::Decision::Late) in it.
    pub(crate) fn take_back(&mut self, head: RecordHead) -> Option<InFlight> {
        let is_own = head.incarnation == self.incarnation;
        self.in_flight
            .take_if(|in_flight| is_own && in_flight.batch == head.batch)
    }
}
