//! Bodies, which are the same behind a header on TCP and in a WebSocket message.

use mles::protocol::Message;

use crate::adapter::{Head, WireError};

/// The key of the last field of a body, as CBOR text.
const MESSAGE_KEY: &[u8] = b"\x67message";

/// Bodies with payloads of one length, the only ones that are let through.
pub(super) struct Bodies {
    payload_len: usize,
    /// The bytes before a payload of that length in a body of ours.
    before_payload: Vec<u8>,
}

impl Bodies {
    /// Prepares for payloads of `payload_len` bytes.
    pub(super) fn new(payload_len: usize) -> Self {
        let message = vec![0; payload_len];
        let body = |message| {
            let sample = Message {
                uid: "",
                channel: "",
                message,
            };
            let mut body = Vec::with_capacity(sample.body_len());
            sample.encode_into(&mut body);
            body
        };
        // An empty message is its key and one byte for its length.
        let names = body(&[]).len() - MESSAGE_KEY.len() - 1;
        let body = body(&message);
        Self {
            payload_len,
            before_payload: body[names..body.len() - payload_len].to_vec(),
        }
    }

    /// Tells what `received` begins with: something of `len` bytes, of which all behind the first `start`
    /// are a body.
    ///
    /// # Errors
    /// It is no body, or one with a payload of another length.
    pub(super) fn head(
        &self,
        received: &[u8],
        start: usize,
        len: usize,
    ) -> Result<Head, WireError> {
        let head = len.saturating_sub(self.payload_len);
        let Some(before) = received.get(start..head.max(start)) else {
            return Ok(Head::Partial);
        };
        if before.ends_with(&self.before_payload) {
            return Ok(Head::Delivery {
                head,
                payload: self.payload_len,
                tail: 0,
            });
        }
        let Some(body) = received.get(start..len) else {
            return Ok(Head::Partial);
        };
        match Message::decode(body) {
            Ok(announcement) if announcement.message.is_empty() => Ok(Head::Control { len }),
            Ok(_) => Err(WireError::unexpected(received)),
            Err(error) => Err(WireError::Unexpected(error.to_string())),
        }
    }
}
