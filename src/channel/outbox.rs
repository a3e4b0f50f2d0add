//! What is queued for one member, and how far it has been written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::form::Form;

/// Frames (or what they were made into, see [`Form`]) and bytes that were taken out of a queue unsent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Whole frames.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Runs queued for one member, in order.
///
/// Every run starts at the boundary of a unit, a frame or what was made of one. Runs are shared with
/// the other members, so a queue costs 32 bytes of its own a run. The first run has its place here: a member that keeps up never needs
/// more, and an idle one holds no memory for its queue.
#[derive(Debug, Default)]
pub struct Outbox {
    /// Empty only when nothing is queued.
    first: Bytes,
    #[expect(
        clippy::box_collection,
        reason = "8 bytes instead of 32 in every idle member"
    )]
    rest: Option<Box<VecDeque<Bytes>>>,
    /// Queued and not yet written, over all runs.
    bytes: usize,
    /// Written bytes of the first run. Kept apart from the run so that frame boundaries stay known.
    written: usize,
}

impl Outbox {
    /// Appends a run.
    pub fn push(&mut self, run: Bytes) {
        self.bytes += run.len();
        if self.first.is_empty() {
            self.first = run;
        } else if !run.is_empty() {
            self.rest.get_or_insert_default().push_back(run);
        }
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one slice to write, when there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<&[u8]> {
        (!self.is_empty() && self.rest.is_none()).then(|| &self.first[self.written..])
    }

    /// Fills `out` with what is to be written next and returns how many slices there are.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        if self.is_empty() {
            return 0;
        }
        let rest = self
            .rest
            .iter()
            .flat_map(|rest| rest.iter().map(|run| &run[..]));
        let slices = std::iter::once(&self.first[self.written..]).chain(rest);
        slices
            .zip(out)
            .map(|(slice, slot)| *slot = IoSlice::new(slice))
            .count()
    }

    /// Takes `n` written bytes off the front.
    pub fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.bytes, "wrote more than was queued");
        self.bytes -= n;
        self.written += n;
        while self.written >= self.first.len() && !self.first.is_empty() {
            self.written -= self.first.len();
            self.pop();
        }
    }

    /// Takes the first run out.
    fn pop(&mut self) -> Bytes {
        let next = self
            .rest
            .as_mut()
            .and_then(|rest| rest.pop_front())
            .unwrap_or_default();
        if self.rest.as_ref().is_some_and(|rest| rest.is_empty()) {
            self.rest = None;
        }
        std::mem::replace(&mut self.first, next)
    }

    /// Puts a run in front of the first.
    fn push_front(&mut self, run: Bytes) {
        let second = std::mem::replace(&mut self.first, run);
        if !second.is_empty() {
            self.rest.get_or_insert_default().push_front(second);
        }
    }

    /// What is left of the unit in which the first `n` bytes that wait to be written end; empty if
    /// that is between two units. Nothing of the first unit may have been written.
    #[must_use]
    pub fn torn_at(&self, n: usize, form: Form) -> Bytes {
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
                let Some(unit) = form.unit_len(&run[start..]) else {
                    break;
                };
                start += unit;
            }
            return run.slice(at..start.min(run.len()));
        }
        Bytes::new()
    }

    /// Drops the oldest whole units until at most `keep` bytes are queued. A unit of which a part
    /// has been written stays, even if the rest of it is more than that: the member must get it.
    pub fn drop_oldest(&mut self, keep: usize, form: Form) -> Dropped {
        let mut dropped = Dropped::default();
        let begun = self.take_begun_unit(form);
        let rest = begun.as_ref().map_or(0, |unit| unit.len() - self.written);
        let keep = keep.saturating_sub(rest);
        while self.bytes > keep {
            let run = &mut self.first;
            let over = self.bytes - keep;
            let (mut cut, mut count) = (0, 0);
            while cut < over && cut < run.len() {
                cut += form.unit_len(&run[cut..]).unwrap_or(run.len() - cut);
                count += 1;
            }
            if cut == run.len() {
                self.pop();
            } else {
                *run = run.slice(cut..);
            }
            self.bytes -= cut;
            dropped.bytes += cut;
            dropped.frames += count;
        }
        if let Some(unit) = begun {
            self.bytes += rest;
            self.push_front(unit);
        }
        dropped
    }

    /// Takes the partly written unit off the front, as a run of its own that starts at the
    /// unit's start; `written` then counts within it. `None` at a boundary.
    fn take_begun_unit(&mut self, form: Form) -> Option<Bytes> {
        let run = &mut self.first;
        let mut start = 0;
        while start < self.written {
            let end = start + form.unit_len(&run[start..])?;
            if end > self.written {
                let unit = run.slice(start..end);
                *run = run.slice(end..);
                self.bytes -= end - self.written;
                self.written -= start;
                if run.is_empty() {
                    self.pop();
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
