//! Notices as WebSocket messages, for clients that ask for positions.
//!
//! | version | messages | notices |
//! | --- | --- | --- |
//! | v1 | binary: bodies | text: `{"channel":"room","gap":{"missed":3}}` |
//! | v2 | text or binary: `=` and the payload | text: `!{"gap":{"missed":3}}` |
//!
//! No client can forge a notice: v1 clients can publish binary messages only, and what v2 clients publish is behind
//! the mark.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::frame::{Opcode, put_head, server_frame, split_server_frame};
use crate::protocol::Notice;

/// The first character of every message of v2 that holds a payload.
pub(super) const MESSAGE_MARK: &str = "=";
/// The first character of every message of v2 that holds a notice.
const NOTICE_MARK: &str = "!";
/// The first character of a message of v2, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A payload follows.
    Message,
    /// Something for the other side alone follows.
    Notice,
}

/// A notice of v2 that one message is left out here.
pub(super) const LEFT_OUT: &str = r#"!{"gap":{"missed":1}}"#;

/// A notice of v1. A connection may have sessions in many channels.
#[derive(Serialize, Deserialize)]
struct EncodedNotice<'a> {
    channel: Cow<'a, str>,
    #[serde(flatten)]
    notice: Cow<'a, Notice>,
}

/// Returns a notice to v2 clients, as a whole frame.
pub(crate) fn marked_notice(notice: &Notice) -> Bytes {
    // A notice is always encoded: its maps have names as keys.
    let json = serde_json::to_vec(notice).unwrap_or_default();
    let mut frame = Vec::new();
    put_head(&mut frame, Opcode::Text, NOTICE_MARK.len() + json.len());
    frame.extend_from_slice(NOTICE_MARK.as_bytes());
    frame.extend_from_slice(&json);
    frame.into()
}

/// Reads a frame that v2 clients get: `None` if it holds a payload.
pub(crate) fn read_marked_notice(frame: &[u8]) -> Option<Notice> {
    let (_, payload) = split_server_frame(frame)?;
    let json = payload.strip_prefix(NOTICE_MARK.as_bytes())?;
    serde_json::from_slice(json).ok()
}

/// Message of a client to the server alone.
#[derive(Deserialize)]
struct EncodedToken<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

/// Reads the token that a client shows after its join, as v1 clients do it in a message of text, and others behind the
/// mark of notices. `None` if it is no JSON object with a token.
pub(crate) fn read_token(json: &str) -> Option<Cow<'_, str>> {
    // An array would do for serde.
    if !json.trim_start().starts_with('{') {
        return None;
    }
    let shown: EncodedToken<'_> = serde_json::from_str(json).ok()?;
    Some(shown.token)
}

/// Takes the mark off a message of a client that marks what it sends. `None` if it has none.
pub(crate) fn split_mark(message: &[u8]) -> Option<(Mark, &[u8])> {
    let (mark, rest) = message.split_at_checked(1)?;
    if mark == MESSAGE_MARK.as_bytes() {
        Some((Mark::Message, rest))
    } else if mark == NOTICE_MARK.as_bytes() {
        Some((Mark::Notice, rest))
    } else {
        None
    }
}

/// Returns a notice to v1 clients in a channel, as a whole frame.
pub(crate) fn body_notice(notice: &Notice, channel: &str) -> Bytes {
    let notice = EncodedNotice {
        channel: channel.into(),
        notice: Cow::Borrowed(notice),
    };
    // As above.
    let json = serde_json::to_vec(&notice).unwrap_or_default();
    server_frame(Opcode::Text, &json)
}

/// Reads a frame that v1 clients get: `None` if it holds a body.
pub(crate) fn read_body_notice(frame: &[u8]) -> Option<Notice> {
    let (Opcode::Text, payload) = split_server_frame(frame)? else {
        return None;
    };
    let notice: EncodedNotice<'_> = serde_json::from_slice(payload).ok()?;
    Some(notice.notice.into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::protocol::{Epoch, Position, Welcome};

    fn notices() -> [(Notice, &'static str); 9] {
        let position = Position {
            epoch: Epoch(0xAB),
            offset: 7,
        };
        let welcome = Welcome {
            position,
            start: None,
            replay: 2,
            recovered: true,
            missed: Some(0),
            published: Some(3),
        };
        let unknown = Welcome {
            recovered: false,
            missed: None,
            published: None,
            ..welcome
        };
        let gap = |members| Notice::Gap { missed: 1, members };
        let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        [
            (
                Notice::Welcome(welcome),
                r#""welcome":{"position":"00000000000000ab:7","replay":2,"recovered":true,"missed":0,"published":3}"#,
            ),
            (
                Notice::Welcome(unknown),
                r#""welcome":{"position":"00000000000000ab:7","replay":2,"recovered":false}"#,
            ),
            (
                Notice::Receipt { count: 2, position },
                r#""receipt":{"count":2,"position":"00000000000000ab:7"}"#,
            ),
            (gap(false), r#""gap":{"missed":1}"#),
            (gap(true), r#""gap":{"missed":1,"members":true}"#),
            (
                Notice::Members {
                    count: 2,
                    uids: names(&["a\"", "é"]),
                },
                r#""members":{"count":2,"uids":["a\"","é"]}"#,
            ),
            (
                Notice::Changes {
                    count: 1,
                    joined: names(&[]),
                    left: names(&["b"]),
                },
                r#""changes":{"count":1,"joined":[],"left":["b"]}"#,
            ),
            (
                Notice::Stopping { retry: 2310 },
                r#""stopping":{"retry":2310}"#,
            ),
            (
                Notice::Token {
                    ttl: Some(9),
                    refused: Some("why".into()),
                },
                r#""token":{"ttl":9,"refused":"why"}"#,
            ),
        ]
    }

    #[test]
    fn notices_are_text_that_is_read_again() {
        for (notice, expected) in notices() {
            let marked = marked_notice(&notice);
            let (opcode, text) = split_server_frame(&marked).unwrap();
            assert_eq!(opcode, Opcode::Text);
            assert_eq!(text, format!("!{{{expected}}}").as_bytes());
            assert_eq!(read_marked_notice(&marked).as_ref(), Some(&notice));
            let of_body = body_notice(&notice, "r\"m");
            let (opcode, text) = split_server_frame(&of_body).unwrap();
            assert_eq!(opcode, Opcode::Text);
            let expected = format!(r#"{{"channel":"r\"m",{expected}}}"#);
            assert_eq!(text, expected.as_bytes());
            assert_eq!(read_body_notice(&of_body), Some(notice));
        }
        let gap = Notice::Gap {
            missed: 1,
            members: false,
        };
        assert_eq!(
            marked_notice(&gap),
            server_frame(Opcode::Text, LEFT_OUT.as_bytes())
        );
    }

    #[test]
    fn messages_are_no_notices() {
        for payload in [&b"=!{\"gap\":{\"missed\":1}}"[..], b"=", b""] {
            for opcode in [Opcode::Text, Opcode::Binary] {
                assert_eq!(read_marked_notice(&server_frame(opcode, payload)), None);
            }
        }
        let body = br#"{"channel":"c","gap":{"missed":1}}"#;
        assert_eq!(read_body_notice(&server_frame(Opcode::Binary, body)), None);
        assert_eq!(read_body_notice(b"\x81"), None);
    }

    #[test]
    fn tokens_are_read_from_objects_only() {
        for (json, expected) in [
            (r#"{"token":"a.b.c"}"#, Some("a.b.c")),
            (r#" {"more":[1],"token":"\u0061"} "#, Some("a")),
            (r#"{"token":""}"#, Some("")),
            (r#"{"token":7}"#, None),
            (r#"{"token":"a","token":"b"}"#, None),
            (r#"{"tokens":"a"}"#, None),
            (r#"["a"]"#, None),
            (r#"{"token":"a"}x"#, None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(read_token(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn marks_are_taken_off_once() {
        for (message, expected) in [
            (&b"=="[..], Some((Mark::Message, &b"="[..]))),
            (b"=!", Some((Mark::Message, b"!"))),
            (b"=", Some((Mark::Message, b""))),
            (b"!{}", Some((Mark::Notice, b"{}"))),
            (b"", None),
            (b"x=", None),
        ] {
            assert_eq!(split_mark(message), expected);
        }
    }
}
