//! The queue of one member, and how far it has been written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

#[cfg(feature = "server")]
use super::encoding::Encoding;
use super::encoding::FRAMES;
use super::form::Form;
use super::left_out::LeftOut;
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
        // A member that keeps up has nothing else queued.
        if self.first.is_empty() {
            self.cost += run.len();
            self.first = run;
        } else if run.len() <= SMALL {
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
    pub(super) fn push_history(&mut self, frames: Bytes, form: &mut Form) {
        if form.encoding == &FRAMES {
            self.push(frames);
        } else if self.first.is_empty() {
            self.push(form.encode_history(&frames));
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

    /// Returns `true` if a unit is partly written.
    #[cfg(feature = "server")]
    pub(crate) fn has_begun_unit(&self, encoding: &Encoding) -> bool {
        let mut start = 0;
        while start < self.written {
            match encoding.unit_len(&self.first[start..]) {
                Some(len) => start += len,
                None => return true,
            }
        }
        start > self.written
    }

    /// Takes `n` written bytes off the front of a queue of that form.
    #[inline]
    pub fn advance(&mut self, n: usize, form: &mut Form) {
        debug_assert!(n <= self.bytes(), "wrote more than was queued");
        self.cost -= n;
        // A member that keeps up takes all of its only run.
        if self.cost == 0 {
            self.first = Bytes::new();
            self.written = 0;
            return;
        }
        self.advance_in_part(n, form);
    }

    fn advance_in_part(&mut self, n: usize, form: &mut Form) {
        self.written += n;
        while self.written >= self.first.len() && !self.first.is_empty() {
            self.written -= self.first.len();
            self.pop(form);
        }
    }

    /// Takes the first run out; its bytes are counted by the caller.
    #[inline]
    fn pop(&mut self, form: &mut Form) {
        self.first = Bytes::new();
        // The queue of a member that keeps up has no other.
        if self.rest.is_some() {
            self.pop_rest(form);
        }
    }

    /// Makes the next run that is not empty the first, and encodes it if need be.
    fn pop_rest(&mut self, form: &mut Form) {
        while self.first.is_empty() && self.next_run() {
            if self.unencoded > 0 {
                self.unencoded -= 1;
                let encoded = form.encode_history(&self.first);
                self.cost = self.cost - self.first.len() + encoded.len();
                self.first = encoded;
            }
        }
    }

    /// Makes the run behind the first the first. Returns `false` if there is none.
    #[inline]
    fn next_run(&mut self) -> bool {
        let Some(rest) = &mut self.rest else {
            return false;
        };
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
        true
    }

    /// Puts a run in front of the first; its bytes are counted by the caller.
    fn push_front(&mut self, run: Bytes) {
        if run.is_empty() {
            return;
        }
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
    /// part has been written stays, even if the rest of it is more than that: the member must get it. A member that has
    /// asked for positions is told in their place what they were, in notices that are a part of those bytes.
    pub fn drop_oldest(&mut self, keep: usize, form: &mut Form) -> Dropped {
        let begun = self.take_begun_unit(form);
        let rest = begun.as_ref().map_or(0, |unit| unit.len() - self.written);
        let entry = begun.as_ref().map_or(0, |_| ENTRY_COST);
        let keep = keep.saturating_sub(rest + entry);
        let mut left_out = LeftOut::new(&*form);
        let mut room = 0;
        loop {
            self.leave_out(keep.saturating_sub(room), &mut left_out);
            let notices = left_out.notices();
            let cost = notices.len() + ENTRY_COST;
            if notices.is_empty() || cost <= room || self.is_empty() {
                self.cost += notices.len();
                self.push_front(notices);
                break;
            }
            room = cost;
        }
        let (dropped, members) = (left_out.dropped, left_out.members);
        if members {
            form.lose_members();
        }
        if let Some(unit) = begun {
            self.cost += rest;
            self.push_front(unit);
        }
        dropped
    }

    /// Takes the oldest units out until the others cost at most `keep` bytes.
    fn leave_out(&mut self, keep: usize, left_out: &mut LeftOut<'_>) {
        if self.unencoded > 0 && self.cost > keep {
            self.leave_history_out(left_out);
        }
        while self.cost > keep {
            let over = self.cost - keep;
            let mut cut = 0;
            while cut < over && cut < self.first.len() {
                cut += left_out.add_first_of(&self.first[cut..]);
            }
            self.cost -= cut;
            if cut == self.first.len() {
                self.first = Bytes::new();
                self.next_run();
            } else {
                self.first = self.first.slice(cut..);
            }
        }
    }

    /// Takes what is left of a history out that has not all been encoded, as a whole: it is the oldest.
    fn leave_history_out(&mut self, left_out: &mut LeftOut<'_>) {
        let mut at = 0;
        while at < self.first.len() {
            at += left_out.add_first_of(&self.first[at..]);
        }
        self.cost -= self.first.len();
        self.first = Bytes::new();
        let unencoded = std::mem::take(&mut self.unencoded) as usize;
        for run in self
            .rest
            .iter_mut()
            .flat_map(|rest| rest.drain(..unencoded))
        {
            left_out.add_history(&run);
            self.cost -= run.len() + ENTRY_COST;
        }
        self.next_run();
    }

    /// Takes the partly written unit off the front, as a run of its own that starts at the
    /// unit's start; `written` then counts within it. `None` at a boundary.
    fn take_begun_unit(&mut self, form: &mut Form) -> Option<Bytes> {
        let run = &mut self.first;
        let mut start = 0;
        while start < self.written {
            let end = start + form.encoding.unit_len(&run[start..])?;
            if end > self.written {
                let unit = run.slice(start..end);
                *run = run.slice(end..);
                self.cost -= end - self.written;
                self.written -= start;
                if run.is_empty() {
                    self.pop(form);
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
