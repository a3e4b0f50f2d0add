//! A message as it was received.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::protocol::{
    BodyError, Cid, FrameHeader, HEADER_LEN, Message, Position, take_extensions,
};

/// A message as it was received, in one checked frame.
///
/// Clones and [`payload`](Self::payload) share the buffer that the frame was read into together
/// with its neighbours (up to 256 KiB). To keep a message for long, copy the parts that are needed.
#[derive(Clone, PartialEq, Eq)]
pub struct Received {
    frame: Bytes,
    uid: Range<usize>,
    channel: Range<usize>,
    message: Range<usize>,
    position: Option<Position>,
}

impl Received {
    /// Checks the body of a whole frame. What its sender has asked of the server is left out: servers that do not know
    /// extensions pass it on.
    pub(super) fn new(frame: Bytes) -> Result<Self, (Bytes, BodyError)> {
        match Message::decode(&frame[HEADER_LEN..]) {
            Ok(message) => Ok(Self {
                uid: range_in(&frame, message.uid.as_bytes()),
                channel: range_in(&frame, message.channel.as_bytes()),
                message: range_in(&frame, message.message),
                frame,
                position: None,
            }),
            Err(error) => match without_extensions(&frame) {
                Some(plain) => Self::new(plain),
                None => Err((frame, error)),
            },
        }
    }

    /// Returns the message with its position.
    pub(super) fn with_position(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// Returns the position of the message in the order of its channel. `None` for a hint of presence, which has none,
    /// in sessions that do not ask for positions, and of servers that do not give them.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// Returns the uid of the sender.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.str(&self.uid)
    }

    /// Returns the channel that the sender named. Servers need not check it, so it may differ from the
    /// session's.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.str(&self.channel)
    }

    /// Returns the content.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.frame[self.message.clone()]
    }

    /// Returns the content as text; bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.message())
    }

    /// Returns the content, neither borrowed nor copied.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        self.frame.slice(self.message.clone())
    }

    /// Returns `true` if this is the empty message by which its sender announced its join.
    #[must_use]
    pub fn is_announcement(&self) -> bool {
        self.message.is_empty()
    }

    /// Returns the connection id of the session that sent it.
    #[must_use]
    pub fn cid(&self) -> Option<Cid> {
        let header = FrameHeader::decode(&self.frame).ok().flatten();
        header.map(|header| header.cid)
    }

    /// Returns the whole frame, header included.
    #[must_use]
    pub const fn frame(&self) -> &Bytes {
        &self.frame
    }

    fn str(&self, range: &Range<usize>) -> &str {
        // Decoding has checked that it is UTF-8.
        std::str::from_utf8(&self.frame[range.clone()]).unwrap_or_default()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("uid", &self.uid())
            .field("channel", &self.channel())
            .field("message", &self.payload())
            .finish_non_exhaustive()
    }
}

/// Returns a frame without its extensions; `None` if it has none.
fn without_extensions(frame: &[u8]) -> Option<Bytes> {
    let (Cow::Owned(body), _) = take_extensions(&frame[HEADER_LEN..]).ok()? else {
        return None;
    };
    let header = FrameHeader::decode(frame).ok()??;
    let body_len = body.len();
    let header = FrameHeader { body_len, ..header }.encode();
    Some([&header[..], &body].concat().into())
}

/// Returns the range of `part` in `whole`, of which it is a slice.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]
mod tests {
    use super::*;
    use crate::protocol::{JoinExtensions, Key, ResumeRequest, encode_join};

    #[test]
    fn what_a_sender_has_asked_of_its_server_is_left_out() {
        let message = Message {
            uid: "alice",
            channel: "room",
            message: b"hello",
        };
        let extensions = JoinExtensions::from(ResumeRequest::default());
        let frame = encode_join(Cid(7), Key(8), &message, &extensions).unwrap();
        let received = Received::new(frame.into()).unwrap();
        assert_eq!((received.uid(), received.channel()), ("alice", "room"));
        assert_eq!((&*received.text(), received.cid()), ("hello", Some(Cid(7))));
        assert!(
            take_extensions(&received.frame()[HEADER_LEN..])
                .unwrap()
                .1
                .is_empty()
        );
    }
}
