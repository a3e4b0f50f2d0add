//! Mles over WebSocket: bodies of v1, or v2, whose first message is JSON and whose others are payloads.
//!
//! The request to switch protocols, the first message and whatever is published go out without waiting
//! for the server's answer to the request. A client ought to wait for it; what servers do for a message
//! is the same, and the connections of a run are all made before anything is measured.

mod frame;

use mles::protocol::Message;
use serde_json::json;

use super::body::Bodies;
use super::http::{END_OF_HEAD, ResponseHead};
use super::notice;
use crate::adapter::{Adapter, Head, Publication, Role, Session, WireError};
use frame::{BINARY, CLOSE, EMPTY_PONG, PING, ServerHead, TEXT, client_frame};

/// The key is the one of RFC 6455: it protects nothing. The names of subprotocols follow.
const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                       Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                       Sec-WebSocket-Protocol: ";
const PLAIN: &str = "mles-websocket";
const WITH_POSITIONS: &str = "mles-websocket.resume, mles-websocket";
/// What begins a payload, where the server was asked for positions.
const PAYLOAD: u8 = b'=';
/// What begins a notice there.
const NOTICE: u8 = b'!';
const SWITCHING: u16 = 101;

/// Mles over WebSocket, without a shared key.
pub(super) enum WebSocketAdapter {
    /// Each message is a body of v1.
    V1(Bodies),
    /// Each message but the first is a payload.
    V2,
    /// Version 2 with positions: a character before each message of the server tells payloads
    /// and notices apart. Publishers that want no message confirmed do not ask.
    V2WithPositions,
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
        let (uid, channel) = (uid(session), session.channel);
        let greeting = match (self, session.since) {
            (Self::V1(_), _) => {
                return Ok(upgrade(PLAIN, &client_frame(BINARY, &body(session, b""))));
            }
            (Self::V2WithPositions, Some(since)) if session.role != Role::Publisher => {
                json!({ "uid": uid, "channel": channel, "since": since })
            }
            (Self::V2WithPositions, None) if session.role != Role::Publisher => {
                json!({ "uid": uid, "channel": channel, "resume": true })
            }
            (Self::V2 | Self::V2WithPositions, _) => json!({ "uid": uid, "channel": channel }),
        };
        let first = client_frame(TEXT, greeting.to_string().as_bytes());
        let protocols = match (self, session.role) {
            (Self::V2WithPositions, Role::Publisher) | (Self::V1(_) | Self::V2, _) => PLAIN,
            (Self::V2WithPositions, _) => WITH_POSITIONS,
        };
        Ok(upgrade(protocols, &first))
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let bytes = match self {
            Self::V1(_) => client_frame(BINARY, &body(session, payload)),
            Self::V2 | Self::V2WithPositions => client_frame(BINARY, payload),
        };
        Ok(Publication {
            payload_at: bytes.len() - payload.len(),
            bytes,
        })
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        // No frame begins with the H of HTTP.
        if received[0] == b'H' {
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
            (Self::V2WithPositions, BINARY | TEXT) => prefixed(received, &head),
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

    fn counts_positions(&self) -> bool {
        matches!(self, Self::V2WithPositions)
    }

    fn pong(&self) -> &'static [u8] {
        EMPTY_PONG
    }
}

/// Reads a message of a server that may have been asked for positions. Publishers, who have not, are sent nothing
/// that they would read.
fn prefixed(received: &[u8], head: &ServerHead) -> Result<Head, WireError> {
    let (start, len) = (head.len, head.len.saturating_add(head.payload_len));
    match received.get(start) {
        None if head.payload_len == 0 => Err(WireError::unexpected(received)),
        None => Ok(Head::Partial),
        Some(&PAYLOAD) if head.opcode == BINARY => Ok(Head::Delivery {
            head: start + 1,
            payload: head.payload_len - 1,
            tail: 0,
        }),
        Some(&NOTICE) => match received.get(start + 1..len) {
            None => Ok(Head::Partial),
            Some(text) => Ok(notice::head(len, notice::from_json(text)?)),
        },
        Some(_) => Ok(Head::Control { len }),
    }
}

/// Returns the request to switch to one of `protocols`, and what goes out behind it.
fn upgrade(protocols: &str, first: &[u8]) -> Vec<u8> {
    [UPGRADE.as_bytes(), protocols.as_bytes(), END_OF_HEAD, first].concat()
}

/// Reads the answer to the request.
fn switched(received: &[u8]) -> Result<Head, WireError> {
    match ResponseHead::read(received)? {
        None => Ok(Head::Partial),
        Some(response) if response.status == SWITCHING => Ok(Head::Control { len: response.len }),
        Some(response) => Err(response.refused(b"")),
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
pub(super) mod tests {
    use mles::protocol::Notice;

    use super::super::notice::{sample_position, sample_welcome};
    use super::frame::server_frame;
    use super::*;
    use crate::adapter::{assert_scans, payload, session};

    pub(in super::super) const ANSWER: &[u8] =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    /// Returns a server's frame with a binary message.
    pub(in super::super) fn binary(payload: &[u8]) -> Vec<u8> {
        server_frame(BINARY, payload)
    }

    #[test]
    fn payloads_among_notices_at_every_cut() {
        for len in [16, 124, 125, 200] {
            let message = |sequence| {
                let payload = payload(len, sequence);
                server_frame(BINARY, &[b"=", payload.as_slice()].concat())
            };
            let notice = |notice: &Notice| {
                let json = serde_json::to_string(notice).expect("it has no other keys");
                server_frame(TEXT, format!("!{json}").as_bytes())
            };
            let stream = [
                ANSWER,
                &notice(&Notice::Welcome(sample_welcome())),
                &message(0),
                &server_frame(PING, b""),
                &notice(&Notice::Receipt {
                    count: 2,
                    position: sample_position(3),
                }),
                &message(1),
                &server_frame(TEXT, b"=text of somebody else"),
            ]
            .concat();
            assert_scans(&WebSocketAdapter::V2WithPositions, len, &stream, 2, 1);
        }
    }

    #[test]
    fn those_who_come_back_say_how_far_they_had_come() {
        let position = sample_position(9);
        let hello = |role, since| {
            let session = Session {
                role,
                since,
                ..session(1)
            };
            let hello = WebSocketAdapter::V2WithPositions.hello(&session);
            String::from_utf8_lossy(&hello.expect("fits")).into_owned()
        };
        let back = hello(Role::Subscriber, Some(position));
        assert!(
            back.contains(&format!("\"since\":\"{position}\"")),
            "{back}"
        );
        let new = hello(Role::ConfirmedPublisher, None);
        assert!(new.contains("\"resume\":true"), "{new}");
        let publisher = hello(Role::Publisher, None);
        assert!(!publisher.contains("resume"), "{publisher}");
    }

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
