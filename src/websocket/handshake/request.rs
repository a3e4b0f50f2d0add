//! Reads requests: those that are taken, and the faults of others.

#[cfg(test)]
mod tests;

use http::request::Parts;
use http::{Method, StatusCode, Uri, Version};
use httparse::{EMPTY_HEADER, Header};
use thiserror::Error;

/// Longest head of a request, in bytes: 32 KiB of cookies, which on `localhost` are those of every
/// program there, and the rest.
pub(crate) const MAX_HEAD: usize = 40 << 10;
/// Most lines of headers in a request.
const MAX_HEADERS: usize = 100;
/// First bytes of PROXY headers of version 1 and version 2.
const PROXY_HEADERS: [&[u8]; 2] = [b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n"];

/// A request, borrowed from its head.
#[derive(Clone, Debug)]
pub(crate) struct HttpRequest<'a> {
    pub(crate) method: Method,
    /// Spoken by health checks and by proxies that were not told otherwise. It has no upgrades.
    is_http_1_0: bool,
    /// Begins with a slash, or is `*`; as it was sent, not decoded.
    pub(crate) path: &'a str,
    /// The part behind the question mark, if there is one.
    pub(crate) query: Option<&'a str>,
    /// The host of the target or the `Host` header: a name or an address, perhaps with a port. Empty
    /// in a request of HTTP/1.0 that has neither.
    pub(crate) host: &'a str,
    headers: Vec<Header<'a>>,
}

/// Reason for which a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadRequest {
    /// It is not HTTP/1.
    #[error("not an HTTP request: {0}")]
    Malformed(httparse::Error),
    /// Another version than 1.0 and 1.1.
    #[error("only HTTP/1.1 and 1.0 are supported")]
    Version,
    /// A PROXY header where none is expected.
    #[error(
        "unexpected PROXY header: this listener accepts none from there (proxy_protocol, trusted_proxies)"
    )]
    ProxyHeader,
    /// An upgrade with another method than GET.
    #[error("a WebSocket upgrade must be a GET request")]
    Method,
    /// The head is over [`MAX_HEAD`].
    #[error("the request has more than {MAX_HEAD} bytes")]
    TooLong,
    /// More headers than [`MAX_HEADERS`].
    #[error("the request has more than {MAX_HEADERS} headers")]
    TooManyHeaders,
    /// The target is no path.
    #[error("the target is not a path in printable ASCII")]
    RequestTarget,
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
    /// An upgrade with a body.
    #[error("a WebSocket upgrade must have no body")]
    Body,
    /// An upgrade over HTTP/1.0.
    #[error("WebSocket needs HTTP/1.1; configure the proxy for it (nginx: proxy_http_version 1.1)")]
    OldUpgrade,
    /// Headers of an upgrade without those that ask for it.
    #[error(
        "WebSocket needs the headers Connection: Upgrade and Upgrade: websocket; a proxy \
         must pass them on"
    )]
    HalfAnUpgrade,
    /// Another version of the WebSocket protocol.
    #[error("only version 13 of WebSocket is supported")]
    WebSocketVersion,
    /// `auth` in the query is not made of numbers in hex, or has too many.
    #[error("each auth must have 1 to 16 hex digits")]
    Auth,
    /// Several tokens in the query.
    #[error("more than one token")]
    Token,
}

impl BadRequest {
    /// Returns the status of the answer.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Version | Self::OldUpgrade => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLong | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::WebSocketVersion | Self::HalfAnUpgrade => StatusCode::UPGRADE_REQUIRED,
            Self::Malformed(_)
            | Self::ProxyHeader
            | Self::RequestTarget
            | Self::Duplicate { .. }
            | Self::Header { .. }
            | Self::Body
            | Self::Auth
            | Self::Token => StatusCode::BAD_REQUEST,
        }
    }
}

/// Reads the head of a request at the start of `buf`, and returns it with its length; `None` while it is not
/// there as a whole. To be asked again when more has come, but not for every byte: it begins from the start.
///
/// # Errors
///
/// See [`BadRequest`]; most are told before the head is whole.
pub(crate) fn parse(buf: &[u8]) -> Result<Option<(HttpRequest<'_>, usize)>, BadRequest> {
    if PROXY_HEADERS.iter().any(|header| buf.starts_with(header)) {
        return Err(BadRequest::ProxyHeader);
    }
    let head = &buf[..buf.len().min(MAX_HEAD)];
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let status = parsed.parse(head).map_err(|error| match error {
        httparse::Error::TooManyHeaders => BadRequest::TooManyHeaders,
        httparse::Error::Version => BadRequest::Version,
        error => BadRequest::Malformed(error),
    })?;
    let (httparse::Status::Complete(head_len), Some(method)) = (status, parsed.method) else {
        return if head.len() < MAX_HEAD {
            Ok(None)
        } else {
            Err(BadRequest::TooLong)
        };
    };
    let method = Method::from_bytes(method.as_bytes());
    let method = method.map_err(|_| BadRequest::Malformed(httparse::Error::Token))?;
    let target = target(parsed.path.unwrap_or_default(), &method)?;
    let is_http_1_0 = parsed.version == Some(0);
    let headers = parsed.headers.to_vec();
    let request = HttpRequest::new(method, target, is_http_1_0, headers)?;
    Ok(Some((request, head_len)))
}

/// The target of a request.
struct RequestTarget<'a> {
    /// The host, if it is not in a header.
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

/// Takes a target apart: a path, a whole address as a client gives it to a proxy, or `*` for OPTIONS.
fn target<'a>(target: &'a str, method: &Method) -> Result<RequestTarget<'a>, BadRequest> {
    let (authority, rest) = match target.split_once("://") {
        Some((scheme, rest)) if is_web(scheme) => {
            let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            (Some(authority), rest)
        }
        _ => (None, target),
    };
    let (path, query) = rest
        .split_once('?')
        .map_or((rest, None), |(path, query)| (path, Some(query)));
    RequestTarget {
        authority,
        path,
        query,
    }
    .checked(method)
}

impl<'a> RequestTarget<'a> {
    /// Takes the target of a request that a library has read apart.
    fn of_uri(uri: &'a Uri, method: &Method) -> Result<Self, BadRequest> {
        let authority = uri.authority().map(http::uri::Authority::as_str);
        match (uri.scheme_str(), authority) {
            (Some(scheme), Some(_)) if is_web(scheme) => {}
            (None, None) => {}
            _ => return Err(BadRequest::RequestTarget),
        }
        let target = Self {
            authority,
            path: uri.path(),
            query: uri.query(),
        };
        target.checked(method)
    }

    fn checked(mut self, method: &Method) -> Result<Self, BadRequest> {
        let is_printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        self.path = match self.path {
            "" if self.authority.is_some() => "/",
            "*" if *method == Method::OPTIONS => self.path,
            path if path.starts_with('/') && is_printable(path) => path,
            _ => return Err(BadRequest::RequestTarget),
        };
        if self.query.is_none_or(is_printable) {
            Ok(self)
        } else {
            Err(BadRequest::RequestTarget)
        }
    }
}

fn is_web(scheme: &str) -> bool {
    ["http", "https", "ws", "wss"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

/// Returns `true` if it may be a host with or without a port. It is only ever compared.
fn is_host(host: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte);
    !host.is_empty() && host.bytes().all(is_part)
}

impl<'a> HttpRequest<'a> {
    fn new(
        method: Method,
        target: RequestTarget<'a>,
        is_http_1_0: bool,
        headers: Vec<Header<'a>>,
    ) -> Result<Self, BadRequest> {
        let mut request = Self {
            method,
            is_http_1_0,
            path: target.path,
            query: target.query,
            host: "",
            headers,
        };
        request.host = request.find_host(target.authority)?;
        Ok(request)
    }

    /// Returns a request that a library has read, after the checks that [`parse`] makes.
    ///
    /// # Errors
    ///
    /// Its target or its host is bad.
    pub(crate) fn of_parts(parts: &'a Parts) -> Result<Self, BadRequest> {
        let target = RequestTarget::of_uri(&parts.uri, &parts.method)?;
        let headers = parts.headers.iter().map(|(name, value)| Header {
            name: name.as_str(),
            value: value.as_bytes(),
        });
        let is_http_1_0 = parts.version == Version::HTTP_10;
        Self::new(parts.method.clone(), target, is_http_1_0, headers.collect())
    }

    /// Returns the values of `X-Forwarded-For`, which proxies add to.
    pub(crate) fn forwarded_for(&self) -> impl DoubleEndedIterator<Item = &'a str> {
        self.all("X-Forwarded-For")
    }

    /// Returns the values of all headers of that name; those that are not ASCII are empty.
    pub(super) fn all(&self, name: &'static str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| text(header.value).unwrap_or_default())
    }

    /// Returns the value of the only header of that name, if there is one.
    pub(crate) fn only(&self, name: &'static str) -> Result<Option<&'a str>, BadRequest> {
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

    /// Returns the host that is asked for: in the target it counts more than in a header. HTTP/1.0 knows neither.
    fn find_host(&self, authority: Option<&'a str>) -> Result<&'a str, BadRequest> {
        let header = self.only("Host")?;
        if header.is_none() && !self.is_http_1_0 {
            return Err(BadRequest::Header { name: "Host" });
        }
        let host = authority.or(header).unwrap_or_default();
        let is_absent = self.is_http_1_0 && authority.is_none() && host.is_empty();
        if is_absent || is_host(host) {
            Ok(host)
        } else {
            Err(BadRequest::Header { name: "Host" })
        }
    }

    /// Refuses what HTTP/1.0 does not have.
    pub(super) const fn needs_http_1_1(&self) -> Result<(), BadRequest> {
        if self.is_http_1_0 {
            Err(BadRequest::OldUpgrade)
        } else {
            Ok(())
        }
    }

    pub(super) fn refuse_body(&self) -> Result<(), BadRequest> {
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
