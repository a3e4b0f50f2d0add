//! Errors of the API, as RFC 9457 has them.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Response, StatusCode};

use crate::access::Denied;
use crate::gateway::refusal::{BEARER, for_http, retry_seconds};
use crate::gateway::response::problem;
use crate::shard::limits::LimitReached;
use crate::shard::refusal::Refusal;
use crate::websocket::BadRequest;

/// Reason for which a request to the API is refused.
#[derive(Debug)]
pub(super) struct ApiProblem {
    status: StatusCode,
    detail: Cow<'static, str>,
    /// Number of the line that is wrong, from 1, in a body of lines.
    line: Option<usize>,
    /// The methods that there are, if that is what is wrong.
    allow: Option<&'static str>,
    /// Reason as it is counted and logged, where that has more than the client is told.
    refusal: Option<Box<Refusal>>,
}

impl ApiProblem {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            line: None,
            allow: None,
            refusal: None,
        }
    }

    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Returns the problem that the client shows no key where one is needed.
    pub(super) fn no_key(denied: Denied) -> Self {
        let detail = "a key is needed: Authorization: Bearer KEY, or ?auth= with the hash of key, uid \
                      and channel";
        let mut problem = Self::new(StatusCode::UNAUTHORIZED, detail);
        problem.refusal = Some(Box::new(denied.into()));
        problem
    }

    /// Returns the problem that the resource has other methods only.
    pub(super) fn bad_method(allow: &'static str) -> Self {
        let detail = format!("the methods here are {allow}");
        Self {
            allow: Some(allow),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, detail)
        }
    }

    /// Names the line of the body that is wrong.
    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.detail = format!("line {line}: {}", self.detail).into();
        self.line = Some(line);
        self
    }

    /// Returns the response that says so.
    pub(super) fn response(&self) -> Response<Bytes> {
        let mut response = problem(self.status, &self.detail, self.line);
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => _ = headers.insert(WWW_AUTHENTICATE, BEARER),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, self.retry_seconds());
            }
            _ => {}
        }
        // Who guesses has to connect for each guess. Who is only too fast should not make it worse by connecting.
        let is_too_often = matches!(self.refusal.as_deref(), Some(Refusal::TooOften(_)));
        if matches!(self.status.as_u16(), 401 | 403 | 421 | 429) && !is_too_often {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }

    /// Returns the seconds after which it is worth trying again.
    fn retry_seconds(&self) -> HeaderValue {
        let seconds = self.refusal.as_deref().map(retry_seconds);
        seconds.unwrap_or(HeaderValue::from_static("1"))
    }

    /// Returns what is counted and logged. That something is not there is nothing to log.
    pub(super) fn into_refusal(self) -> Option<Refusal> {
        if matches!(
            self.status,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
        ) {
            return None;
        }
        let fault = || Refusal::Fault(self.detail.into_owned());
        Some(self.refusal.map_or_else(fault, |refusal| *refusal))
    }
}

impl From<Refusal> for ApiProblem {
    fn from(refusal: Refusal) -> Self {
        let (status, reason) = match &refusal {
            Refusal::Denied(Denied::NameTooLong { .. }) => {
                (StatusCode::BAD_REQUEST, refusal.to_string().into())
            }
            Refusal::LimitReached(LimitReached::Address) => {
                let (_, reason) = for_http(&refusal);
                (StatusCode::TOO_MANY_REQUESTS, reason)
            }
            Refusal::TooManyChannels => (
                StatusCode::SERVICE_UNAVAILABLE,
                "the server has too many channels".into(),
            ),
            Refusal::LimitReached(full) | Refusal::LetGo(full) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the server is at its limit ({})", full.limit()).into(),
            ),
            other => for_http(other),
        };
        Self {
            refusal: Some(Box::new(refusal)),
            ..Self::new(status, reason)
        }
    }
}

impl From<Denied> for ApiProblem {
    fn from(denied: Denied) -> Self {
        Refusal::from(denied).into()
    }
}

impl From<BadRequest> for ApiProblem {
    fn from(bad: BadRequest) -> Self {
        Self::new(bad.status(), bad.to_string())
    }
}
