//! A run: whole frames, back to back, in one shared buffer.

use std::ops::Range;

#[cfg(feature = "server")]
use bytes::BytesMut;
use bytes::{Buf as _, Bytes};

use crate::protocol::{MessageCounter, frames};
#[cfg(feature = "server")]
use crate::protocol::{clear_keys, is_presence};

/// Whole frames, back to back, checked by the scanner before they got here.
///
/// Cloning shares the buffer. No run keeps more than twice its length alive, however it was made: queues count
/// lengths.
#[derive(Clone, Debug)]
pub struct FrameRun {
    bytes: Bytes,
    /// Number of frames.
    frames: u32,
    /// Capacity of the buffer.
    pinned: u32,
}

impl FrameRun {
    /// Creates a run of `frames` frames whose buffer holds nothing else.
    #[must_use]
    pub fn exact(bytes: Bytes, frames: u32) -> Self {
        let pinned = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            bytes,
            frames,
            pinned,
        }
    }

    /// Creates a run that is a slice of a buffer of `capacity` bytes, all of which it keeps alive; copied if it is less than
    /// half of that.
    #[must_use]
    pub fn slice_of(bytes: Bytes, frames: u32, capacity: usize) -> Self {
        if capacity > 2 * bytes.len() {
            return Self::exact(Bytes::copy_from_slice(&bytes), frames);
        }
        let pinned = u32::try_from(capacity.max(bytes.len())).unwrap_or(u32::MAX);
        Self {
            bytes,
            frames,
            pinned,
        }
    }

    /// Returns the frames.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Takes the frames out.
    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Returns the number of frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames as usize
    }

    /// Returns the number of frames as queues count them.
    #[inline]
    pub(super) fn frame_count(&self) -> u32 {
        self.frames
    }

    /// Returns the bytes of memory that the run keeps alive: the capacity of its buffer, not its length.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.pinned as usize
    }

    /// Returns the `frames` frames at `range`, which begins and ends at a frame boundary; `None` if
    /// there are none.
    #[must_use]
    pub fn part(&self, range: Range<usize>, frames: u32) -> Option<Self> {
        (frames > 0).then(|| Self::slice_of(self.bytes.slice(range), frames, self.pinned()))
    }

    /// Divides the run into parts of at most `most` bytes, unless one frame is longer.
    #[cfg(feature = "server")]
    pub(crate) fn divide(&self, most: usize) -> Vec<Self> {
        let mut parts = Vec::new();
        let (mut start, mut end, mut count) = (0, 0, 0);
        for frame in frames(&self.bytes) {
            if count > 0 && end - start + frame.len() > most {
                parts.extend(self.part(start..end, count));
                (start, count) = (end, 0);
            }
            end += frame.len();
            count += 1;
        }
        parts.extend(self.part(start..end, count));
        parts
    }

    /// Returns the run without hints of presence, as a history keeps what another server has passed on.
    /// `None` if nothing is left.
    #[cfg(feature = "server")]
    pub(crate) fn without_presence(&self) -> Option<Self> {
        let hints = frames(&self.bytes).filter(|f| is_presence(f)).count();
        if hints == 0 {
            return Some(self.clone());
        }
        if hints == self.frames() {
            return None;
        }
        let kept: Vec<_> = frames(&self.bytes).filter(|f| !is_presence(f)).collect();
        let count = self.frames - u32::try_from(hints).unwrap_or(u32::MAX);
        Some(Self::exact(kept.concat().into(), count))
    }

    /// Returns the run with zeros for the keys in the headers of its frames. Copied only if something else holds its
    /// buffer.
    #[cfg(feature = "server")]
    pub(crate) fn without_keys(self) -> Self {
        let (bytes, pinned) = match self.bytes.try_into_mut() {
            Ok(bytes) => (bytes, self.pinned),
            Err(shared) => {
                let pinned = u32::try_from(shared.len()).unwrap_or(u32::MAX);
                (BytesMut::from(&shared[..]), pinned)
            }
        };
        let mut bytes = bytes;
        clear_keys(&mut bytes);
        Self {
            bytes: bytes.freeze(),
            frames: self.frames,
            pinned,
        }
    }

    /// Returns the number of messages: frames that are no hints of presence. Every frame is looked at.
    #[must_use]
    pub fn messages(&self) -> usize {
        let mut counter = MessageCounter::default();
        frames(&self.bytes)
            .filter(|frame| counter.is_message(frame))
            .count()
    }

    /// Returns the frames behind the first `skip` messages, up to `most` messages, of which only the first may make
    /// them longer than `max_bytes`, and how many messages that is. Hints of presence at their end are left out.
    pub(super) fn messages_behind(
        &self,
        skip: usize,
        most: usize,
        max_bytes: usize,
    ) -> Option<(Self, usize)> {
        let mut counter = MessageCounter::default();
        let (mut passed, mut taken, mut frame_count) = (0, 0, 0);
        let (mut at, mut start, mut end, mut kept) = (0, 0, 0, 0);
        for frame in frames(&self.bytes) {
            let is_message = counter.is_message(frame);
            at += frame.len();
            if passed < skip {
                passed += usize::from(is_message);
                start = at;
                continue;
            }
            frame_count += 1;
            if !is_message {
                continue;
            }
            if taken == most || (taken > 0 && at - start > max_bytes) {
                break;
            }
            taken += 1;
            (end, kept) = (at, frame_count);
        }
        Some((self.part(start..end, kept)?, taken))
    }

    /// Removes the first `n` frames.
    pub(super) fn drop_front(&mut self, n: usize) {
        if n == 0 {
            return;
        }
        let n = n.min(self.frames());
        let cut = frames(&self.bytes).take(n).map(<[u8]>::len).sum();
        self.bytes.advance(cut);
        self.frames -= u32::try_from(n).unwrap_or(u32::MAX);
        if self.pinned() > 2 * self.bytes.len() {
            *self = Self::exact(Bytes::copy_from_slice(&self.bytes), self.frames);
        }
    }

    /// Removes the oldest frames until at most `len` bytes are left, which are copied.
    pub(super) fn keep_last(&mut self, len: usize) {
        let (mut cut, mut gone) = (0, 0);
        for frame in frames(&self.bytes) {
            if self.bytes.len() - cut <= len {
                break;
            }
            cut += frame.len();
            gone += 1;
        }
        *self = Self::exact(
            Bytes::copy_from_slice(&self.bytes[cut..]),
            self.frames - gone,
        );
    }
}
