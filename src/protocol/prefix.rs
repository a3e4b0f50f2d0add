//! The part of a body in front of its message, which is the same for all bodies of a session.

use std::ops::Range;

use super::body::Message;
use super::cbor;
use super::error::BodyError;
use super::header::{FrameHeader, HEADER_LEN, MAX_BODY_LEN};
use super::key::{Cid, Key};
use super::message_kind::MessageKind;
use super::reader::CborReader;

/// The first bytes of every body that one (uid, channel) pair produces when encoded as we do, up to
/// and including the `message` key: compared to tell cheaply that a frame carries those names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyPrefix {
    bytes: Box<[u8]>,
    uid: Range<usize>,
    channel: Range<usize>,
}

impl BodyPrefix {
    /// Creates the prefix for `uid` and `channel`.
    #[must_use]
    pub fn new(uid: &str, channel: &str) -> Self {
        let empty = Message {
            uid,
            channel,
            message: &[],
        };
        let mut bytes = Vec::with_capacity(empty.body_len());
        empty.encode_into(&mut bytes);
        // The last byte is the head of the empty message.
        bytes.pop();
        let message_key = bytes.len() - cbor::string_len("message".len());
        let channel_key =
            message_key - cbor::string_len(channel.len()) - cbor::string_len("channel".len());
        Self {
            bytes: bytes.into(),
            uid: channel_key - uid.len()..channel_key,
            channel: message_key - channel.len()..message_key,
        }
    }

    /// Returns the bytes of the prefix.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn uid(&self) -> &[u8] {
        &self.bytes[self.uid.clone()]
    }

    pub(super) fn channel(&self) -> &[u8] {
        &self.bytes[self.channel.clone()]
    }

    /// Returns `true` if `body` is this prefix and then one byte string that fills the rest.
    #[inline]
    #[must_use]
    pub fn begins(&self, body: &[u8]) -> bool {
        let Some(rest) = body.strip_prefix(&*self.bytes) else {
            return false;
        };
        let mut reader = CborReader::new(rest);
        reader.bytes().is_ok() && reader.end().is_ok()
    }
}

/// Appends a frame up to its message, whose `message_len` bytes the caller appends.
///
/// # Errors
///
/// [`BodyError::TooLong`] when the body would be over [`MAX_BODY_LEN`]; nothing is appended then.
pub fn put_frame_start(
    out: &mut Vec<u8>,
    (cid, key): (Cid, Key),
    names: &BodyPrefix,
    kind: MessageKind,
    message_len: usize,
) -> Result<(), BodyError> {
    let names = names.as_bytes();
    let body_len = (names.len() + kind.head_len(message_len)).saturating_add(message_len);
    if body_len > MAX_BODY_LEN {
        return Err(BodyError::TooLong {
            len: body_len,
            limit: MAX_BODY_LEN,
        });
    }
    out.reserve(HEADER_LEN + body_len);
    out.extend(FrameHeader { body_len, cid, key }.encode());
    out.extend_from_slice(names);
    kind.append_head(out, message_len);
    Ok(())
}
