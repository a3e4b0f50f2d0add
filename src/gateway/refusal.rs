//! Words for refusals: the statuses and reasons that HTTP clients get.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use super::response::{bad_request, text};
use crate::access::{Denied, TokenError};
use crate::shard::drain::retry_after;
use crate::shard::farewell::{STOPPING, too_often};
use crate::shard::limits::TooOften;
use crate::shard::refusal::{NO_MEMORY_FOR_REQUEST, Refusal};
use crate::websocket::BadRequest;

/// The scheme of keys, which has to be named where one is missing or wrong (RFC 9110, 11.6.1).
pub(super) const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// Reason for which a request is refused.
#[derive(Debug)]
pub(super) enum Rejection {
    /// It is not as HTTP, or an upgrade, should be.
    Bad(BadRequest),
    /// It may not have it, or there is no room.
    Refused(Refusal),
}

impl Rejection {
    /// Returns the response that says so.
    pub(super) fn response(&self) -> Response<Bytes> {
        match self {
            Self::Bad(bad) => bad_request(bad),
            Self::Refused(refusal) => {
                let (status, reason) = for_http(refusal);
                let mut response = text(status, &reason);
                let headers = response.headers_mut();
                match status {
                    StatusCode::UNAUTHORIZED => _ = headers.insert(WWW_AUTHENTICATE, BEARER),
                    StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                        headers.insert(RETRY_AFTER, retry_seconds(refusal));
                    }
                    _ => {}
                }
                response
            }
        }
    }

    /// Returns what is counted and logged of it.
    pub(super) fn into_refusal(self) -> Refusal {
        match self {
            Self::Bad(bad) => Refusal::Fault(bad.to_string()),
            Self::Refused(refusal) => refusal,
        }
    }
}

impl From<BadRequest> for Rejection {
    fn from(bad: BadRequest) -> Self {
        Self::Bad(bad)
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Returns the seconds after which it is worth trying again what was refused. Those whom a stop has refused come back one
/// after the other.
pub(super) fn retry_seconds(refusal: &Refusal) -> HeaderValue {
    match refusal {
        Refusal::Stopping => retry_after().div_ceil(1000).into(),
        Refusal::TooOften(TooOften { wait, .. }) | Refusal::Banned(wait) => {
            (wait.as_secs() + 1).into()
        }
        _ => HeaderValue::from_static("1"),
    }
}

/// Returns the status of the answer to an HTTP client, and the reason in it.
pub(super) fn for_http(refusal: &Refusal) -> (StatusCode, Cow<'static, str>) {
    let (status, reason) = match refusal {
        Refusal::Denied(denied) => {
            let status = match denied {
                Denied::Token(TokenError::Subject) => StatusCode::FORBIDDEN,
                Denied::WrongSecret | Denied::Token(_) => StatusCode::UNAUTHORIZED,
                Denied::Host { .. } => StatusCode::MISDIRECTED_REQUEST,
                _ => StatusCode::FORBIDDEN,
            };
            return (status, denied.reason().into());
        }
        Refusal::Fault(why) => return (StatusCode::BAD_REQUEST, why.clone().into()),
        Refusal::OtherContent => (
            StatusCode::UNPROCESSABLE_ENTITY,
            "this Idempotency-Key was used with another body: a repeat has the same body, and another message another key",
        ),
        Refusal::TooLarge { .. } => {
            return (StatusCode::PAYLOAD_TOO_LARGE, refusal.to_string().into());
        }
        Refusal::TooSlow { .. } | Refusal::Idle => (StatusCode::REQUEST_TIMEOUT, "too slow"),
        Refusal::LimitReached(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many connections from your address",
        ),
        Refusal::TooOften(TooOften { wait, .. }) | Refusal::Banned(wait) => {
            let reason = too_often(refusal, *wait);
            return (StatusCode::TOO_MANY_REQUESTS, reason.into());
        }
        Refusal::Overdrawn => (StatusCode::SERVICE_UNAVAILABLE, NO_MEMORY_FOR_REQUEST),
        Refusal::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the members of the channel are behind",
        ),
        Refusal::Stopping => (StatusCode::SERVICE_UNAVAILABLE, STOPPING),
        Refusal::Unwritten(_) | Refusal::Undecided(_) | Refusal::CutOff | Refusal::Unordered => {
            return (StatusCode::SERVICE_UNAVAILABLE, refusal.to_string().into());
        }
        Refusal::PlaceUnknown => return (StatusCode::CONFLICT, refusal.to_string().into()),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the request failed"),
    };
    (status, reason.into())
}
