//! Announcements of joins, collected so that a crowd of joiners costs one write a member.

use bytes::BytesMut;

use super::run::FrameRun;

/// Join frames of a channel with an empty message that are not yet delivered, in order.
///
/// A member that joins meanwhile starts behind its own announcement: it skips the bytes that were
/// collected until then (see [`Announcements::pending`]).
#[derive(Debug, Default)]
pub(super) struct Announcements {
    bytes: BytesMut,
    /// Number of frames.
    frames: u32,
}

impl Announcements {
    /// Appends a join frame.
    pub(super) fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.frames += 1;
    }

    /// Returns the length of what was collected, in bytes.
    pub(super) fn pending(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    /// Takes out what was collected; `None` if there is nothing.
    pub(super) fn take(&mut self) -> Option<FrameRun> {
        if self.frames == 0 {
            return None;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let (capacity, frames) = (bytes.capacity(), std::mem::take(&mut self.frames));
        Some(FrameRun::slice_of(bytes.freeze(), frames, capacity))
    }
}
