//! The check of bodies after the join: a frame must carry the names that its session joined with.

use std::ops::Range;

use super::body::Message;
use super::cbor;
use super::error::FrameError;
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

    fn uid(&self) -> &[u8] {
        &self.bytes[self.uid.clone()]
    }

    fn channel(&self) -> &[u8] {
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

/// Check of the bodies that follow the join.
#[derive(Clone, Debug, Default)]
pub enum BodyCheck {
    /// Any; no byte of a body is looked at.
    #[default]
    Off,
    /// The body must decode and name the channel of the prefix.
    Channel(BodyPrefix),
    /// The body must decode and name the uid and the channel of the prefix.
    Sender(BodyPrefix),
}

/// Checks the names in `body`, which begins at `at`.
#[inline]
pub(super) fn check_names(
    body: &[u8],
    at: usize,
    names: &BodyPrefix,
    any_uid: bool,
) -> Result<(), FrameError> {
    if names.begins(body) {
        return Ok(());
    }
    check_decoded(body, at, names, any_uid)
}

/// Checks bodies that are encoded otherwise or name others.
#[cold]
fn check_decoded(
    body: &[u8],
    at: usize,
    names: &BodyPrefix,
    any_uid: bool,
) -> Result<(), FrameError> {
    let message = Message::decode(body).map_err(|error| FrameError::Body { at, error })?;
    if message.channel.as_bytes() != names.channel() {
        return Err(FrameError::OtherChannel { at });
    }
    if !any_uid && message.uid.as_bytes() != names.uid() {
        return Err(FrameError::OtherUid { at });
    }
    Ok(())
}
