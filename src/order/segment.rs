//! Digests of what was applied, by which nodes find out that they differ.

use std::collections::VecDeque;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{Decision, LogEntry, Outcome, SegmentDigest, Sequence};

/// Number of records in a segment.
const LEN: u64 = 1024;
/// How many whole segments are remembered, for what other nodes tell of theirs.
const REMEMBERED: usize = 16;

/// Digests of the segments that were applied: of all records in each, and of what became of them.
///
/// Segments do not depend on those before them, so a node has the same digest from the first segment on that it has seen
/// as a whole.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// The segment that is being applied, if it was from its beginning.
    current: Option<Current>,
    /// Those that were applied as a whole, oldest first.
    whole: VecDeque<SegmentDigest>,
}

struct Current {
    segment: u64,
    hasher: Xxh3,
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current")
            .field("segment", &self.segment)
            .finish_non_exhaustive()
    }
}

impl Segments {
    /// Takes in the next record and what becomes of it; `None` if it cannot be read.
    pub(super) fn add(&mut self, entry: &LogEntry, outcome: Option<&Outcome>) {
        let Sequence(sequence) = entry.sequence;
        let (segment, index) = (sequence / LEN, sequence % LEN);
        // There is no record 0.
        if index == 0 || sequence == 1 {
            let hasher = Xxh3::new();
            self.current = Some(Current { segment, hasher });
        }
        let Some(current) = self.current.as_mut() else {
            return;
        };
        current.hasher.update(&xxh3_64(&entry.bytes).to_le_bytes());
        match outcome {
            Some(Outcome::Decided(sections)) => {
                for (_, decision) in sections {
                    current.hasher.update(&digest_of(*decision));
                }
            }
            Some(Outcome::Repeat) => current.hasher.update(b"repeat"),
            // Nobody can compare what this node does not know.
            Some(Outcome::Unsure) => return self.current = None,
            None => current.hasher.update(b"damaged"),
        }
        if index + 1 < LEN {
            return;
        }
        let digest = current.hasher.digest();
        self.whole.push_back(SegmentDigest { segment, digest });
        if self.whole.len() > REMEMBERED {
            self.whole.pop_front();
        }
        self.current = None;
    }

    /// Returns the newest whole segment.
    pub(super) fn newest(&self) -> Option<SegmentDigest> {
        self.whole.back().copied()
    }

    /// Returns `true` if another node has come to something else.
    pub(super) fn differs(&self, other: SegmentDigest) -> bool {
        let own = self.whole.iter();
        let mut same = own.filter(|own| own.segment == other.segment);
        same.any(|own| own.digest != other.digest)
    }
}

/// Returns what of a decision is the same on all nodes, however much of the log they have seen.
fn digest_of(decision: Decision) -> [u8; 9] {
    let (kind, place) = match decision {
        Decision::Commit { before } => (0, before),
        Decision::Repeat { .. } | Decision::OldRepeat | Decision::OtherContent => (1, 0),
        Decision::Fenced => (2, 0),
        Decision::Late => (3, 0),
    };
    let mut digest = [kind; 9];
    digest[1..].copy_from_slice(&place.to_le_bytes());
    digest
}
