//! Frames that wait to be written.

use super::identity::SessionIdentity;
use crate::protocol::frame_len;

/// From this many queued bytes on, the buffer is flushed before more is queued.
pub(super) const AUTO_FLUSH: usize = 64 << 10;

/// Whole frames back to back, and how many of their bytes the present connection has taken.
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

    /// Queues the rest of `run`: whole frames of which `written` bytes were written past this buffer,
    /// which is empty.
    pub(super) fn queue_rest(&mut self, run: &[u8], written: usize) {
        debug_assert!(self.is_empty(), "frames would be written out of order");
        if written < run.len() {
            let start = frame_start(run, written);
            self.frames.extend_from_slice(&run[start..]);
            self.written = written - start;
        }
    }

    /// Begins again on another connection, as `identity`. The first frame is the one that was not
    /// written as a whole: the server cannot have used any of it.
    pub(super) fn rewind(&mut self, identity: SessionIdentity) {
        let start = frame_start(&self.frames, self.written);
        self.frames.drain(..start);
        self.written = 0;
        let mut rest = self.frames.as_mut_slice();
        while let Some(len) = frame_len(rest).filter(|&len| len <= rest.len()) {
            let (frame, after) = rest.split_at_mut(len);
            identity.stamp(frame);
            rest = after;
        }
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

/// Returns the start of the frame that the byte at `at` belongs to.
fn frame_start(run: &[u8], at: usize) -> usize {
    let mut start = 0;
    while let Some(len) = frame_len(&run[start..]) {
        if start + len > at {
            break;
        }
        start += len;
    }
    start
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::protocol::{Cid, FrameHeader, HEADER_LEN, Key};

    /// Frames of 17, 18 and 19 bytes.
    fn run() -> Vec<u8> {
        let frame = |body: u8| {
            let mut frame = vec![7; HEADER_LEN];
            frame[..4].copy_from_slice(&[b'M', 0, 0, body]);
            frame.resize(HEADER_LEN + usize::from(body), body);
            frame
        };
        [frame(1), frame(2), frame(3)].concat()
    }

    /// The identity in the headers of [`run`].
    fn identity() -> SessionIdentity {
        let header = FrameHeader::decode(&run()).unwrap().unwrap();
        SessionIdentity {
            cid: header.cid,
            key: header.key,
        }
    }

    #[test]
    fn a_new_connection_begins_with_the_frame_that_was_cut() {
        for (written, start) in [(0, 0), (16, 0), (17, 17), (34, 17), (35, 35), (53, 35)] {
            let mut buffer = WriteBuffer::default();
            buffer.frames().extend(run());
            buffer.advance(written);
            assert_eq!(buffer.unwritten(), &run()[written..]);
            buffer.rewind(identity());
            assert_eq!(buffer.unwritten(), &run()[start..], "after {written} bytes");
        }
    }

    #[test]
    fn what_waits_goes_out_with_the_identity_of_its_connection() {
        let mut buffer = WriteBuffer::default();
        buffer.frames().extend(run());
        let identity = SessionIdentity {
            cid: Cid(0x0102_0304),
            key: Key(0x0506_0708_090A_0B0C),
        };
        buffer.rewind(identity);
        let mut frames = buffer.unwritten();
        for body in 1..=3 {
            let header = FrameHeader::decode(frames).unwrap().unwrap();
            let expected = FrameHeader {
                body_len: body,
                cid: identity.cid,
                key: identity.key,
            };
            assert_eq!(header, expected);
            frames = &frames[HEADER_LEN + body..];
        }
    }

    #[test]
    fn the_rest_of_a_run_that_was_written_in_part_is_queued() {
        let mut buffer = WriteBuffer::default();
        buffer.queue_rest(&run(), 20);
        assert_eq!(buffer.unwritten(), &run()[20..]);
        buffer.rewind(identity());
        assert_eq!(buffer.unwritten(), &run()[17..]);
        let rest = buffer.unwritten().len();
        buffer.advance(rest);
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
