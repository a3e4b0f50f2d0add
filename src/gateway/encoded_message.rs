//! A message in JSON, as pages of messages and event streams have it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use crate::gateway::decimal::Decimal;
use crate::protocol::{HEADER_LEN, Message, MessageKind, frames};

/// A message with its place: text, or what is none in base64.
#[derive(Debug, Serialize)]
pub(super) struct EncodedMessage<'a> {
    offset: u64,
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(
        rename = "base64",
        skip_serializing_if = "Option::is_none",
        serialize_with = "in_base64"
    )]
    binary: Option<&'a [u8]>,
}

/// Serializes bytes in base64; there are some.
fn in_base64<S: Serializer>(binary: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(binary.unwrap_or_default()))
}

/// Returns the messages of a run whose first has the offset `first`, each with its own. Bodies that are no messages have
/// one as well, and nothing else. Hints of presence are left out.
pub(super) fn encoded_messages(
    first: u64,
    run: &[u8],
) -> impl Iterator<Item = (u64, Option<EncodedMessage<'_>>)> {
    let bodies = frames(run).filter_map(|frame| frame.get(HEADER_LEN..));
    let messages = bodies.map(|body| Message::decode_with_kind(body).ok());
    let numbered = messages.filter(|message| {
        let is_hint = |(message, kind): &(Message<'_>, _)| {
            message.message.is_empty() && *kind == MessageKind::None
        };
        !message.as_ref().is_some_and(is_hint)
    });
    (first..).zip(numbered).map(|(offset, message)| {
        let encoded = message.map(|(message, kind)| EncodedMessage::new(offset, message, kind));
        (offset, encoded)
    })
}

impl<'a> EncodedMessage<'a> {
    /// Appends the message in JSON.
    pub(super) fn append_to(&self, out: &mut Vec<u8>) {
        if !is_plain(self.uid) || !self.text.is_none_or(is_plain) {
            // Writing to memory does not fail.
            return drop(serde_json::to_writer(out, self));
        }
        out.extend_from_slice(b"{\"offset\":");
        out.extend_from_slice(Decimal::new(self.offset).as_bytes());
        out.extend_from_slice(b",\"uid\":\"");
        out.extend_from_slice(self.uid.as_bytes());
        if let Some(text) = self.text {
            out.extend_from_slice(b"\",\"text\":\"");
            out.extend_from_slice(text.as_bytes());
        }
        if let Some(binary) = self.binary {
            out.extend_from_slice(b"\",\"base64\":\"");
            append_base64(out, binary);
        }
        out.extend_from_slice(b"\"}");
    }

    fn new(offset: u64, message: Message<'a>, kind: MessageKind) -> Self {
        let text = std::str::from_utf8(message.message);
        let text = text.ok().filter(|_| kind != MessageKind::Binary);
        let binary = text.is_none().then_some(message.message);
        Self {
            offset,
            uid: message.uid,
            text,
            binary,
        }
    }
}

/// Returns `true` if JSON has the text as it is.
fn is_plain(text: &str) -> bool {
    // One pass without an early end, which the compiler turns into a few wide comparisons.
    let escapes = text.bytes().fold(false, |escapes, byte| {
        escapes | (byte < 0x20) | (byte == b'"') | (byte == b'\\')
    });
    !escapes
}

fn append_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    // There is room for all of it.
    let len = STANDARD.encode_slice(bytes, &mut out[start..]);
    out.truncate(start + len.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_appended_is_what_serde_writes(
            offset in any::<u64>(),
            uid in "[a-z\"é\u{7f}]{0,5}",
            message in prop_oneof![
                any::<Vec<u8>>(),
                "[ -~]{0,40}".prop_map(String::into_bytes),
                "\\PC{0,40}".prop_map(String::into_bytes),
            ],
        ) {
            let message = Message { uid: &uid, channel: "c", message: &message };
            let encoded = EncodedMessage::new(offset, message, MessageKind::None);
            let mut out = Vec::new();
            encoded.append_to(&mut out);
            prop_assert_eq!(out, serde_json::to_vec(&encoded).unwrap_or_default());
        }
    }
}
