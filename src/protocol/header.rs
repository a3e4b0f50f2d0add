//! The 16-byte frame header.

use super::error::FrameError;
use super::key::{Cid, Key};

/// The first byte of every frame.
pub const MAGIC: u8 = b'M';
/// Length of the header in bytes.
pub const HEADER_LEN: usize = 16;
/// Largest CBOR body in bytes: the most that the 24-bit length field can hold.
pub const MAX_BODY_LEN: usize = 0xFF_FFFF;
/// Largest frame in bytes, header included.
pub const MAX_FRAME_LEN: usize = HEADER_LEN + MAX_BODY_LEN;

/// A frame header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Length of the body in bytes, 1 ..= [`MAX_BODY_LEN`].
    pub body_len: usize,
    /// Connection id.
    pub cid: Cid,
    /// Session key.
    pub key: Key,
}

impl FrameHeader {
    /// Encodes the header for the wire, big-endian.
    ///
    /// # Panics
    ///
    /// If `body_len` is zero or more than [`MAX_BODY_LEN`]: a caller's mistake, not a peer's.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        assert!(
            (1..=MAX_BODY_LEN).contains(&self.body_len),
            "body length out of range"
        );
        let mut out = [0; HEADER_LEN];
        out[..8].copy_from_slice(
            &((u64::from(MAGIC) << 56) | ((self.body_len as u64) << 32) | u64::from(self.cid.0))
                .to_be_bytes(),
        );
        out[8..].copy_from_slice(&self.key.0.to_be_bytes());
        out
    }

    /// Decodes the first [`HEADER_LEN`] bytes of `buf`; `None` while fewer are there.
    ///
    /// # Errors
    ///
    /// [`FrameError::BadMagic`] or [`FrameError::EmptyBody`], told as soon as the bytes that show
    /// it are there.
    pub fn decode(buf: &[u8]) -> Result<Option<Self>, FrameError> {
        let Some(body_len) = HeaderStart::read(buf, 0, MAX_BODY_LEN)?.body_len() else {
            return Ok(None);
        };
        let (Some(cid), Some(key)) = (
            buf.get(4..).and_then(|cid| cid.first_chunk()),
            buf.get(8..).and_then(|key| key.first_chunk()),
        ) else {
            return Ok(None);
        };
        Ok(Some(Self {
            body_len,
            cid: Cid(u32::from_be_bytes(*cid)),
            key: Key(u64::from_be_bytes(*key)),
        }))
    }
}

/// The first four bytes of a frame, read.
pub(super) enum HeaderStart {
    /// Fewer than four are there, nothing wrong so far.
    Unknown,
    /// The length of the body.
    BodyLen(usize),
}

impl HeaderStart {
    /// Reads the start of the frame at `buf[at..]`.
    #[inline]
    pub(super) fn read(buf: &[u8], at: usize, max_body: usize) -> Result<Self, FrameError> {
        Self::read_after(MAGIC, buf, at, max_body)
    }

    /// Reads the start of the frame at `buf[at..]`, whose first byte has to be `magic`.
    #[inline]
    pub(super) fn read_after(
        magic: u8,
        buf: &[u8],
        at: usize,
        max_body: usize,
    ) -> Result<Self, FrameError> {
        let buf = &buf[at..];
        let Some(word) = buf.first_chunk().map(|word| u32::from_be_bytes(*word)) else {
            return match buf.first() {
                Some(&found) if found != magic => Err(FrameError::BadMagic { found, at }),
                _ => Ok(Self::Unknown),
            };
        };
        let len = body_len(word);
        // Less one, so that one comparison refuses zero as well.
        if word >> 24 == u32::from(magic) && len.wrapping_sub(1) < max_body {
            Ok(Self::BodyLen(len))
        } else {
            Err(bad_start(magic, word, at, max_body))
        }
    }

    fn body_len(self) -> Option<usize> {
        match self {
            Self::Unknown => None,
            Self::BodyLen(len) => Some(len),
        }
    }
}

#[cold]
fn bad_start(magic: u8, word: u32, at: usize, max_body: usize) -> FrameError {
    let [found, ..] = word.to_be_bytes();
    let length_field = at + 1;
    match body_len(word) {
        _ if found != magic => FrameError::BadMagic { found, at },
        0 => FrameError::EmptyBody { at: length_field },
        len => FrameError::TooLong {
            len,
            limit: max_body,
            at: length_field,
        },
    }
}

/// Returns the length of the body that the first four bytes of a frame announce.
#[inline]
fn body_len(word: u32) -> usize {
    word as usize & MAX_BODY_LEN
}

/// Returns the length in bytes of the frame that starts at `buf`, without checking it: for walking runs
/// that were scanned before. `None` when fewer than 4 bytes are there.
#[inline]
#[must_use]
pub fn frame_len(buf: &[u8]) -> Option<usize> {
    let word = u32::from_be_bytes(*buf.first_chunk()?);
    Some(HEADER_LEN + body_len(word))
}

/// Puts zeros in the place of the key into the header of each frame of a run.
#[cfg(feature = "server")]
pub(crate) fn clear_keys(run: &mut [u8]) {
    let mut rest = run;
    while let Some(len) = frame_len(rest) {
        let Some((frame, tail)) = rest.split_at_mut_checked(len) else {
            return;
        };
        if let Some(key) = frame.get_mut(HEADER_LEN - size_of::<Key>()..HEADER_LEN) {
            key.fill(0);
        }
        rest = tail;
    }
}
