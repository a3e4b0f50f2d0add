//! A run: whole frames, back to back, in one shared buffer.

use std::ops::Range;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::protocol::{frames, is_presence};

/// Whole frames, back to back, checked by the scanner before they got here.
///
/// Cloning shares the buffer. No run keeps more than twice its length alive, however it was made: queues count
/// lengths.
#[derive(Clone, Debug)]
pub struct FrameRun {
    bytes: Bytes,
    frames: u32,
    pinned: u32,
}

impl FrameRun {
    /// A run of `frames` frames whose buffer holds nothing else.
    #[must_use]
    pub fn exact(bytes: Bytes, frames: u32) -> Self {
        let pinned = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            bytes,
            frames,
            pinned,
        }
    }

    /// A run that is a slice of a buffer of `capacity` bytes, all of which it keeps alive; copied if it is less than
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

    /// The frames.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Takes the frames out.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// How many frames there are.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames as usize
    }

    /// Returns the number of frames, as queues count them.
    #[inline]
    pub(super) fn frame_count(&self) -> u32 {
        self.frames
    }

    /// Bytes of memory that the run keeps alive: the capacity of its buffer, not its length.
    #[must_use]
    pub fn pinned(&self) -> usize {
        self.pinned as usize
    }

    /// The `frames` frames at `range`, which begins and ends at a frame boundary; `None` if there
    /// are none.
    #[must_use]
    pub fn part(&self, range: Range<usize>, frames: u32) -> Option<Self> {
        (frames > 0).then(|| Self::slice_of(self.bytes.slice(range), frames, self.pinned()))
    }

    /// The run without frames that only tell of somebody's presence: what a history keeps of what
    /// another server has passed on. `None` if nothing is left.
    #[must_use]
    pub fn without_presence(&self) -> Option<Self> {
        let hints = frames(&self.bytes).filter(|f| is_presence(f)).count();
        if hints == 0 {
            return Some(self.clone());
        }
        if hints == self.frames() {
            return None;
        }
        let kept = frames(&self.bytes).filter(|f| !is_presence(f));
        let bytes = kept.fold(BytesMut::new(), |mut bytes, frame| {
            bytes.extend_from_slice(frame);
            bytes
        });
        let frames = self.frames - u32::try_from(hints).unwrap_or(u32::MAX);
        Some(Self::exact(bytes.freeze(), frames))
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
