//! Reading a request: what is taken, and what is wrong with others.

#[cfg(test)]
mod tests;

use httparse::{EMPTY_HEADER, Header};
use thiserror::Error;

use super::response::{Response, Status};

/// Longest head of a request, in bytes.
pub(crate) const MAX_HEAD: usize = 8 << 10;
/// Most lines of headers in a request.
const MAX_HEADERS: usize = 64;

/// The methods there is an answer for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    /// As GET, but the body of the answer is left out.
    Head,
}

/// A request, borrowed from its head.
#[derive(Clone, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Begins with a slash; as it was sent, not decoded.
    pub(crate) path: &'a str,
    /// What follows the question mark, if there is one.
    pub(crate) query: Option<&'a str>,
    /// The `Host` header: a name or an address, perhaps with a port.
    pub(crate) host: &'a str,
    /// Length of the head, in bytes; what follows is no part of the request.
    pub(crate) head_len: usize,
    headers: Vec<Header<'a>>,
}

/// The request is not one that gets what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadRequest {
    /// It is not HTTP/1.
    #[error("this is no HTTP request: {0}")]
    Malformed(httparse::Error),
    /// Another version than 1.1.
    #[error("only HTTP/1.1 is spoken here")]
    Version,
    /// A method that nothing here has.
    #[error("only GET and HEAD are known here")]
    Method,
    /// The head is over [`MAX_HEAD`].
    #[error("the request has more than {MAX_HEAD} bytes")]
    TooLong,
    /// More headers than [`MAX_HEADERS`].
    #[error("the request has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    /// The target is no path.
    #[error("the target is no path in printable ASCII")]
    Target,
    /// A header that must be there once is there twice.
    #[error("more than one {name} header")]
    Duplicate {
        /// Its name.
        name: &'static str,
    },
    /// A header whose value makes no sense.
    #[error("bad or missing {name} header")]
    Header {
        /// Its name.
        name: &'static str,
    },
    /// There is a body.
    #[error("requests have no body here")]
    Body,
    /// Another version of the WebSocket protocol.
    #[error("only version 13 of WebSocket is spoken here")]
    WebSocketVersion,
    /// `auth` in the query is not made of numbers in hex, or has too many.
    #[error("auth must be a few numbers of 1 to 16 hex digits")]
    Auth,
}

impl BadRequest {
    /// The status of the answer.
    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Version => Status::VERSION_NOT_SUPPORTED,
            Self::Method => Status::METHOD_NOT_ALLOWED,
            Self::TooLong | Self::TooManyHeaders => Status::HEADERS_TOO_LARGE,
            Self::WebSocketVersion => Status::UPGRADE_REQUIRED,
            Self::Malformed(_)
            | Self::Target
            | Self::Duplicate { .. }
            | Self::Header { .. }
            | Self::Body
            | Self::Auth => Status::BAD_REQUEST,
        }
    }

    /// The whole answer.
    pub(crate) fn response(&self) -> Vec<u8> {
        let headers: &[_] = match self {
            Self::Method => &[("Allow", "GET, HEAD")],
            Self::WebSocketVersion => &[("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")],
            _ => &[],
        };
        Response::text(self.status(), headers, &format!("{self}\n"))
    }
}

/// Reads the head of a request at the start of `buf`; `None` while it is not there as a whole. To be
/// asked again when more has come, but not for every byte: it begins from the start.
///
/// # Errors
///
/// See [`BadRequest`]; most are told before the head is whole.
pub(crate) fn parse(buf: &[u8]) -> Result<Option<Request<'_>>, BadRequest> {
    let head = &buf[..buf.len().min(MAX_HEAD)];
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed.parse(head).map_err(|error| match error {
        httparse::Error::TooManyHeaders => BadRequest::TooManyHeaders,
        httparse::Error::Version => BadRequest::Version,
        error => BadRequest::Malformed(error),
    })?;
    // These may be known although the head is not whole.
    let method = parsed.method.map(method).transpose()?;
    if parsed.version.is_some_and(|minor| minor != 1) {
        return Err(BadRequest::Version);
    }
    let (httparse::Status::Complete(head_len), Some(method)) = (status, method) else {
        return if head.len() < MAX_HEAD {
            Ok(None)
        } else {
            Err(BadRequest::TooLong)
        };
    };
    let (path, query) = target(parsed.path.unwrap_or_default())?;
    let mut request = Request {
        method,
        path,
        query,
        host: "",
        head_len,
        headers: parsed.headers.to_vec(),
    };
    request.host = request
        .only("Host")?
        .filter(|host| is_host(host))
        .ok_or(BadRequest::Header { name: "Host" })?;
    request.refuse_body()?;
    Ok(Some(request))
}

fn method(name: &str) -> Result<Method, BadRequest> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        _ => Err(BadRequest::Method),
    }
}

/// Splits the target into path and query.
fn target(target: &str) -> Result<(&str, Option<&str>), BadRequest> {
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(BadRequest::Target);
    }
    Ok(target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query))))
}

/// Whether it may be a host with or without a port. It is only ever compared.
fn is_host(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_part)
}

impl<'a> Request<'a> {
    /// The values of all headers of that name; those that are not ASCII are empty.
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| text(header.value).unwrap_or_default())
    }

    /// The value of the only header of that name, if there is one.
    pub(super) fn only(&self, name: &'static str) -> Result<Option<&'a str>, BadRequest> {
        let mut found = self
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        let Some(first) = found.next() else {
            return Ok(None);
        };
        if found.next().is_some() {
            return Err(BadRequest::Duplicate { name });
        }
        let value = text(first.value).ok_or(BadRequest::Header { name })?;
        Ok(Some(value))
    }

    fn refuse_body(&self) -> Result<(), BadRequest> {
        let length = self.only("Content-Length")?;
        let coding = self.all("Transfer-Encoding").next();
        if length.is_some_and(|length| length != "0") || coding.is_some() {
            return Err(BadRequest::Body);
        }
        Ok(())
    }
}

fn text(value: &[u8]) -> Option<&str> {
    let value = std::str::from_utf8(value).ok()?;
    value.is_ascii().then(|| value.trim_ascii())
}
