//! Responses to HTTP requests that the gateway and the admin listener make alike.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};
use serde::Serialize;

/// The type of a body that tells what is wrong, as RFC 9457 has it.
const PROBLEM: &str = "application/problem+json";

/// Creates a response with a body, which nobody may store, nor take for anything but its type.
pub(crate) fn with_body(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers: [(HeaderName, &str); 3] = [
        (CONTENT_TYPE, content_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Creates a response of plain text, which gets its line end here.
pub(crate) fn text(status: StatusCode, text: &str) -> Response<Bytes> {
    with_body(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// Creates a response of JSON, which ends with a line end for terminals. For structs of ours, which never fail to be
/// encoded.
pub(crate) fn json(
    status: StatusCode,
    content_type: &'static str,
    value: &impl Serialize,
) -> Response<Bytes> {
    let mut body = serde_json::to_vec(value).unwrap_or_default();
    body.push(b'\n');
    with_body(status, content_type, body)
}

/// Creates a response that tells what is wrong, and in which line of a body of lines if `line` says so, counted from 1.
pub(crate) fn problem(status: StatusCode, detail: &str, line: Option<usize>) -> Response<Bytes> {
    /// A problem as it is encoded. Its type says no more than the status.
    #[derive(Serialize)]
    struct EncodedProblem<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        title: &'a str,
        status: u16,
        detail: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<usize>,
    }

    let encoded = EncodedProblem {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or_default(),
        status: status.as_u16(),
        detail,
        line,
    };
    json(status, PROBLEM, &encoded)
}
