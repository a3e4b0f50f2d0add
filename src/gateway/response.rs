//! Responses as the gateway makes them, and how the last one on a connection is written.

use bytes::Bytes;
use http::header::{
    ALLOW, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{Response, StatusCode};

pub(super) use crate::response::{json, problem, text, with_body};
use crate::websocket::{BadRequest, Offer, Upgrade};

/// The methods that the page has.
const PAGE_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// Creates the response that names the methods of the page, and says that all is well.
pub(super) fn no_content() -> Response<Bytes> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, PAGE_METHODS);
    response
}

/// Creates the response to a request with a method that the page does not have.
pub(super) fn bad_method() -> Response<Bytes> {
    let mut response = text(
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET, HEAD and OPTIONS are known here",
    );
    response.headers_mut().insert(ALLOW, PAGE_METHODS);
    response
}

/// Creates the response to a request that is none.
pub(super) fn bad_request(bad: &BadRequest) -> Response<Bytes> {
    let mut response = text(bad.status(), &bad.to_string());
    let headers = response.headers_mut();
    match bad {
        BadRequest::Method => _ = headers.insert(ALLOW, HeaderValue::from_static("GET")),
        BadRequest::WebSocketVersion => {
            headers.insert(UPGRADE, WEBSOCKET);
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        BadRequest::HalfAnUpgrade => _ = headers.insert(UPGRADE, WEBSOCKET),
        _ => {}
    }
    response
}

/// Creates the response that upgrades the connection to WebSocket.
pub(super) fn switching(upgrade: &Upgrade<'_>) -> Response<Bytes> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(UPGRADE, WEBSOCKET);
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(&upgrade.accept) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Offer::Ours(subprotocol) = upgrade.offer {
        let protocol = HeaderValue::from_static(subprotocol.name());
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    response
}

/// Encodes the last response in HTTP that a connection gets, without the body if it answers HEAD.
pub(super) fn encode_last(response: &Response<Bytes>, has_body: bool) -> Vec<u8> {
    let body = response.body();
    let mut out = start(response);
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        put(&mut out, &CONTENT_LENGTH, body.len().to_string().as_bytes());
        if !response.headers().contains_key(CONNECTION) {
            put(&mut out, &CONNECTION, b"close");
        }
    }
    out.extend_from_slice(b"\r\n");
    if has_body {
        out.extend_from_slice(body);
    }
    out
}

/// Encodes the head of a response whose body ends with the connection.
pub(super) fn encode_head(response: &Response<Bytes>) -> Vec<u8> {
    let mut out = start(response);
    out.extend_from_slice(b"\r\n");
    out
}

/// Encodes the status and the headers of a response, without the line that ends the head.
fn start(response: &Response<Bytes>) -> Vec<u8> {
    let status = response.status();
    // No head is longer, as a rule.
    let mut out = Vec::with_capacity(512 + response.body().len());
    for part in [
        "HTTP/1.1 ",
        status.as_str(),
        " ",
        status.canonical_reason().unwrap_or_default(),
        "\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in response.headers() {
        put(&mut out, name, value.as_bytes());
    }
    out
}

/// Appends a header.
fn put(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    put_name(out, name);
    for part in [b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends the name of a header with the capitals that it is known by: some clients know no others.
fn put_name(out: &mut Vec<u8>, name: &HeaderName) {
    let mut rest = name.as_str();
    if let Some(of_websocket) = rest.strip_prefix("sec-websocket-") {
        out.extend_from_slice(b"Sec-WebSocket-");
        rest = of_websocket;
    }
    let mut is_first = true;
    for &byte in rest.as_bytes() {
        out.push(if is_first {
            byte.to_ascii_uppercase()
        } else {
            byte
        });
        is_first = byte == b'-';
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::websocket::Subprotocol;

    fn encoded(response: &Response<Bytes>, has_body: bool) -> String {
        String::from_utf8(encode_last(response, has_body)).unwrap()
    }

    #[test]
    fn a_last_response_says_its_length_and_that_the_connection_closes() {
        let response = text(StatusCode::NOT_FOUND, "none");
        let expected = "HTTP/1.1 404 Not Found\r\n\
                        Content-Type: text/plain; charset=utf-8\r\n\
                        X-Content-Type-Options: nosniff\r\n\
                        Cache-Control: no-store\r\n\
                        Content-Length: 5\r\n\
                        Connection: close\r\n\
                        \r\n";
        assert_eq!(encoded(&response, true), format!("{expected}none\n"));
        assert_eq!(encoded(&response, false), expected);
    }

    #[test]
    fn only_a_protocol_that_was_offered_is_answered() {
        let upgrade = |offer| Upgrade {
            accept: "abc=".to_owned(),
            offer,
            origin: None,
            auth: Vec::new(),
            bearer: None,
            token: None,
        };
        let with = encoded(&switching(&upgrade(Offer::Ours(Subprotocol::Mles))), true);
        assert_eq!(
            with,
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: abc=\r\n\
             Sec-WebSocket-Protocol: mles-websocket\r\n\
             \r\n"
        );
        let resume = encoded(&switching(&upgrade(Offer::Ours(Subprotocol::Resume))), true);
        assert!(resume.contains("Protocol: mles-websocket.resume\r\n"));
        let without = encoded(&switching(&upgrade(Offer::Nothing)), true);
        assert!(!without.contains("Protocol:"));
    }

    #[test]
    fn a_response_names_what_was_missing_and_nothing_of_the_request() {
        let response = bad_request(&BadRequest::WebSocketVersion);
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()[SEC_WEBSOCKET_VERSION], "13");
        assert_eq!(response.headers()[UPGRADE], "websocket");
        let response = bad_request(&BadRequest::Header { name: "Host" });
        assert!(encoded(&response, true).ends_with("\r\n\r\nbad or missing Host header\n"));
    }
}
