//! What is queued for one member, and how far it has been written.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::protocol::{frame_len, frames};

/// Queues of this many runs or fewer keep their allocation when they run empty.
const KEEP_CAPACITY: usize = 4;

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
/// 32 bytes of its own a run.
#[derive(Debug, Default)]
pub struct Outbox {
    runs: VecDeque<Bytes>,
    /// Queued and not yet written, over all runs.
    bytes: usize,
    /// Written bytes of the first run. Kept apart from the run so that frame boundaries stay known.
    written: usize,
}

impl Outbox {
    /// Appends a run.
    pub fn push(&mut self, run: Bytes) {
        self.bytes += run.len();
        self.runs.push_back(run);
    }

    /// Whether nothing waits to be written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The one slice to write, when there is exactly one.
    #[must_use]
    pub fn single(&self) -> Option<&[u8]> {
        (self.runs.len() == 1).then(|| &self.runs[0][self.written..])
    }

    /// Fills `out` with what is to be written next and returns how many slices there are.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut count = 0;
        for (run, slot) in self.runs.iter().zip(out) {
            *slot = IoSlice::new(&run[skip..]);
            skip = 0;
            count += 1;
        }
        count
    }

    /// Takes `n` written bytes off the front.
    pub fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.bytes, "wrote more than was queued");
        self.bytes -= n;
        self.written += n;
        while let Some(run) = self.runs.front() {
            if self.written < run.len() {
                return;
            }
            self.written -= run.len();
            self.runs.pop_front();
        }
        if self.runs.capacity() > KEEP_CAPACITY {
            self.runs = VecDeque::new();
        }
    }

    /// Drops the oldest whole frames until at most `keep` bytes are queued. A frame of which a
    /// part has been written stays: the member must get the rest of it.
    pub fn drop_oldest(&mut self, keep: usize) -> Dropped {
        let mut dropped = Dropped::default();
        let begun = self.take_begun_frame();
        while self.bytes > keep {
            let Some(run) = self.runs.front_mut() else {
                break;
            };
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
                self.runs.pop_front();
            } else {
                *run = run.slice(cut..);
            }
            self.bytes -= cut;
            dropped.bytes += cut;
            dropped.frames += count;
        }
        if let Some(rest) = begun {
            self.bytes += rest.len() - self.written;
            self.runs.push_front(rest);
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
        let run = self.runs.front_mut()?;
        let mut start = 0;
        while start < self.written {
            let end = start + frame_len(&run[start..])?;
            if end > self.written {
                let frame = run.slice(start..end);
                *run = run.slice(end..);
                self.bytes -= end - self.written;
                self.written -= start;
                if run.is_empty() {
                    self.runs.pop_front();
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
