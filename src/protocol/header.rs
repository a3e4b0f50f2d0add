//! The 16-byte frame header.

use super::error::FrameError;
use super::key::{Cid, Key};

/// The first byte of every frame.
pub const MAGIC: u8 = b'M';
/// Length of the header in bytes.
pub const HEADER_LEN: usize = 16;
/// Largest CBOR body in bytes: what the 24-bit length field can say.
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
    /// The header as it goes over the wire, big-endian.
    ///
    /// # Panics
    ///
    /// When `body_len` is zero or more than [`MAX_BODY_LEN`]: a caller's mistake, not a peer's.
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
    /// Wrong magic (told from the first byte on, however few bytes there are) or a zero length.
    pub fn decode(buf: &[u8]) -> Result<Option<Self>, FrameError> {
        let _ = buf;
        todo!()
    }
}
