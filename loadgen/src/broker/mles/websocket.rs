//! Mles over WebSocket: bodies of v1, or v2, whose first message is JSON and whose others are payloads.
//!
//! The request to switch protocols, the first message and whatever is published go out without waiting
//! for the server's answer to the request. A client ought to wait for it; what servers do for a message
//! is the same, and the connections of a run are all made before anything is measured.

mod frame;

use mles::protocol::Message;

use super::body::Bodies;
use crate::adapter::{Adapter, Head, Publication, Session, WireError, line};
use frame::{BINARY, CLOSE, EMPTY_PONG, PING, ServerHead, TEXT, client_frame};

/// Asks for the only subprotocol that there is. The key is the one of RFC 6455: it protects nothing.
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: mles-websocket\r\n\r\n";
const SWITCHING: &[u8] = b"HTTP/1.1 101 ";
const END_OF_HEAD: &[u8] = b"\r\n\r\n";

/// Mles over WebSocket, without a shared key.
pub(super) enum WebSocketAdapter {
    /// Each message is a body of v1.
    V1(Bodies),
    /// Each message but the first is a payload.
    V2,
}

impl WebSocketAdapter {
    /// Returns an adapter of version 1 for payloads of `payload_len` bytes, the only ones that [`Adapter::head`] lets
    /// through.
    pub(super) fn v1(payload_len: usize) -> Self {
        Self::V1(Bodies::new(payload_len))
    }
}

impl Adapter for WebSocketAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        let first = match self {
            Self::V1(_) => client_frame(BINARY, &body(session, b"")),
            Self::V2 => {
                let (uid, channel) = (uid(session), session.channel);
                let greeting = serde_json::json!({ "uid": uid, "channel": channel });
                client_frame(TEXT, greeting.to_string().as_bytes())
            }
        };
        Ok([UPGRADE.as_bytes(), &first].concat())
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let bytes = match self {
            Self::V1(_) => client_frame(BINARY, &body(session, payload)),
            Self::V2 => client_frame(BINARY, payload),
        };
        Ok(Publication {
            payload_at: bytes.len() - payload.len(),
            bytes,
        })
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        // No frame begins with the H of HTTP.
        if received[0] == SWITCHING[0] {
            return switched(received);
        }
        let Some(head) = ServerHead::read(received)? else {
            return Ok(Head::Partial);
        };
        let ServerHead {
            opcode,
            len: start,
            payload_len,
        } = head;
        let len = start.saturating_add(payload_len);
        match (self, opcode) {
            (Self::V1(bodies), BINARY) => bodies.head(received, start, len),
            (Self::V2, BINARY) => Ok(Head::Delivery {
                head: start,
                payload: payload_len,
                tail: 0,
            }),
            // The first message of somebody who came before: mles 2.9.4 has it in its history. None
            // of ours is text.
            (Self::V2, TEXT) => Ok(Head::Control { len }),
            (_, PING) if payload_len == 0 => Ok(Head::Ping { len }),
            (_, CLOSE) => match received.get(start..len) {
                Some(why) => Err(closed(why)),
                None => Ok(Head::Partial),
            },
            _ => Err(WireError::unexpected(received)),
        }
    }

    fn pong(&self) -> &'static [u8] {
        EMPTY_PONG
    }
}

/// Reads the answer to the request.
fn switched(received: &[u8]) -> Result<Head, WireError> {
    let end = received
        .windows(END_OF_HEAD.len())
        .position(|bytes| bytes == END_OF_HEAD);
    match end {
        None => Ok(Head::Partial),
        Some(end) if received.starts_with(SWITCHING) => Ok(Head::Control {
            len: end + END_OF_HEAD.len(),
        }),
        Some(_) => Err(WireError::refused(line(received).unwrap_or_default())),
    }
}

/// Returns the error that a close frame with this payload reports.
fn closed(payload: &[u8]) -> WireError {
    match payload.split_first_chunk() {
        Some((&code, reason)) => {
            let code = u16::from_be_bytes(code);
            WireError::refused(format!("close {code} {}", reason.escape_ascii()).as_bytes())
        }
        None => WireError::refused(b"close"),
    }
}

fn body(session: &Session<'_>, message: &[u8]) -> Vec<u8> {
    let uid = uid(session);
    let message = Message {
        uid: &uid,
        channel: session.channel,
        message,
    };
    let mut body = Vec::with_capacity(message.body_len());
    message.encode_into(&mut body);
    body
}

/// Returns a uid for each session of its own: the same name may not join a channel twice.
fn uid(session: &Session<'_>) -> String {
    format!("m{}", session.number)
}

#[cfg(test)]
mod tests {
    use super::frame::server_frame;
    use super::*;
    use crate::adapter::{assert_scans, payload, session};

    const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    #[test]
    fn bodies_behind_the_answer_among_pings_and_announcements_at_every_cut() {
        // Payloads whose lengths take one, two and three bytes in a body, and two and four in a frame.
        for len in [16, 100, 300] {
            let message = |payload: &[u8]| server_frame(BINARY, &body(&session(1), payload));
            let announcement = |number| server_frame(BINARY, &body(&session(number), b""));
            let stream = [
                ANSWER,
                &announcement(2),
                &message(&payload(len, 0)),
                &server_frame(PING, b""),
                &message(&payload(len, 1)),
                &announcement(3000),
                &message(&payload(len, 2)),
            ]
            .concat();
            assert_scans(&WebSocketAdapter::v1(len), len, &stream, 3, 1);
        }
    }

    #[test]
    fn payloads_behind_greetings_and_among_pings_at_every_cut() {
        for len in [16, 200] {
            let stream = [
                ANSWER,
                &server_frame(TEXT, br#"{"uid":"m1","channel":"lg.0"}"#),
                &server_frame(BINARY, &payload(len, 0)),
                &server_frame(PING, b""),
                &server_frame(BINARY, &payload(len, 1)),
            ]
            .concat();
            assert_scans(&WebSocketAdapter::V2, len, &stream, 2, 1);
        }
    }

    #[test]
    fn a_stamp_written_in_its_place_is_what_the_server_gets() {
        for websocket in [WebSocketAdapter::v1(16), WebSocketAdapter::V2] {
            let publication = websocket.publication(&session(1), &payload(16, 7));
            let Publication { bytes, payload_at } = publication.expect("fits");
            assert_eq!(bytes[payload_at..], payload(16, 7));
        }
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        let close = server_frame(CLOSE, b"\x0f\xa1no such key");
        for (refused, said) in [
            (
                b"HTTP/1.1 403 Forbidden\r\n\r\n".as_slice(),
                "403 Forbidden",
            ),
            (&close, "close 4001 no such key"),
            (&server_frame(CLOSE, b""), "close"),
        ] {
            match WebSocketAdapter::V2.head(refused) {
                Err(WireError::Refused(why)) => assert!(why.ends_with(said), "{why}"),
                other => panic!("{other:?}"),
            }
        }
        let longer = server_frame(BINARY, &body(&session(1), &[b'.'; 17]));
        let pinged = server_frame(PING, b"?");
        for bad in [b"MLES".as_slice(), b"\x82\x81\0\0\0\0x", &longer, &pinged] {
            let head = WebSocketAdapter::v1(16).head(bad);
            assert!(matches!(head, Err(WireError::Unexpected(_))), "{head:?}");
        }
    }
}
