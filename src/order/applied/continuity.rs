//! How a node goes on with a log that it has read a part of.

use super::{Applied, Certainty, hash};
use crate::log::LogState;
use crate::order::{LogEntry, Sequence};

/// How a log goes on that a node had read a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuity {
    /// With what comes behind what was applied.
    Unbroken,
    /// Records are not kept any more that this node has not seen: it was away for too long. It begins anew, and what it knew
    /// is void for it.
    Gap,
    /// What was applied is not in the log. All nodes begin anew with an epoch: see [`Applied::epoch_to_begin`].
    Loss,
}

impl Applied {
    /// Compares what was applied with what the log is now, and with the record `found` that it has at [`Applied::last`], if it
    /// has one there. Where this node cannot go on, it begins anew with the oldest record.
    pub(crate) fn resume(&mut self, log: &LogState, found: Option<&LogEntry>) -> Continuity {
        let continuity = self.compare(log, found);
        match continuity {
            Continuity::Unbroken => {}
            Continuity::Gap => {
                if log.epoch != self.made_with {
                    self.epoch = log.epoch;
                }
                self.start_over(log);
            }
            Continuity::Loss => {
                self.lost = self.lost.max(Some(self.epoch.number));
                self.epoch = log.epoch;
                self.start_over(log);
            }
        }
        continuity
    }

    /// Returns `true` if this is the log that was read, and it says that it ends before what was applied.
    pub(crate) fn ends_before(&self, log: &LogState) -> bool {
        self.last_at_ms > 0 && log.epoch == self.made_with && log.last < self.last
    }

    fn compare(&self, log: &LogState, found: Option<&LogEntry>) -> Continuity {
        if self.last_at_ms == 0 {
            // Nothing is applied yet, so nothing can be lost.
            let is_same = log.epoch == self.made_with && log.first.0 == self.last.0 + 1;
            return if is_same {
                Continuity::Unbroken
            } else {
                Continuity::Gap
            };
        }
        if log.epoch != self.made_with || self.ends_before(log) {
            return Continuity::Loss;
        }
        match found.filter(|found| found.sequence == self.last) {
            // Nodes append again what was lost, so the same record may have come to the same place, at another time.
            Some(found) if found.at_ms == self.last_at_ms && hash(found) == self.last_hash => {
                Continuity::Unbroken
            }
            Some(_) => Continuity::Loss,
            // It is too old for the log. If nothing has come since, nothing is missing.
            None if log.last == self.last && log.last_at_ms == self.last_at_ms => {
                Continuity::Unbroken
            }
            None => Continuity::Gap,
        }
    }

    /// Begins with the oldest record of the log.
    pub(super) fn start_over(&mut self, log: &LogState) {
        self.last = Sequence(log.first.0.saturating_sub(1));
        (self.last_hash, self.last_at_ms) = (0, 0);
        self.times.clear();
        self.made_with = log.epoch;
        self.forget_all();
        self.certainty = match self.last {
            Sequence(0) => Certainty::Sure,
            // Nobody could learn which epoch is in force. None has a higher number than the time in which it began.
            _ if log.first > log.last => {
                self.lost = self.lost.max(Some(log.last_at_ms));
                Certainty::Sure
            }
            _ => Certainty::Learning { until_ms: 0 },
        };
    }

    /// Returns the number of the epoch that has to begin, because the log has lost what was applied, or has nothing that
    /// tells which is in force; `None` if none has to, if a
    /// later one has begun, or while this node could not tell whether it began. Propose it once all of the log is applied.
    pub(crate) fn epoch_to_begin(&self) -> Option<u64> {
        let lost = self.lost?;
        if matches!(self.certainty, Certainty::Learning { .. }) {
            return None;
        }
        Some(lost.max(self.epoch.number).saturating_add(1))
    }
}
