//! Follows messages over their fragments: order, sizes, and UTF-8 that may be cut anywhere.

#[cfg(test)]
mod tests;

use super::error::MessageError;
use super::frame::{FrameHead, Opcode};

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// The part of a message that a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A whole message.
    Whole(Kind),
    /// The first fragment.
    First(Kind),
    /// A fragment in between.
    Middle(Kind),
    /// The last fragment.
    Last(Kind),
    /// A ping, to be answered with a pong of the same payload.
    Ping,
    /// An answer to a ping of ours, or a sign of life that nobody asked for.
    Pong,
    /// The end; its payload is for [`parse_close`](super::parse_close).
    Close,
}

/// State of a connection between and inside messages: 12 bytes, whatever comes.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    /// The kind of the fragmented message that has begun.
    open: Option<Kind>,
    /// The character at the end of the text so far that is not whole.
    cut: Cut,
    /// Payload bytes of the fragmented message so far.
    len: u32,
}

impl Assembly {
    /// Returns what a frame is, without touching its payload. `max_message` is in payload bytes, over
    /// all fragments.
    ///
    /// # Errors
    ///
    /// A fragment out of order, or a message over the limit. Nothing is to be fed after an error.
    pub(crate) fn accept(
        &mut self,
        head: &FrameHead,
        max_message: usize,
    ) -> Result<Part, MessageError> {
        let kind = match head.opcode {
            Opcode::Ping => return Ok(Part::Ping),
            Opcode::Pong => return Ok(Part::Pong),
            Opcode::Close => return Ok(Part::Close),
            Opcode::Continuation => return self.go_on(head, max_message),
            Opcode::Text => Kind::Text,
            Opcode::Binary => Kind::Binary,
        };
        if self.open.is_some() {
            return Err(MessageError::Interleaved);
        }
        let len = within(head.payload_len, max_message)?;
        if head.fin {
            return Ok(Part::Whole(kind));
        }
        *self = Self {
            open: Some(kind),
            cut: Cut::default(),
            len,
        };
        Ok(Part::First(kind))
    }

    fn go_on(&mut self, head: &FrameHead, max_message: usize) -> Result<Part, MessageError> {
        let kind = self.open.ok_or(MessageError::NothingToContinue)?;
        let len = (self.len as usize).saturating_add(head.payload_len);
        self.len = within(len, max_message)?;
        if !head.fin {
            return Ok(Part::Middle(kind));
        }
        self.open = None;
        Ok(Part::Last(kind))
    }

    /// Checks the unmasked payload of the text frame that was accepted last; `last` if it ends its
    /// message. A character may be cut by the end of a frame, but not by that of the message.
    ///
    /// # Errors
    ///
    /// [`MessageError::NotUtf8`] as soon as no bytes that follow could make it UTF-8.
    pub(crate) fn check_text(&mut self, bytes: &[u8], last: bool) -> Result<(), MessageError> {
        let rest = self.cut.fill(bytes)?;
        if let Err(error) = std::str::from_utf8(rest) {
            if error.error_len().is_some() {
                return Err(MessageError::NotUtf8);
            }
            self.cut = Cut::new(&rest[error.valid_up_to()..]);
        }
        if last && self.cut.len > 0 {
            return Err(MessageError::NotUtf8);
        }
        Ok(())
    }
}

fn within(len: usize, limit: usize) -> Result<u32, MessageError> {
    match u32::try_from(len) {
        Ok(short) if len <= limit => Ok(short),
        _ => Err(MessageError::TooLong { len, limit }),
    }
}

/// The first bytes of a character whose rest has not come.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    bytes: [u8; 3],
    len: u8,
}

impl Cut {
    /// Keeps the first 1–3 bytes of a longer character.
    fn new(bytes: &[u8]) -> Self {
        let mut cut = Self::default();
        for (to, &from) in cut.bytes.iter_mut().zip(bytes) {
            *to = from;
            cut.len += 1;
        }
        cut
    }

    /// Takes the rest of the character from the front of `bytes` and returns what is behind it.
    /// The character stays cut if `bytes` end before it does.
    fn fill<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], MessageError> {
        let mut rest = bytes;
        while self.len > 0
            && let Some((&next, behind)) = rest.split_first()
        {
            rest = behind;
            let len = usize::from(self.len);
            let mut character = [0; 4];
            character[..len].copy_from_slice(&self.bytes[..len]);
            character[len] = next;
            let character = &character[..=len];
            *self = match std::str::from_utf8(character) {
                Ok(_) => Self::default(),
                Err(error) if error.error_len().is_none() => Self::new(character),
                Err(_) => return Err(MessageError::NotUtf8),
            };
        }
        Ok(rest)
    }
}
