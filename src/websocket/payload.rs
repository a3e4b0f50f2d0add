//! Mles frames as WebSocket messages: v1 bodies, or v2 payloads; and v2 payloads as Mles frames.
//!
//! A run is turned once for all members of a channel that speak the same version, in one
//! allocation of its exact size.

#[cfg(test)]
mod tests;

use bytes::Bytes;

use super::assembly::Kind;
use super::frame::{Opcode, head_len, put_head, split_server_frame};
use super::notice::{LEFT_OUT, MESSAGE_MARK};
use crate::protocol::{
    BodyError, BodyPrefix, Cid, HEADER_LEN, Key, Message, MessageKind, MessageReader, frames,
    put_frame_start,
};

/// Encodes the frames of a run for v1: each body, without its header, in a binary message. Returns the
/// messages, and how many there are.
pub(crate) fn bodies_run(run: &[u8]) -> (Bytes, u32) {
    let bodies = || frames(run).filter_map(|frame| frame.get(HEADER_LEN..));
    let len = bodies().map(|body| head_len(body.len()) + body.len()).sum();
    let mut out = Vec::with_capacity(len);
    let mut count = 0;
    for body in bodies() {
        put_head(&mut out, Opcode::Binary, body.len());
        out.extend_from_slice(body);
        count += 1;
    }
    (out.into(), count)
}

/// Returns `true` if a message of v1 holds a body that is a hint of presence.
pub(crate) fn holds_hint(frame: &[u8]) -> bool {
    let body = split_server_frame(frame).map(|(_, body)| body);
    let message = body.and_then(|body| Message::decode_with_kind(body).ok());
    message.is_some_and(|(message, kind)| message.message.is_empty() && kind == MessageKind::None)
}

/// Encodes the frames of a run for v2: what each says, in a message of its kind. Hints of presence and
/// bodies that are no messages are left out. Returns the messages, and how many there are.
pub(crate) fn payloads_run(run: &[u8]) -> (Bytes, u32) {
    let len = payloads(run).map(|(payload, _)| head_len(payload.len()) + payload.len());
    let mut out = Vec::with_capacity(len.sum());
    let mut count = 0;
    for (payload, kind) in payloads(run) {
        put_head(&mut out, opcode(payload, kind), payload.len());
        out.extend_from_slice(payload);
        count += 1;
    }
    (out.into(), count)
}

/// Encodes the frames of a run for v2 clients that ask for positions: as [`payloads_run`] does, with a mark in front of
/// each payload. In the place of a body that is no message there is a gap, because it has an offset.
pub(crate) fn marked_payloads_run(run: &[u8]) -> (Bytes, u32) {
    let len = |payload: Option<&[u8]>| {
        payload.map_or(LEFT_OUT.len(), |payload| MESSAGE_MARK.len() + payload.len())
    };
    let lens = messages(run).map(|message| len(message.map(|(payload, _)| payload)));
    let mut out = Vec::with_capacity(lens.map(|len| head_len(len) + len).sum());
    let mut count = 0;
    for message in messages(run) {
        let (mark, payload, opcode) = match message {
            Some((payload, kind)) => (MESSAGE_MARK, payload, opcode(payload, kind)),
            None => (LEFT_OUT, &b""[..], Opcode::Text),
        };
        put_head(&mut out, opcode, mark.len() + payload.len());
        out.extend_from_slice(mark.as_bytes());
        out.extend_from_slice(payload);
        count += 1;
    }
    (out.into(), count)
}

fn payloads(run: &[u8]) -> impl Iterator<Item = (&[u8], MessageKind)> {
    messages(run).flatten()
}

/// Returns what each frame of a run says, and in which kind of message: `None` for a body that is no message. Hints of
/// presence are left out.
fn messages(run: &[u8]) -> impl Iterator<Item = Option<(&[u8], MessageKind)>> {
    let mut reader = MessageReader::default();
    frames(run).filter_map(move |frame| {
        let Ok((payload, kind)) = reader.read(frame.get(HEADER_LEN..)?) else {
            return Some(None);
        };
        let is_hint = payload.is_empty() && kind == MessageKind::None;
        (!is_hint).then_some(Some((payload, kind)))
    })
}

fn opcode(payload: &[u8], kind: MessageKind) -> Opcode {
    match kind {
        MessageKind::Binary => Opcode::Binary,
        MessageKind::Text | MessageKind::None if std::str::from_utf8(payload).is_ok() => {
            Opcode::Text
        }
        MessageKind::Text | MessageKind::None => Opcode::Binary,
    }
}

/// Returns the largest payload of a v2 message, in bytes, whose frame has a body of up to `max_body`.
pub(crate) fn max_payload(max_body: usize, names: &BodyPrefix) -> usize {
    max_body.saturating_sub(names.as_bytes().len() + MessageKind::MAX_HEAD)
}

/// Appends the Mles frame for a v2 message up to its payload, whose `payload_len` bytes the caller
/// appends.
///
/// # Errors
///
/// [`BodyError::TooLong`] when no frame can hold it; nothing is appended then.
pub(crate) fn put_message_start(
    out: &mut Vec<u8>,
    holder: (Cid, Key),
    names: &BodyPrefix,
    kind: Kind,
    payload_len: usize,
) -> Result<(), BodyError> {
    let kind = match kind {
        Kind::Text => MessageKind::Text,
        Kind::Binary => MessageKind::Binary,
    };
    put_frame_start(out, holder, names, kind, payload_len)
}
