//! A client of the admin listener: one connection for each question.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::error::AdminError;
use super::io::ClientIo;

/// Time that connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// Time that an answer may take.
const ANSWER: Duration = Duration::from_secs(15);
/// Most bytes of an answer.
const MAX_BODY: usize = 64 << 20;
/// The type of a body that says why a request was refused.
const PROBLEM: &str = "application/problem+json";

/// The place of an admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct AdminPlace {
    /// Host and port, as they are connected to and sent.
    authority: String,
    /// Prefix of all paths, for an admin listener that is reached through a proxy.
    prefix: String,
}

impl FromStr for AdminPlace {
    type Err = AdminError;

    fn from_str(value: &str) -> Result<Self, AdminError> {
        let wrong = |reason| AdminError::Address {
            value: value.to_owned(),
            reason,
        };
        let url = if value.contains("://") {
            value.to_owned()
        } else {
            format!("http://{value}")
        };
        let expected = "HOST:PORT or http://HOST:PORT is expected";
        let uri: Uri = url.parse().map_err(|_| wrong(expected))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong(
                "it speaks plain HTTP; from elsewhere, reach it through a tunnel",
            ));
        }
        let authority = uri.authority().ok_or_else(|| wrong(expected))?;
        let is_whole = authority.port_u16().is_some_and(|port| port > 0)
            && !authority.host().is_empty()
            && !authority.as_str().contains('@')
            && uri.query().is_none();
        if !is_whole {
            return Err(wrong(expected));
        }
        Ok(Self {
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

/// Asks the admin listener of a server.
#[derive(Debug)]
pub(in crate::cli) struct AdminClient {
    place: AdminPlace,
    token: Option<String>,
    runtime: Runtime,
}

/// Reason for which a request was refused.
#[derive(Deserialize)]
struct ProblemBody {
    title: Option<String>,
    detail: Option<String>,
}

impl AdminClient {
    /// Creates a client of the admin listener at `place`.
    ///
    /// # Errors
    ///
    /// When there is no runtime to be had.
    pub(super) fn new(place: AdminPlace, token: Option<String>) -> Result<Self, AdminError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            place,
            token,
            runtime: runtime.map_err(AdminError::Start)?,
        })
    }

    /// Returns the host and port of the listener.
    pub(in crate::cli) fn place(&self) -> &str {
        &self.place.authority
    }

    /// Returns what there is at a path below `/api/`.
    ///
    /// # Errors
    ///
    /// When the server cannot be asked, says no, or answers something else.
    pub(in crate::cli) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        let body = self.ask(&Method::GET, &format!("/api/{path}"))?;
        self.parse(&body)
    }

    /// Has something done, and returns what came of it.
    ///
    /// # Errors
    ///
    /// Like [`Self::get`].
    pub(in crate::cli) fn act<T: DeserializeOwned>(&self, path: &str) -> Result<T, AdminError> {
        let body = self.ask(&Method::POST, &format!("/api/{path}"))?;
        self.parse(&body)
    }

    /// Returns `None` if all is well at a path for probes, else the reasons why not.
    ///
    /// # Errors
    ///
    /// When the server cannot be asked.
    pub(in crate::cli) fn ailment(&self, path: &str) -> Result<Option<String>, AdminError> {
        let (response, body) = self.send(&Method::GET, path)?;
        match response.status() {
            status if status.is_success() => Ok(None),
            StatusCode::SERVICE_UNAVAILABLE => {
                let reasons = String::from_utf8_lossy(&body);
                let reasons: Vec<_> = reasons.lines().map(str::trim).collect();
                Ok(Some(reasons.join(", ")))
            }
            _ => Err(self.refusal(&response, &body)),
        }
    }

    /// Reads an answer, which may be that of a server of another version.
    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AdminError> {
        serde_json::from_slice(body).map_err(|source| match source.classify() {
            Category::Data => AdminError::Unknown {
                place: self.place.authority.clone(),
                source,
            },
            _ => self.foreign(),
        })
    }

    fn foreign(&self) -> AdminError {
        AdminError::Foreign(self.place.authority.clone())
    }

    fn ask(&self, method: &Method, path: &str) -> Result<Bytes, AdminError> {
        let (response, body) = self.send(method, path)?;
        if response.status().is_success() {
            return Ok(body);
        }
        Err(self.refusal(&response, &body))
    }

    /// Sends a request, and returns the answer and its body.
    fn send(&self, method: &Method, path: &str) -> Result<(Response<()>, Bytes), AdminError> {
        let exchange = async {
            let connecting = TcpStream::connect(self.place.authority.as_str());
            let connect_failed = |source| AdminError::Connect {
                place: self.place.authority.clone(),
                source,
            };
            let stream = timeout(CONNECT, connecting)
                .await
                .map_err(|_| connect_failed(io::ErrorKind::TimedOut.into()))?
                .map_err(connect_failed)?;
            timeout(ANSWER, self.exchange(stream, method, path))
                .await
                .map_err(|_| AdminError::TimedOut(self.place.authority.clone()))?
                .ok_or_else(|| self.foreign())
        };
        self.runtime.block_on(exchange)
    }

    /// Returns the answer to a request; `None` if there is none that is HTTP.
    async fn exchange(
        &self,
        stream: TcpStream,
        method: &Method,
        path: &str,
    ) -> Option<(Response<()>, Bytes)> {
        let uri = format!("{}{path}", self.place.prefix);
        let mut request = Request::builder().method(method).uri(uri);
        request = request.header(HOST, &self.place.authority);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        let (mut sender, connection) = http1::handshake(ClientIo(stream)).await.ok()?;
        let answered = async {
            let response = sender.send_request(request).await.ok()?;
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, MAX_BODY).collect().await.ok()?;
            Some((Response::from_parts(parts, ()), body.to_bytes()))
        };
        let mut answered = std::pin::pin!(answered);
        tokio::select! {
            biased;
            answer = &mut answered => answer,
            // The end of the connection may be the end of the answer.
            _ = connection => answered.await,
        }
    }

    /// Returns what an answer that is no success says.
    fn refusal(&self, response: &Response<()>, body: &[u8]) -> AdminError {
        let status = response.status();
        let kind = response.headers().get(CONTENT_TYPE);
        let is_problem = kind.is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM.as_bytes()));
        let problem = serde_json::from_slice::<ProblemBody>(body);
        let (true, Ok(problem)) = (is_problem, problem) else {
            return self.foreign();
        };
        if status == StatusCode::UNAUTHORIZED {
            return AdminError::Token {
                place: self.place.authority.clone(),
                is_shown: self.token.is_some(),
            };
        }
        let detail = problem.detail.or(problem.title);
        AdminError::Refused {
            status,
            detail: detail.unwrap_or_else(|| status.to_string()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_host_and_a_port() {
        for (value, authority, prefix) in [
            ("127.0.0.1:8078", "127.0.0.1:8078", ""),
            ("[::1]:8078", "[::1]:8078", ""),
            ("broker.example:80", "broker.example:80", ""),
            ("http://localhost:8078/", "localhost:8078", ""),
            ("http://proxy.example:80/mles/", "proxy.example:80", "/mles"),
        ] {
            let place: AdminPlace = value.parse().unwrap();
            assert_eq!((&*place.authority, &*place.prefix), (authority, prefix));
        }
    }

    #[test]
    fn what_is_no_place_is_told_in_one_line() {
        for value in [
            "",
            "localhost",
            ":8078",
            "127.0.0.1:",
            "127.0.0.1:0",
            "127.0.0.1:99999",
            "a b:1",
            "https://localhost:8078",
            "http://user@host:1",
            "http://host:1/?x",
            "::1:8078/x y",
        ] {
            let error = value.parse::<AdminPlace>().unwrap_err().to_string();
            assert!(error.contains("is not an admin listener"), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
