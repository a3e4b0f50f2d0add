//! What is queued for one member, and how far it has been written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::protocol::{frame_len, frames};

/// Frames and bytes that were taken out of a queue unsent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Whole frames.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Runs queued for one member, in order.
///
/// Every run starts at a frame boundary. Runs are shared with the other members, so a queue costs
/// 32 bytes of its own a run. The first run has its place here: a member that keeps up never needs
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

    /// Drops the oldest whole frames until at most `keep` bytes are queued. A frame of which a
    /// part has been written stays, even if the rest of it is more than that: the member must get
    /// it.
    pub fn drop_oldest(&mut self, keep: usize) -> Dropped {
        let mut dropped = Dropped::default();
        let begun = self.take_begun_frame();
        let rest = begun.as_ref().map_or(0, |frame| frame.len() - self.written);
        let keep = keep.saturating_sub(rest);
        while self.bytes > keep {
            let run = &mut self.first;
            let over = self.bytes - keep;
            let (mut cut, mut count) = (0, 0);
            for frame in frames(run) {
                if cut >= over {
                    break;
                }
                cut += frame.len();
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
        if let Some(frame) = begun {
            self.bytes += rest;
            self.push_front(frame);
        }
        dropped
    }

    /// Drops everything but the rest of a frame that is partly written.
    pub fn drop_all(&mut self) -> Dropped {
        self.drop_oldest(0)
    }

    /// Takes the partly written frame off the front, as a run of its own that starts at the
    /// frame's start; `written` then counts within it. `None` at a frame boundary.
    fn take_begun_frame(&mut self) -> Option<Bytes> {
        let run = &mut self.first;
        let mut start = 0;
        while start < self.written {
            let end = start + frame_len(&run[start..])?;
            if end > self.written {
                let frame = run.slice(start..end);
                *run = run.slice(end..);
                self.bytes -= end - self.written;
                self.written -= start;
                if run.is_empty() {
                    self.pop();
                }
                return Some(frame);
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
