//! Frames that wait to be written.

/// From this many queued bytes on, the buffer is flushed before more is queued.
pub(super) const AUTO_FLUSH: usize = 64 << 10;

/// Whole frames back to back, and how many of their bytes the connection has taken.
#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    frames: Vec<u8>,
    written: usize,
}

impl WriteBuffer {
    /// Returns the buffer to append whole frames to.
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        &mut self.frames
    }

    /// Returns what is to be written next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.frames[self.written..]
    }

    /// Returns `true` if everything was written.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Returns `true` if it is time to flush.
    pub(super) fn is_full(&self) -> bool {
        self.unwritten().len() >= AUTO_FLUSH
    }

    /// Notes that the next `len` bytes were written.
    pub(super) fn advance(&mut self, len: usize) {
        self.written += len;
        if self.written == self.frames.len() {
            self.clear();
        }
    }

    /// Queues `rest`, which ends with a whole frame and of which the beginning was written past this buffer.
    pub(super) fn queue_rest(&mut self, rest: &[u8]) {
        debug_assert!(self.is_empty(), "frames would be written out of order");
        self.frames.extend_from_slice(rest);
    }

    fn clear(&mut self) {
        self.written = 0;
        if self.frames.capacity() > 2 * AUTO_FLUSH {
            self.frames = Vec::new();
        } else {
            self.frames.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_stays_in_its_order() {
        let mut buffer = WriteBuffer::default();
        buffer.queue_rest(b"abc");
        buffer.advance(1);
        buffer.frames().extend(b"def");
        assert_eq!(buffer.unwritten(), b"bcdef");
        buffer.advance(5);
        assert!(buffer.is_empty());
    }

    #[test]
    fn a_large_frame_leaves_no_memory_behind() {
        let mut buffer = WriteBuffer::default();
        buffer.frames().resize(4 * AUTO_FLUSH, 0);
        buffer.advance(4 * AUTO_FLUSH);
        assert_eq!(buffer.frames().capacity(), 0);
    }
}
