//! Event streams of Mles: subscribers get messages as server-sent events. Publishers are on WebSocket with v2, on the
//! same listener.
//!
//! Payloads are no text, so they are base64 in the events.

use serde_json::Value;

use super::http::ResponseHead;
use super::notice;
use super::websocket::WebSocketAdapter;
use crate::adapter::{Adapter, Head, PositionNotice, Publication, Role, Session, WireError};

const END_OF_EVENT: &[u8] = b"\n\n";
/// What a payload is behind, in an event that is a message, and what is behind a payload.
const BEFORE_PAYLOAD: &[u8] = b"\"base64\":\"";
const AFTER_PAYLOAD: &[u8] = b"\"}\n\n";
/// Names and numbers before a payload are shorter than that.
const LONGEST_HEAD: usize = 1024;

/// Subscribes to event streams, publishes over WebSocket.
pub(super) struct EventsAdapter {
    /// Length of payloads as base64.
    payload_len: usize,
}

impl EventsAdapter {
    /// Returns an adapter for payloads of `payload_len` bytes, the only ones that are let through.
    pub(super) fn new(payload_len: usize) -> Self {
        Self {
            payload_len: 4 * payload_len.div_ceil(3),
        }
    }
}

impl Adapter for EventsAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        match session.role {
            Role::Publisher | Role::ConfirmedPublisher => {
                return WebSocketAdapter::V2.hello(session);
            }
            Role::Subscriber | Role::Member => {}
        }
        let since = session.since.map(|it| format!("Last-Event-ID: {it}\r\n"));
        let request = format!(
            "GET /channels/{}/events?uid=m{} HTTP/1.1\r\nHost: localhost\r\n\
             Accept: text/event-stream\r\n{}\r\n",
            session.channel,
            session.number,
            since.unwrap_or_default()
        );
        Ok(request.into_bytes())
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        WebSocketAdapter::V2.publication(session, payload)
    }

    /// Returns `false`: a stream goes one way.
    fn is_duplex(&self) -> bool {
        false
    }

    fn counts_positions(&self) -> bool {
        true
    }

    fn is_base64(&self) -> bool {
        true
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        match received[0] {
            b'H' => response(received),
            b'i' | b'e' | b'd' | b'r' | b':' => self.event(received),
            // What a publisher gets of others.
            _ => match WebSocketAdapter::V2.head(received)? {
                Head::Delivery {
                    head,
                    payload,
                    tail,
                } => Ok(Head::Control {
                    len: head + payload + tail,
                }),
                other => Ok(other),
            },
        }
    }

    fn pong(&self) -> &'static [u8] {
        WebSocketAdapter::V2.pong()
    }
}

impl EventsAdapter {
    /// Reads an event, or the first line of one that is a message: the position that it has.
    fn event(&self, received: &[u8]) -> Result<Head, WireError> {
        if received.starts_with(b"data:") {
            return self.message(received);
        }
        if received.starts_with(b"id:") {
            let Some(id) = first_line(received) else {
                return Ok(Head::Partial);
            };
            match received.get(id.len()) {
                None => return Ok(Head::Partial),
                Some(b'd') => return position(id),
                // The id of a notice says nothing that is not in it.
                Some(_) => {}
            }
        }
        let end = received
            .windows(END_OF_EVENT.len())
            .position(|bytes| bytes == END_OF_EVENT);
        let Some(end) = end else {
            return Ok(Head::Partial);
        };
        let len = end + END_OF_EVENT.len();
        let text = std::str::from_utf8(&received[..end]);
        let text = text.map_err(|_| WireError::unexpected(received))?;
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
        let (kind, data) = match (field("event: "), field("data: ")) {
            (None, None) => return Ok(Head::Control { len }),
            (Some("close"), why) => {
                return Err(WireError::refused(why.unwrap_or_default().as_bytes()));
            }
            (Some(kind), Some(data)) => (kind, data),
            _ => return Err(WireError::unexpected(received)),
        };
        let fields: Option<Value> = serde_json::from_str(data).ok();
        let notice = fields.and_then(|fields| notice::of_kind(kind, &fields));
        let notice = notice.ok_or_else(|| WireError::unexpected(received))?;
        Ok(notice::head(len, notice))
    }

    /// Reads what is behind the id of a message.
    fn message(&self, received: &[u8]) -> Result<Head, WireError> {
        let start = &received[..received.len().min(LONGEST_HEAD)];
        let before = start
            .windows(BEFORE_PAYLOAD.len())
            .position(|bytes| bytes == BEFORE_PAYLOAD);
        match before {
            None if received.len() < LONGEST_HEAD => Ok(Head::Partial),
            None => Err(WireError::unexpected(received)),
            Some(before) => Ok(Head::Delivery {
                head: before + BEFORE_PAYLOAD.len(),
                payload: self.payload_len,
                tail: AFTER_PAYLOAD.len(),
            }),
        }
    }
}

/// Reads the answer to a request, for a stream or for WebSocket.
fn response(received: &[u8]) -> Result<Head, WireError> {
    let Some(response) = ResponseHead::read(received)? else {
        return Ok(Head::Partial);
    };
    match response.status {
        101 => WebSocketAdapter::V2.head(received),
        200 => Ok(Head::Control { len: response.len }),
        _ => Err(response.refused(&received[response.len..])),
    }
}

/// Reads the line with the position of a message.
fn position(id: &[u8]) -> Result<Head, WireError> {
    let text = id.strip_prefix(b"id: ").map(<[u8]>::trim_ascii);
    let position = text.and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
    let position = position.ok_or_else(|| WireError::unexpected(id))?;
    Ok(Head::Notice {
        len: id.len(),
        notice: PositionNotice::Next(position),
    })
}

/// Returns the line at the start, its end included; `None` when it has not come whole.
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    Some(&bytes[..=end])
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::notice::sample_position;
    use super::super::websocket::tests::{ANSWER, binary};
    use super::*;
    use crate::adapter::{assert_scans, payload, session};

    const OK: &str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

    fn welcome() -> String {
        let before = sample_position(0);
        format!(
            "id: {before}\nevent: welcome\ndata: {{\"position\":\"{before}\",\"replay\":0,\
             \"recovered\":true,\"missed\":0}}\n\n"
        )
    }

    fn message(len: usize, sequence: u64, offset: u64) -> String {
        let base64 = STANDARD.encode(payload(len, sequence));
        let position = sample_position(offset);
        format!(
            "id: {position}\ndata: {{\"offset\":{offset},\"uid\":\"m1\",\"base64\":\"{base64}\"}}\n\n"
        )
    }

    #[test]
    fn messages_among_notices_and_comments_at_every_cut() {
        // Of the two digits that may be missing at the end of base64 none, one and two are.
        for len in [16, 17, 18] {
            let stream = [
                OK,
                &welcome(),
                &message(len, 0, 1),
                ":\n\n",
                "event: gap\ndata: {\"missed\":3}\n\n",
                "event: changes\ndata: {\"count\":2,\"joined\":[\"m2\"],\"left\":[]}\n\n",
                &message(len, 1, 5),
                &message(len, 2, 6),
            ]
            .concat();
            assert_scans(&EventsAdapter::new(len), len, stream.as_bytes(), 3, 0);
        }
    }

    #[test]
    fn a_position_that_does_not_fit_is_found_out() {
        let adapter = EventsAdapter::new(16);
        let stream = [OK, &welcome(), &message(16, 0, 2)].concat();
        let mut scanner = crate::adapter::Scanner::<crate::verify::Stamp>::default();
        let scanned = scanner.scan(&adapter, 16, stream.as_bytes(), |_| {});
        assert!(matches!(scanned, Err(WireError::Unexpected(_))));
    }

    #[test]
    fn publishers_are_on_websocket_and_what_they_get_is_drained() {
        let stream = [ANSWER, &binary(&payload(16, 0))].concat();
        assert_scans(&EventsAdapter::new(16), 16, &stream, 0, 0);
    }

    #[test]
    fn those_who_come_back_say_how_far_they_had_come() {
        let subscriber = Session {
            role: Role::Subscriber,
            since: Some(sample_position(9)),
            ..session(1)
        };
        let request = EventsAdapter::new(16).hello(&subscriber).expect("fits");
        let request = String::from_utf8_lossy(&request).into_owned();
        assert!(
            request.contains("\r\nLast-Event-ID: 000000000000abcd:9\r\n"),
            "{request}"
        );
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        let adapter = EventsAdapter::new(16);
        let closed = b"event: close\ndata: {\"reason\":\"stopping\"}\n\n".as_slice();
        for refused in [closed, b"HTTP/1.1 404 Not Found\r\n\r\n"] {
            let head = adapter.head(refused);
            assert!(matches!(head, Err(WireError::Refused(_))), "{head:?}");
        }
        for bad in [
            b"id: 9\ndata: {}\n\n".as_slice(),
            b"event: gap\ndata: {}\n\n",
        ] {
            let head = adapter.head(bad);
            assert!(matches!(head, Err(WireError::Unexpected(_))), "{head:?}");
        }
    }
}
