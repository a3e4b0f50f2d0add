//! The queue of one member, and how far it has been written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::encoding::{Encoding, FRAMES};
use super::merger::Merger;

/// Frames, or what they were encoded as, that were taken out of a queue unsent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Number of frames.
    pub frames: usize,
    /// Number of their bytes.
    pub bytes: usize,
}

/// Memory in bytes that a queued run costs its member besides its own bytes: 32 for the entry, in a ring
/// that doubles as it grows, and a part of the buffer's reference count and allocator header.
pub const ENTRY_COST: usize = 128;
/// Runs up to this length are merged with their neighbours.
const SMALL: usize = 512;
/// Number of small runs in a row that become one.
const MERGED: usize = 32;

/// Runs queued for one member, in order.
///
/// Every run starts at the boundary of a unit, a frame or what one was encoded as. Runs are shared with
/// the other members, and the first has its place here: a member that keeps up never needs more,
/// and an idle one holds no memory for its queue. Each of the others is an entry with a cost of its own, so the
/// small runs of members that are behind are merged.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The run that is written next; empty only if nothing is queued.
    first: Bytes,
    /// The runs behind the first.
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 32 in every idle member"
    )]
    rest: Option<Box<VecDeque<Bytes>>>,
    /// Bytes queued and not yet written, and [`ENTRY_COST`] for each run of `rest`.
    cost: usize,
    /// Written bytes of the first run. Kept apart from the run so that frame boundaries stay known.
    written: usize,
    /// Number of runs at the end of `rest` that are small and wait for others to be merged with.
    small: u32,
    /// Number of runs at the front of `rest` that are frames of a history, still to be encoded.
    unencoded: u32,
}

impl Outbox {
    /// Appends a run that is not merged with others.
    pub fn push(&mut self, run: Bytes) {
        if self.first.is_empty() {
            self.cost += run.len();
            self.first = run;
        } else if !run.is_empty() {
            self.cost += run.len() + ENTRY_COST;
            self.rest.get_or_insert_default().push_back(run);
        }
        self.small = 0;
    }

    /// Appends a run, and merges small ones once there are many.
    #[inline]
    pub fn push_merging(&mut self, run: Bytes, merger: &mut Merger) {
        if !self.first.is_empty() && run.len() <= SMALL {
            self.push_small(run, merger);
        } else {
            self.push(run);
        }
    }

    /// Appends a small run behind others.
    fn push_small(&mut self, run: Bytes, merger: &mut Merger) {
        let small = self.small + 1;
        self.push(run);
        self.small = small;
        if small as usize >= MERGED {
            self.merge_small(merger);
        }
    }

    /// Appends frames of a history, before anything else is queued. They are encoded run by
    /// run, each when it is its turn to be written: a joiner costs its shard no more at once than a
    /// run does, and no memory for what it has not read.
    pub(super) fn push_history(&mut self, frames: Bytes, encoding: &Encoding) {
        if encoding == &FRAMES {
            self.push(frames);
        } else if self.first.is_empty() {
            self.push(encoding.encode(&frames).0);
        } else if !frames.is_empty() {
            self.cost += frames.len() + ENTRY_COST;
            self.rest.get_or_insert_default().push_back(frames);
            self.unencoded += 1;
        }
    }

    /// Merges the small runs at the end into one.
    fn merge_small(&mut self, merger: &mut Merger) {
        let count = std::mem::take(&mut self.small) as usize;
        let Some(rest) = &mut self.rest else {
            return;
        };
        let at = rest.len().saturating_sub(count);
        let merged = merger.merge(rest.range(at..));
        rest.truncate(at);
        rest.push_back(merged);
        self.cost -= (count - 1) * ENTRY_COST;
    }

    /// Returns the memory in bytes that is queued, as far as it counts against `queue_bytes`: what waits to be written,
    /// and [`ENTRY_COST`] for each run but the first.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.cost
    }

    /// Returns `true` if nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Returns the number of bytes that wait to be written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let entries = self.rest.as_ref().map_or(0, |rest| rest.len());
        self.cost - entries * ENTRY_COST
    }

    /// Returns the one slice to write, if there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<&[u8]> {
        let is_alone = self.rest.is_none() || self.unencoded > 0;
        (!self.is_empty() && is_alone).then(|| &self.first[self.written..])
    }

    /// Fills `out` with what is to be written next and returns how many slices there are.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        if self.is_empty() {
            return 0;
        }
        let rest = self
            .rest
            .iter()
            .filter(|_| self.unencoded == 0)
            .flat_map(|rest| rest.iter().map(|run| &run[..]));
        let slices = std::iter::once(&self.first[self.written..]).chain(rest);
        slices
            .zip(out)
            .map(|(slice, slot)| *slot = IoSlice::new(slice))
            .count()
    }

    /// Takes `n` written bytes off the front of a queue of `encoding`.
    pub fn advance(&mut self, n: usize, encoding: &Encoding) {
        debug_assert!(n <= self.bytes(), "wrote more than was queued");
        self.cost -= n;
        self.written += n;
        while self.written >= self.first.len() && !self.first.is_empty() {
            self.written -= self.first.len();
            self.pop(encoding);
        }
    }

    /// Takes the first run out; its bytes are counted by the caller.
    fn pop(&mut self, encoding: &Encoding) {
        self.first = Bytes::new();
        while self.first.is_empty()
            && let Some(rest) = &mut self.rest
        {
            if let Some(next) = rest.pop_front() {
                self.cost -= ENTRY_COST;
                self.first = next;
            }
            if rest.is_empty() {
                self.rest = None;
                self.small = 0;
            } else if self.small as usize > rest.len() {
                self.small -= 1;
            }
            if self.unencoded > 0 {
                self.unencoded -= 1;
                let (encoded, _) = encoding.encode(&self.first);
                self.cost = self.cost - self.first.len() + encoded.len();
                self.first = encoded;
            }
        }
    }

    /// Puts a run in front of the first; its bytes are counted by the caller.
    fn push_front(&mut self, run: Bytes) {
        let second = std::mem::replace(&mut self.first, run);
        if !second.is_empty() {
            self.rest.get_or_insert_default().push_front(second);
            self.cost += ENTRY_COST;
        }
    }

    /// Returns what is left of the unit in which the first `n` bytes that wait to be written end; empty if
    /// that is between two units. Nothing of the first unit may have been written.
    #[cfg(feature = "server")]
    pub(crate) fn torn_at(&self, n: usize, encoding: &Encoding) -> Bytes {
        let mut at = n;
        let runs = std::iter::once(&self.first).chain(self.rest.iter().flat_map(|r| r.iter()));
        for (index, run) in runs.enumerate() {
            let mut start = if index == 0 { self.written } else { 0 };
            let len = run.len() - start;
            if at >= len {
                at -= len;
                continue;
            }
            at += start;
            while start < at {
                let Some(unit) = encoding.unit_len(&run[start..]) else {
                    break;
                };
                start += unit;
            }
            return run.slice(at..start.min(run.len()));
        }
        Bytes::new()
    }

    /// Drops the oldest whole units until what is queued costs at most `keep` bytes. A unit of which a
    /// part has been written stays, even if the rest of it is more than that: the member must get it.
    pub fn drop_oldest(&mut self, keep: usize, encoding: &Encoding) -> Dropped {
        let mut dropped = Dropped::default();
        let begun = self.take_begun_unit(encoding);
        let rest = begun.as_ref().map_or(0, |unit| unit.len() - self.written);
        let entry = begun.as_ref().map_or(0, |_| ENTRY_COST);
        let keep = keep.saturating_sub(rest + entry);
        if self.unencoded > 0 && self.cost > keep {
            self.drop_history(encoding, &mut dropped);
        }
        while self.cost > keep {
            let run = &mut self.first;
            let over = self.cost - keep;
            let (mut cut, mut count) = (0, 0);
            while cut < over && cut < run.len() {
                cut += encoding.unit_len(&run[cut..]).unwrap_or(run.len() - cut);
                count += 1;
            }
            if cut == run.len() {
                self.pop(encoding);
            } else {
                *run = run.slice(cut..);
            }
            self.cost -= cut;
            dropped.bytes += cut;
            dropped.frames += count;
        }
        if let Some(unit) = begun {
            self.cost += rest;
            self.push_front(unit);
        }
        dropped
    }

    /// Drops what is left of a history that has not all been encoded, as a whole: it is the oldest.
    fn drop_history(&mut self, encoding: &Encoding, dropped: &mut Dropped) {
        let mut count = |run: &Bytes, encoding: &Encoding| {
            let mut at = 0;
            while at < run.len() {
                at += encoding.unit_len(&run[at..]).unwrap_or(run.len() - at);
                dropped.frames += 1;
            }
            dropped.bytes += run.len();
        };
        count(&self.first, encoding);
        self.cost -= self.first.len();
        self.first = Bytes::new();
        let unencoded = std::mem::take(&mut self.unencoded) as usize;
        for run in self
            .rest
            .iter_mut()
            .flat_map(|rest| rest.drain(..unencoded))
        {
            count(&run, &FRAMES);
            self.cost -= run.len() + ENTRY_COST;
        }
        self.pop(encoding);
    }

    /// Takes the partly written unit off the front, as a run of its own that starts at the
    /// unit's start; `written` then counts within it. `None` at a boundary.
    fn take_begun_unit(&mut self, encoding: &Encoding) -> Option<Bytes> {
        let run = &mut self.first;
        let mut start = 0;
        while start < self.written {
            let end = start + encoding.unit_len(&run[start..])?;
            if end > self.written {
                let unit = run.slice(start..end);
                *run = run.slice(end..);
                self.cost -= end - self.written;
                self.written -= start;
                if run.is_empty() {
                    self.pop(encoding);
                }
                return Some(unit);
            }
            start = end;
        }
        if start > 0 {
            *run = run.slice(start..);
            self.written = 0;
        }
        None
    }
}
