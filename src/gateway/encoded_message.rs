//! A message in JSON, as pages of messages and event streams have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::protocol::{HEADER_LEN, Message, MessageKind};

/// A message with its place: text, or what is none in base64.
#[derive(Debug, Serialize)]
pub(super) struct EncodedMessage<'a> {
    offset: u64,
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl<'a> EncodedMessage<'a> {
    /// Returns the message in a whole frame; `None` if its body is none.
    pub(super) fn of_frame(offset: u64, frame: &'a [u8]) -> Option<Self> {
        let body = frame.get(HEADER_LEN..)?;
        let (message, kind) = Message::decode_with_kind(body).ok()?;
        let text = std::str::from_utf8(message.message);
        let text = text.ok().filter(|_| kind != MessageKind::Binary);
        let base64 = text.is_none().then(|| STANDARD.encode(message.message));
        Some(Self {
            offset,
            uid: message.uid,
            text,
            base64,
        })
    }
}
