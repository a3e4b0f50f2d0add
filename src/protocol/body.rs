//! The ordinary message body: uid, channel, message.

use bytes::Bytes;
use serde::Serialize;

use super::cbor::{self, ByteString};
use super::error::BodyError;
use super::header::{FrameHeader, HEADER_LEN, MAX_BODY_LEN};
use super::key::{Cid, Key};
use super::message_kind::MessageKind;
use super::reader::{CborReader, vacant};

/// One message, borrowed from the body it was decoded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Name of the sender.
    pub uid: &'a str,
    /// Name of the channel.
    pub channel: &'a str,
    /// The payload, any bytes.
    pub message: &'a [u8],
}

const UID: &str = "uid";
const CHANNEL: &str = "channel";
const MESSAGE: &str = "message";

impl<'a> Message<'a> {
    /// Decodes a whole body without copying.
    ///
    /// The keys may come in any order, and lengths in any well-formed encoding.
    ///
    /// # Errors
    ///
    /// [`BodyError`], unless `body` is one map of exactly these three keys with a text, a text and a byte
    /// string, all of known length.
    pub fn decode(body: &'a [u8]) -> Result<Self, BodyError> {
        Self::decode_with_kind(body).map(|(message, _)| message)
    }

    /// Decodes a whole body, with the kind of its message.
    ///
    /// # Errors
    ///
    /// As [`decode`](Self::decode).
    pub fn decode_with_kind(body: &'a [u8]) -> Result<(Self, MessageKind), BodyError> {
        let (message, at) = Self::decode_at(body)?;
        let kind = MessageKind::read(body.get(at).copied(), message.message.len());
        Ok((message, kind))
    }

    /// Decodes a whole body, and tells where the head of the message is in it.
    pub(super) fn decode_at(body: &'a [u8]) -> Result<(Self, usize), BodyError> {
        let mut reader = CborReader::new(body);
        let (mut uid, mut channel, mut message) = (None, None, None);
        let mut message_at = 0;
        // However many pairs are announced, the fourth is an error at the latest.
        for _ in 0..reader.map()? {
            let at = reader.at();
            match reader.key()? {
                b"uid" => *vacant(&mut uid, UID, at)? = Some(reader.text()?),
                b"channel" => *vacant(&mut channel, CHANNEL, at)? = Some(reader.text()?),
                b"message" => {
                    message_at = reader.at();
                    *vacant(&mut message, MESSAGE, at)? = Some(reader.bytes()?);
                }
                _ => return Err(BodyError::UnknownKey { at }),
            }
        }
        let missing = |key| BodyError::MissingKey {
            key,
            at: reader.at(),
        };
        let decoded = Self {
            uid: uid.ok_or(missing(UID))?,
            channel: channel.ok_or(missing(CHANNEL))?,
            message: message.ok_or(missing(MESSAGE))?,
        };
        reader.end()?;
        Ok((decoded, message_at))
    }

    /// Returns the length of the encoded body in bytes.
    #[must_use]
    pub const fn body_len(&self) -> usize {
        cbor::head_len(3)
            + cbor::string_len(UID.len())
            + cbor::string_len(self.uid.len())
            + cbor::string_len(CHANNEL.len())
            + cbor::string_len(self.channel.len())
            + cbor::string_len(MESSAGE.len())
            + cbor::string_len(self.message.len())
    }

    /// Appends the encoded body to `out`: [`body_len`](Self::body_len) bytes, whether or not they
    /// fit into one frame.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.reserve(self.body_len());
        let body = EncodedMessage {
            uid: self.uid,
            channel: self.channel,
            message: ByteString(self.message),
        };
        cbor::append(out, &body);
    }
}

#[derive(Serialize)]
struct EncodedMessage<'a> {
    uid: &'a str,
    channel: &'a str,
    message: ByteString<'a>,
}

/// Returns `true` if a whole frame is an empty message of no kind: a hint that its sender is present.
#[must_use]
pub fn is_presence(frame: &[u8]) -> bool {
    let body = frame.get(HEADER_LEN..).unwrap_or_default();
    Message::decode_with_kind(body)
        .is_ok_and(|(message, kind)| message.message.is_empty() && kind == MessageKind::None)
}

/// Encodes a whole frame, in one allocation of its exact size.
///
/// # Errors
///
/// [`BodyError::TooLong`] when the body would be over [`MAX_BODY_LEN`].
pub fn encode_frame(cid: Cid, key: Key, message: &Message<'_>) -> Result<Bytes, BodyError> {
    let body_len = message.body_len();
    if body_len > MAX_BODY_LEN {
        return Err(BodyError::TooLong {
            len: body_len,
            limit: MAX_BODY_LEN,
        });
    }
    let header = FrameHeader { body_len, cid, key };
    let mut frame = Vec::with_capacity(HEADER_LEN + body_len);
    frame.extend_from_slice(&header.encode());
    message.encode_into(&mut frame);
    Ok(frame.into())
}
