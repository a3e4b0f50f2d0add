//! Frames of AMQP 0-9-1: kind, channel, length, payload, end.

use crate::adapter::WireError;

pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
pub(super) const HEARTBEAT: u8 = 8;
/// Kind, channel and length before a frame's payload.
pub(super) const FRAME_HEAD: usize = 7;
/// The byte after a frame's payload.
const FRAME_END: u8 = 0xCE;
/// Bytes of a frame beyond its payload.
pub(super) const FRAME_OVERHEAD: usize = FRAME_HEAD + 1;
/// The largest frame: RabbitMQ's default, which it lets nobody exceed.
pub(super) const FRAME_MAX: u32 = 131_072;
/// The largest payload of a frame.
pub(super) const PIECE: usize = FRAME_MAX as usize - FRAME_OVERHEAD;

/// A method's class and number within it.
pub(super) type Method = (u16, u16);

/// Appends a method frame.
pub(super) fn method(
    bytes: &mut Vec<u8>,
    channel: u16,
    (class, number): Method,
    arguments: &[&[u8]],
) -> Result<(), WireError> {
    let (class, number) = (class.to_be_bytes(), number.to_be_bytes());
    let payload = [&[class.as_slice(), &number], arguments].concat();
    frame(bytes, METHOD, channel, &payload)
}

/// Appends a frame with `payload` in parts.
pub(super) fn frame(
    bytes: &mut Vec<u8>,
    kind: u8,
    channel: u16,
    payload: &[&[u8]],
) -> Result<(), WireError> {
    let len: usize = payload.iter().map(|part| part.len()).sum();
    let len = u32::try_from(len).map_err(|_| WireError::TooLong(len))?;
    bytes.push(kind);
    bytes.extend(channel.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    payload
        .iter()
        .for_each(|part| bytes.extend_from_slice(part));
    bytes.push(FRAME_END);
    Ok(())
}

/// Encodes a string with its length in one byte before it.
pub(super) fn short_string(text: &str) -> Result<Vec<u8>, WireError> {
    let len = u8::try_from(text.len()).map_err(|_| WireError::TooLong(text.len()))?;
    Ok([&[len], text.as_bytes()].concat())
}

/// A frame whose head has come; its payload may not have.
pub(super) struct Frame {
    pub(super) kind: u8,
    /// Where its payload begins in the received bytes.
    pub(super) payload_at: usize,
    pub(super) payload_len: usize,
}

impl Frame {
    /// Returns the frame that begins at `at`, behind another one if that is not 0; `None` when its head has
    /// not come whole.
    pub(super) fn at(received: &[u8], at: usize) -> Result<Option<Self>, WireError> {
        let Some(&kind) = received.get(at) else {
            return Ok(None);
        };
        if at > 0 && received[at - 1] != FRAME_END {
            return Err(WireError::unexpected(received));
        }
        match kind {
            METHOD | HEADER | BODY | HEARTBEAT => {}
            // The server's way of saying which version it speaks instead.
            b'A' => return Err(WireError::refused(&received[at..])),
            _ => return Err(WireError::unexpected(received)),
        }
        let payload_at = at + FRAME_HEAD;
        let Some(len) = array(received, at + 3).map(u32::from_be_bytes) else {
            return Ok(None);
        };
        Ok(Some(Self {
            kind,
            payload_at,
            payload_len: len as usize,
        }))
    }

    /// Returns where the next frame begins.
    pub(super) fn end(&self) -> usize {
        self.payload_at + self.payload_len + 1
    }
}

/// Returns `N` bytes from `at` on, if they have come.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
