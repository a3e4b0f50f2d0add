//! WebSocket frames: a client's, and the heads of a server's.

use crate::adapter::WireError;

pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
#[cfg(test)]
pub(super) const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The two values of the 7-bit length that say how long the real one is.
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;

/// A client's frame without payload that answers a ping without payload.
pub(super) const EMPTY_PONG: &[u8] = &[0x8A, MASKED, 0, 0, 0, 0];

/// Returns a whole message of a client in one frame; its payload is at the end.
///
/// The mask is zero, so that a stamp can be written into the payload in its place. A client ought to
/// choose masks that nobody can guess, which protects proxies from scripts in a browser; there are
/// neither here. A server cannot do less for this mask than for any other, unless it looks for it.
pub(super) fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, MASKED, payload.len());
    frame.extend([0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Returns a head up to its length.
fn head(opcode: u8, masked: u8, payload_len: usize) -> Vec<u8> {
    let first = FIN | opcode;
    match (u8::try_from(payload_len), u16::try_from(payload_len)) {
        (Ok(len @ ..LEN_16), _) => vec![first, masked | len],
        (_, Ok(len)) => [&[first, masked | LEN_16], len.to_be_bytes().as_slice()].concat(),
        _ => {
            let len = (payload_len as u64).to_be_bytes();
            [&[first, masked | LEN_64], len.as_slice()].concat()
        }
    }
}

/// The head of a server's frame.
pub(super) struct ServerHead {
    pub(super) opcode: u8,
    /// Length of the head.
    pub(super) len: usize,
    /// Length of what follows it.
    pub(super) payload_len: usize,
}

impl ServerHead {
    /// Returns the head at the start of `received`; `None` when it has not come whole.
    ///
    /// # Errors
    /// It is masked, of a fragment, or has a bit that was not agreed on.
    pub(super) fn read(received: &[u8]) -> Result<Option<Self>, WireError> {
        let &[first, second, ref rest @ ..] = received else {
            return Ok(None);
        };
        let opcode = first & 0x0F;
        // Servers that are loaded here send whole messages, and no extension is asked for.
        if first != FIN | opcode || second & MASKED != 0 {
            return Err(WireError::unexpected(received));
        }
        let width = match second {
            LEN_16 => 2,
            LEN_64 => 8,
            _ => 0,
        };
        let payload_len = match rest.get(..width) {
            None => return Ok(None),
            Some([]) => second.into(),
            Some(digits) => digits
                .iter()
                .fold(0, |len: u64, &digit| (len << 8) | u64::from(digit)),
        };
        let payload_len =
            usize::try_from(payload_len).map_err(|_| WireError::unexpected(received))?;
        Ok(Some(Self {
            opcode,
            len: 2 + width,
            payload_len,
        }))
    }
}

/// Returns a server's frame, for tests of what reads them.
#[cfg(test)]
pub(super) fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = head(opcode, 0, payload.len());
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_width_that_the_standard_wants() {
        for (len, head_len) in [(0, 2), (125, 2), (126, 4), (0xFFFF, 4), (0x1_0000, 10)] {
            let payload = vec![b'.'; len];
            let frame = server_frame(BINARY, &payload);
            assert_eq!(frame.len(), head_len + len, "{len}");
            let head = ServerHead::read(&frame)
                .ok()
                .flatten()
                .expect("it is whole");
            assert_eq!(
                (head.opcode, head.len, head.payload_len),
                (BINARY, head_len, len)
            );
            for cut in 0..head_len {
                let cut = ServerHead::read(&frame[..cut]);
                assert!(matches!(cut, Ok(None)), "{len}");
            }
            let masked = client_frame(BINARY, &payload);
            assert_eq!(masked.len(), frame.len() + 4, "{len}");
            assert_eq!(masked[1], frame[1] | MASKED, "{len}");
            assert_eq!(masked[head_len..head_len + 4], [0; 4], "{len}");
        }
    }

    #[test]
    fn a_pong_is_a_frame_of_a_client() {
        assert_eq!(client_frame(PONG, b""), EMPTY_PONG);
    }
}
