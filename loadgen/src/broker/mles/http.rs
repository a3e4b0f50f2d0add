//! Mles over HTTP: messages are published with requests, one after the other on a connection that is kept open.
//! Subscribers are on WebSocket, on the same listener.
//!
//! A request has the headers that HTTP/1.1 and the server need, and no others: those that libraries add are a matter
//! of the library.

use super::websocket::WebSocketAdapter;
use crate::adapter::{Adapter, Head, Publication, Role, Session, WireError, decimal, line};

/// The end of the head of a request or response.
pub(super) const END_OF_HEAD: &[u8] = b"\r\n\r\n";
/// Statuses of a response to a message that was taken.
const PUBLISHED: [u16; 2] = [200, 201];

/// Publishes over HTTP, subscribes over WebSocket with v2.
pub(super) struct HttpAdapter;

impl Adapter for HttpAdapter {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        match session.role {
            Role::Publisher | Role::ConfirmedPublisher => Ok(Vec::new()),
            Role::Subscriber | Role::Member => WebSocketAdapter::V2.hello(session),
        }
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        let head = format!(
            "POST /channels/{}/messages HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {}\r\n\r\n",
            session.channel,
            payload.len()
        );
        Ok(Publication {
            payload_at: head.len(),
            bytes: [head.as_bytes(), payload].concat(),
        })
    }

    /// Returns `false`: requests and WebSocket take connections of their own.
    fn is_duplex(&self) -> bool {
        false
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        // No frame begins with the H of HTTP.
        if received[0] != b'H' {
            return WebSocketAdapter::V2.head(received);
        }
        let Some(response) = ResponseHead::read(received)? else {
            return Ok(Head::Partial);
        };
        if response.status == 101 {
            return WebSocketAdapter::V2.head(received);
        }
        let len = response.len.saturating_add(response.body_len);
        match received.get(response.len..len) {
            None => Ok(Head::Partial),
            Some(_) if PUBLISHED.contains(&response.status) => Ok(Head::Confirm { len }),
            Some(why) => Err(response.refused(why)),
        }
    }

    fn pong(&self) -> &'static [u8] {
        WebSocketAdapter::V2.pong()
    }
}

/// The head of a response, as far as it matters here.
pub(super) struct ResponseHead<'a> {
    line: &'a [u8],
    pub(super) status: u16,
    /// Length of the head.
    pub(super) len: usize,
    /// What `Content-Length` says; 0 where there is none.
    body_len: usize,
}

impl<'a> ResponseHead<'a> {
    /// Returns the head at the start of `received`; `None` when it has not come whole.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn read(received: &'a [u8]) -> Result<Option<Self>, WireError> {
        let end = received
            .windows(END_OF_HEAD.len())
            .position(|bytes| bytes == END_OF_HEAD);
        let Some(end) = end else {
            return Ok(None);
        };
        let len = end + END_OF_HEAD.len();
        let head = &received[..len];
        let first = line(head).unwrap_or_default();
        let status = first.strip_prefix(b"HTTP/1.1 ").and_then(|it| it.get(..3));
        let status = status.and_then(decimal).and_then(|it| it.try_into().ok());
        Ok(Some(Self {
            line: first,
            status: status.ok_or_else(|| WireError::unexpected(received))?,
            len,
            body_len: content_length(&head[first.len()..])
                .ok_or_else(|| WireError::unexpected(received))?,
        }))
    }

    /// Returns the error for a response that says no, with the start of its body.
    pub(super) fn refused(&self, body: &[u8]) -> WireError {
        let start = &body[..body.len().min(200)];
        WireError::refused(&[self.line.trim_ascii(), b" ", start].concat())
    }
}

/// Returns the length of the body that follows these headers, 0 where they do not tell; `None` if it is no number.
fn content_length(mut headers: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    while let Some(header) = line(headers) {
        let (name, value) = header.split_at(NAME.len().min(header.len()));
        if name.eq_ignore_ascii_case(NAME) {
            return decimal(value.trim_ascii());
        }
        headers = &headers[header.len()..];
    }
    Some(0)
}

#[cfg(test)]
mod tests {
    use super::super::websocket::tests::{ANSWER, binary};
    use super::*;
    use crate::adapter::{Scanner, assert_scans, payload, session};
    use crate::verify::Stamp;

    const CREATED: &[u8] = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n\
        Content-Length: 25\r\n\r\n{\"position\":\"0123456:1\"}\n";

    #[test]
    fn responses_confirm_messages_at_every_cut() {
        let stream = [CREATED, CREATED, CREATED].concat();
        assert_scans(&HttpAdapter, 16, &stream, 0, 0);
        let mut scanner = Scanner::<Stamp>::default();
        scanner
            .scan(&HttpAdapter, 16, &stream, |_| {})
            .expect("well formed");
        assert_eq!(scanner.confirmed(), 3);
    }

    #[test]
    fn subscribers_are_on_websocket() {
        let stream = [ANSWER, &binary(&payload(16, 0)), &binary(&payload(16, 1))].concat();
        assert_scans(&HttpAdapter, 16, &stream, 2, 0);
    }

    #[test]
    fn a_message_is_the_body_of_a_request() {
        let publication = HttpAdapter.publication(&session(1), &payload(16, 7));
        let Publication { bytes, payload_at } = publication.expect("fits");
        assert_eq!(bytes[payload_at..], payload(16, 7));
        let head = String::from_utf8_lossy(&bytes[..payload_at]);
        assert!(
            head.starts_with("POST /channels/lg.0/messages HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.ends_with("\r\nContent-Length: 16\r\n\r\n"), "{head}");
    }

    #[test]
    fn refusals_and_nonsense_are_told_apart() {
        let refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 8\r\n\r\nno right";
        match HttpAdapter.head(refused) {
            Err(WireError::Refused(why)) => {
                assert!(why.ends_with("403 Forbidden no right"), "{why}")
            }
            other => panic!("{other:?}"),
        }
        for bad in [
            b"HTTP/1.0 201 Created\r\n\r\n".as_slice(),
            b"HTTP/1.1 2o1 Created\r\n\r\n",
            b"HTTP/1.1 201 Created\r\nContent-Length: many\r\n\r\n",
        ] {
            let head = HttpAdapter.head(bad);
            assert!(matches!(head, Err(WireError::Unexpected(_))), "{head:?}");
        }
    }
}
