//! The messages of many bodies, one after the other.

use super::body::Message;
use super::error::BodyError;
use super::header::HEADER_LEN;
use super::message_kind::MessageKind;
use super::reader::CborReader;

/// Reads the messages of bodies one after the other: the names in one are not read again when the
/// next begins with the same bytes, as those of one sender do.
#[derive(Debug, Default)]
pub(crate) struct MessageReader<'a> {
    /// The part before the message of the last body; empty if something stood behind it as well.
    before: &'a [u8],
}

impl<'a> MessageReader<'a> {
    /// Returns the message in `body`, and how it is marked.
    ///
    /// # Errors
    ///
    /// As [`Message::decode`].
    #[inline]
    pub(crate) fn read(&mut self, body: &'a [u8]) -> Result<(&'a [u8], MessageKind), BodyError> {
        if !self.before.is_empty()
            && let Some(rest) = body.strip_prefix(self.before)
        {
            let mut reader = CborReader::new(rest);
            if let Ok(message) = reader.bytes()
                && reader.end().is_ok()
            {
                return Ok((
                    message,
                    MessageKind::read(rest.first().copied(), message.len()),
                ));
            }
        }
        self.read_names(body)
    }

    fn read_names(&mut self, body: &'a [u8]) -> Result<(&'a [u8], MessageKind), BodyError> {
        let (Message { message, .. }, at) = Message::decode_at(body)?;
        let is_last = message.as_ptr_range().end == body.as_ptr_range().end;
        self.before = if is_last { &body[..at] } else { &[] };
        Ok((
            message,
            MessageKind::read(body.get(at).copied(), message.len()),
        ))
    }
}

/// Tells messages from hints of presence, as [`is_presence`](super::is_presence) does, frame by frame: of frames with
/// the same names in a row it reads the names once.
#[derive(Debug, Default)]
pub(crate) struct MessageCounter<'a>(MessageReader<'a>);

impl<'a> MessageCounter<'a> {
    /// Returns `true` if a whole frame has an offset in its channel: it is no hint of presence.
    #[inline]
    pub(crate) fn is_message(&mut self, frame: &'a [u8]) -> bool {
        let body = frame.get(HEADER_LEN..).unwrap_or_default();
        if !self.0.before.is_empty()
            && let Some(rest) = body.strip_prefix(self.0.before)
            && is_short(rest)
        {
            return true;
        }
        let is_hint = |(message, kind): (&[u8], _)| message.is_empty() && kind == MessageKind::None;
        !self.0.read(body).is_ok_and(is_hint)
    }
}

/// Returns `true` if `message` is a byte string and nothing else, of 1 to 255 bytes in the shortest encoding, as most
/// messages are.
#[inline]
fn is_short(message: &[u8]) -> bool {
    match message {
        [head @ 0x41..=0x57, rest @ ..] => rest.len() == usize::from(head & 0x1F),
        [0x58, len @ 1..=0xFF, rest @ ..] => rest.len() == usize::from(*len),
        _ => false,
    }
}
