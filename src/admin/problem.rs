//! Why a request does not get what it asks for.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::response::problem;
use crate::websocket::BadRequest;

/// Reason for which a request is refused; answered as RFC 9457 has it.
#[derive(Debug)]
pub(super) struct AdminProblem {
    status: StatusCode,
    detail: Cow<'static, str>,
    /// The methods that there are, if that is what is wrong.
    allow: Option<&'static str>,
}

impl AdminProblem {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            allow: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Returns the problem that a shard does not answer in time.
    pub(super) fn unanswered(shard: usize) -> Self {
        let detail = format!("shard {shard} does not answer");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Returns the problem that the resource has other methods only.
    pub(super) fn bad_method(allow: &'static str) -> Self {
        let detail = format!("the methods here are {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    /// Returns the response that says so.
    pub(super) fn response(&self) -> Response<Bytes> {
        let mut response = problem(self.status, &self.detail, None);
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        // Who guesses has to connect for each guess.
        if matches!(self.status.as_u16(), 401 | 403 | 421) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<BadRequest> for AdminProblem {
    fn from(bad: BadRequest) -> Self {
        Self::new(bad.status(), bad.to_string())
    }
}
