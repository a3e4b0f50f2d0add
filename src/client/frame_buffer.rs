//! Turns reads of any size into whole frames, without copying them.

use bytes::{Bytes, BytesMut};

use crate::protocol::{BodyCheck, FrameError, HEADER_LEN, NOTICE_MAGIC, Stop, frame_len, scan};

/// Least and most bytes of one read. Between them the size follows the traffic: small messages that the
/// user keeps pin little memory, and a flood costs few reads.
const MIN_READ: usize = 4 << 10;
const MAX_READ: usize = 256 << 10;
/// Longest body of a notice, if the user's limit for frames is smaller.
const MAX_NOTICE: usize = 64 << 10;

/// Bytes that were read and not yet taken as frames.
///
/// Frames are slices of the buffer they were read into. While nothing is left of it here, it is
/// owned by the frames alone, and the next read gets a new one.
#[derive(Debug)]
pub(super) struct FrameBuffer {
    /// Whole, checked frames.
    run: Bytes,
    /// Bytes read after them.
    rest: BytesMut,
    /// Length of the frame that `rest` begins with, as far as it is known.
    need: usize,
    /// Size of the next read.
    read_size: usize,
    max_body: usize,
    /// Set if frames may be notices.
    takes_notices: bool,
}

impl FrameBuffer {
    /// Creates a buffer for frames of at most `max_frame` bytes, header included.
    pub(super) fn new(max_frame: usize) -> Self {
        Self {
            run: Bytes::new(),
            rest: BytesMut::new(),
            need: HEADER_LEN,
            read_size: MIN_READ,
            max_body: max_frame - HEADER_LEN,
            takes_notices: false,
        }
    }

    /// Takes notices too, which the server sends to a client that has asked for them.
    pub(super) const fn with_notices(mut self) -> Self {
        self.takes_notices = true;
        self
    }

    /// Returns the next whole frame, if it has come.
    ///
    /// # Errors
    ///
    /// The next bytes are no frame, or one over the limit. Later calls return the same error.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        if self.run.is_empty() && !self.rest.is_empty() {
            self.scan()?;
        }
        Ok(frame_len(&self.run)
            .filter(|&len| len <= self.run.len())
            .map(|len| self.run.split_to(len)))
    }

    fn scan(&mut self) -> Result<(), FrameError> {
        if self.takes_notices && self.rest.first() == Some(&NOTICE_MAGIC) {
            return self.scan_notice();
        }
        let found = scan(&self.rest, self.max_body, &BodyCheck::Off);
        if found.run.len > 0 {
            self.run = self.rest.split_to(found.run.len).freeze();
        }
        match found.stop {
            // Good frames are handed out first; the next scan begins with the bad one.
            Stop::Bad(error) if self.run.is_empty() => return Err(error),
            Stop::Partial { need } => self.need = need,
            Stop::End | Stop::Bad(_) => self.need = HEADER_LEN,
        }
        Ok(())
    }

    /// Takes one notice, once it has come as a whole.
    fn scan_notice(&mut self) -> Result<(), FrameError> {
        self.need = frame_len(&self.rest).unwrap_or(HEADER_LEN);
        let limit = self.max_body.max(MAX_NOTICE);
        if self.need > HEADER_LEN + limit {
            return Err(FrameError::TooLong {
                len: self.need - HEADER_LEN,
                limit,
                at: 1,
            });
        }
        if self.rest.len() >= self.need.max(HEADER_LEN) {
            self.run = self.rest.split_to(self.need).freeze();
            self.need = HEADER_LEN;
        }
        Ok(())
    }

    /// Returns the buffer to read into, with room for the next read.
    ///
    /// For a large frame the buffer is at most doubled, never grown at once by the announced length.
    pub(super) fn space(&mut self) -> &mut BytesMut {
        let have = self.rest.len();
        let room = self.rest.capacity() - have;
        let small = self.read_size / 2;
        if room == 0 || (have < small && room < small) {
            let missing = self.need.saturating_sub(have);
            self.rest.reserve(missing.min(have).max(self.read_size));
        }
        &mut self.rest
    }

    /// Notes that the last read brought `len` bytes.
    pub(super) fn filled(&mut self, len: usize) {
        if self.rest.len() == self.rest.capacity() {
            self.read_size = (self.read_size * 2).min(MAX_READ);
        } else if len < self.read_size / 4 {
            self.read_size = (self.read_size / 2).max(MIN_READ);
        }
    }

    /// Frees the memory if there is nothing in it, for the time without traffic.
    pub(super) fn release(&mut self) {
        if self.rest.is_empty() {
            self.rest = BytesMut::new();
        }
    }

    /// Returns `true` if a part of a frame has come.
    pub(super) fn is_mid_frame(&self) -> bool {
        !self.rest.is_empty()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::protocol::{Cid, Key, MAX_FRAME_LEN, Message, encode_frame};

    fn frame(len: usize) -> Bytes {
        let message = Message {
            uid: "u",
            channel: "c",
            message: &vec![7; len],
        };
        encode_frame(Cid(1), Key(2), &message).unwrap()
    }

    fn feed(buffer: &mut FrameBuffer, bytes: &[u8]) {
        buffer.space().extend_from_slice(bytes);
        buffer.filled(bytes.len());
    }

    #[test]
    fn gives_frames_that_come_byte_by_byte() {
        let wire = [frame(0), frame(300)].concat();
        let mut buffer = FrameBuffer::new(MAX_FRAME_LEN);
        let mut got = Vec::new();
        for &byte in &wire {
            feed(&mut buffer, &[byte]);
            got.extend(buffer.next_frame().unwrap());
        }
        assert_eq!(got, [frame(0), frame(300)]);
        assert!(!buffer.is_mid_frame());
    }

    #[test]
    fn slices_many_frames_out_of_one_read() {
        let wire: Vec<u8> = (0..50).flat_map(frame).collect();
        let mut buffer = FrameBuffer::new(MAX_FRAME_LEN);
        feed(&mut buffer, &wire);
        for len in 0..50 {
            assert_eq!(buffer.next_frame().unwrap().unwrap(), frame(len));
        }
        assert_eq!(buffer.next_frame().unwrap(), None);
    }

    #[test]
    fn good_frames_come_before_the_error() {
        let mut buffer = FrameBuffer::new(MAX_FRAME_LEN);
        feed(&mut buffer, &[&frame(3)[..], b"junk"].concat());
        assert_eq!(buffer.next_frame().unwrap().unwrap(), frame(3));
        assert!(matches!(
            buffer.next_frame(),
            Err(FrameError::BadMagic { .. })
        ));
        assert!(buffer.next_frame().is_err());
    }

    #[test]
    fn refuses_a_frame_over_the_limit_by_its_header() {
        let large = frame(100);
        let mut buffer = FrameBuffer::new(large.len() - 1);
        feed(&mut buffer, &large[..HEADER_LEN]);
        assert!(matches!(
            buffer.next_frame(),
            Err(FrameError::TooLong { .. })
        ));
        let mut buffer = FrameBuffer::new(large.len());
        feed(&mut buffer, &large);
        assert_eq!(buffer.next_frame().unwrap().unwrap(), large);
    }

    #[test]
    fn an_announced_length_is_not_allocated() {
        let mut buffer = FrameBuffer::new(MAX_FRAME_LEN);
        feed(&mut buffer, &[b'M', 0xFF, 0xFF, 0xFF, 0, 0, 0, 0]);
        assert_eq!(buffer.next_frame().unwrap(), None);
        assert!(buffer.space().capacity() <= 2 * MIN_READ);
        buffer.release();
        assert!(buffer.is_mid_frame(), "a part of a frame is not released");
    }

    #[test]
    fn an_idle_buffer_holds_no_memory() {
        let mut buffer = FrameBuffer::new(MAX_FRAME_LEN);
        feed(&mut buffer, &frame(10));
        drop(buffer.next_frame().unwrap());
        buffer.release();
        assert_eq!(buffer.rest.capacity(), 0);
    }
}
