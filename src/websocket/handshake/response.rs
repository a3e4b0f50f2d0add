//! Writes answers.

/// The header that names the methods there is an answer for.
pub(super) const ALLOW: (&str, &str) = ("Allow", "GET, HEAD, OPTIONS");

/// The status of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    code: u16,
    phrase: &'static str,
}

impl Status {
    pub(crate) const OK: Self = Self::new(200, "OK");
    pub(crate) const NO_CONTENT: Self = Self::new(204, "No Content");
    pub(crate) const BAD_REQUEST: Self = Self::new(400, "Bad Request");
    pub(crate) const UNAUTHORIZED: Self = Self::new(401, "Unauthorized");
    pub(crate) const FORBIDDEN: Self = Self::new(403, "Forbidden");
    pub(crate) const NOT_FOUND: Self = Self::new(404, "Not Found");
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self::new(405, "Method Not Allowed");
    pub(crate) const TIMEOUT: Self = Self::new(408, "Request Timeout");
    pub(crate) const MISDIRECTED: Self = Self::new(421, "Misdirected Request");
    pub(crate) const UPGRADE_REQUIRED: Self = Self::new(426, "Upgrade Required");
    pub(crate) const HEADERS_TOO_LARGE: Self = Self::new(431, "Request Header Fields Too Large");
    pub(crate) const UNAVAILABLE: Self = Self::new(503, "Service Unavailable");
    pub(crate) const VERSION_NOT_SUPPORTED: Self = Self::new(505, "HTTP Version Not Supported");

    const fn new(code: u16, phrase: &'static str) -> Self {
        Self { code, phrase }
    }

    /// Returns the code as a number.
    #[cfg(test)]
    pub(crate) const fn code(self) -> u16 {
        self.code
    }
}

/// A whole answer, after which the connection closes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Response<'a> {
    pub(crate) status: Status,
    pub(crate) content_type: &'a str,
    /// More headers. Names and values are ours; they are not escaped. A `Cache-Control` replaces
    /// the usual one, which lets nobody store the answer.
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

impl<'a> Response<'a> {
    /// Encodes the answer, without the body if it answers HEAD.
    pub(crate) fn encode(&self, with_body: bool) -> Vec<u8> {
        let Status { code, phrase } = self.status;
        let mut head = format!(
            "HTTP/1.1 {code} {phrase}\r\n\
             Content-Type: {}\r\n\
             Content-Length: {}\r\n\
             Connection: close\r\n\
             X-Content-Type-Options: nosniff\r\n",
            self.content_type,
            self.body.len(),
        );
        let is_cache = |(name, _): &&(&str, &str)| name.eq_ignore_ascii_case("Cache-Control");
        if !self.headers.iter().any(|header| is_cache(&header)) {
            put(&mut head, "Cache-Control", "no-store");
        }
        for (name, value) in self.headers {
            put(&mut head, name, value);
        }
        head.push_str("\r\n");
        let mut out = head.into_bytes();
        if with_body {
            out.extend_from_slice(self.body);
        }
        out
    }

    /// Encodes an answer of plain text, without the text if it answers HEAD.
    pub(crate) fn text(
        status: Status,
        headers: &[(&str, &str)],
        body: &str,
        with_body: bool,
    ) -> Vec<u8> {
        let response = Response {
            status,
            content_type: "text/plain; charset=utf-8",
            headers,
            body: body.as_bytes(),
        };
        response.encode(with_body)
    }
}

/// Returns the answer that names the methods there are, and says that all is well.
pub(crate) fn no_content() -> Vec<u8> {
    let Status { code, phrase } = Status::NO_CONTENT;
    let mut head = format!("HTTP/1.1 {code} {phrase}\r\nConnection: close\r\n");
    put(&mut head, ALLOW.0, ALLOW.1);
    head.push_str("\r\n");
    head.into_bytes()
}

/// Returns the answer that upgrades the connection to WebSocket.
pub(crate) fn switching(accept: &str, protocol: Option<&str>) -> Vec<u8> {
    let mut head = String::from(
        "HTTP/1.1 101 Switching Protocols\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n",
    );
    put(&mut head, "Sec-WebSocket-Accept", accept);
    if let Some(protocol) = protocol {
        put(&mut head, "Sec-WebSocket-Protocol", protocol);
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn put(head: &mut String, name: &str, value: &str) {
    for part in [name, ": ", value, "\r\n"] {
        head.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    const CSP: (&str, &str) = ("Content-Security-Policy", "default-src 'self'");

    fn page(headers: &[(&str, &str)], with_body: bool) -> String {
        let response = Response {
            status: Status::OK,
            content_type: "text/html; charset=utf-8",
            headers,
            body: b"<p>",
        };
        String::from_utf8(response.encode(with_body)).unwrap()
    }

    #[test]
    fn an_answer_says_its_length_and_that_the_connection_closes() {
        let expected = "HTTP/1.1 200 OK\r\n\
                        Content-Type: text/html; charset=utf-8\r\n\
                        Content-Length: 3\r\n\
                        Connection: close\r\n\
                        X-Content-Type-Options: nosniff\r\n\
                        Cache-Control: no-store\r\n\
                        Content-Security-Policy: default-src 'self'\r\n\
                        \r\n";
        assert_eq!(page(&[CSP], true), format!("{expected}<p>"));
        assert_eq!(page(&[CSP], false), expected);
    }

    #[test]
    fn caching_is_said_once() {
        let page = page(&[("cache-control", "max-age=60")], true);
        assert!(page.contains("cache-control: max-age=60\r\n"));
        assert!(!page.contains("no-store"));
    }

    #[test]
    fn only_a_protocol_that_was_offered_is_answered() {
        let with = String::from_utf8(switching("abc=", Some("mles-websocket"))).unwrap();
        assert_eq!(
            with,
            "HTTP/1.1 101 Switching Protocols\r\n\
             Upgrade: websocket\r\n\
             Connection: Upgrade\r\n\
             Sec-WebSocket-Accept: abc=\r\n\
             Sec-WebSocket-Protocol: mles-websocket\r\n\
             \r\n"
        );
        let without = String::from_utf8(switching("abc=", None)).unwrap();
        assert!(!without.contains("Protocol:"));
    }
}
