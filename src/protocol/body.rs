//! The ordinary message body: uid, channel, message.
use super::error::BodyError;
use super::key::{Cid, Key};
use bytes::Bytes;

/// One message, borrowed from the body it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Who sent it.
    pub uid: &'a str,
    /// Where to.
    pub channel: &'a str,
    /// The payload, any bytes.
    pub message: &'a [u8],
}

impl<'a> Message<'a> {
    /// Decodes a whole body without copying.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub fn decode(body: &'a [u8]) -> Result<Self, BodyError> {
        let _ = body;
        todo!()
    }
    /// Length of the encoded body in bytes.
    #[must_use]
    pub fn body_len(&self) -> usize {
        todo!()
    }
    /// Appends the encoded body to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}

/// The first bytes of every body that one (uid, channel) pair produces when encoded canonically
/// (up to and including the `message` key), compared to tell cheaply that a frame carries the names its session joined with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyPrefix(Box<[u8]>);

impl BodyPrefix {
    /// The prefix for `uid` and `channel`.
    #[must_use]
    pub fn new(uid: &str, channel: &str) -> Self {
        let _ = (uid, channel);
        todo!()
    }
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Encodes a whole frame.
///
/// # Errors
/// [`BodyError::TooLong`] when the body would be over [`super::MAX_BODY_LEN`].
pub fn encode_frame(cid: Cid, key: Key, message: &Message<'_>) -> Result<Bytes, BodyError> {
    let _ = (cid, key, message);
    todo!()
}

/// Length in bytes of the frame that starts at `buf`, without checking it: for walking runs that
/// were scanned before. `None` when fewer than 4 bytes are there.
#[must_use]
pub fn frame_len(buf: &[u8]) -> Option<usize> {
    let _ = buf;
    todo!()
}
