//! Requests as they come from clients, cut anywhere, and such as nobody should send.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const PLAIN: &str = "GET /status?full HTTP/1.1\r\nHost: example.org:8076\r\nX: y\r\n\r\n";

fn bad(request: impl AsRef<[u8]>) -> BadRequest {
    parse(request.as_ref()).unwrap_err()
}

fn good(request: &[u8]) -> HttpRequest<'_> {
    parse(request).unwrap().unwrap().0
}

fn with(header: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n")
}

#[test]
fn a_request_is_read() {
    let buf = [PLAIN.as_bytes(), b"behind"].concat();
    let (request, head_len) = parse(&buf).unwrap().unwrap();
    assert_eq!(request.method, Method::GET);
    assert_eq!(request.path, "/status");
    assert_eq!(request.query, Some("full"));
    assert_eq!(request.host, "example.org:8076");
    assert_eq!(head_len, PLAIN.len());

    let head = "HEAD / HTTP/1.1\r\nhost: h\r\nContent-Length: 0\r\n\r\n";
    let request = good(head.as_bytes());
    assert_eq!(request.method, Method::HEAD);
    assert_eq!((request.path, request.query), ("/", None));
}

#[test]
fn a_cut_request_is_waited_for() {
    for end in 0..PLAIN.len() {
        let found = parse(&PLAIN.as_bytes()[..end]);
        assert!(matches!(found, Ok(None)), "{found:?} at {end}");
    }
}

#[test]
fn other_versions_are_refused() {
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2"] {
        let found = bad(format!("GET / {version}\r\nHost: h\r\n\r\n"));
        assert_eq!(found, BadRequest::Version, "{version}");
        assert_eq!(found.status(), 505);
    }
    assert_eq!(bad("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), BadRequest::Version);
    assert!(matches!(bad("GET /\r\n\r\n"), BadRequest::Malformed(_)));
}

#[test]
fn http_1_0_needs_no_host() {
    for (head, host) in [
        ("GET / HTTP/1.0\r\n\r\n", ""),
        ("HEAD /x HTTP/1.0\r\nConnection: close\r\n\r\n", ""),
        ("GET / HTTP/1.0\r\nHost: backend\r\n\r\n", "backend"),
        ("GET / HTTP/1.0\r\nHost:\r\n\r\n", ""),
        ("OPTIONS / HTTP/1.0\r\n\r\n", ""),
    ] {
        let request = good(head.as_bytes());
        assert_eq!(request.host, host, "{head}");
    }
    let missing = BadRequest::Header { name: "Host" };
    assert_eq!(bad("GET / HTTP/1.0\r\nHost: a b\r\n\r\n"), missing);
}

#[test]
fn proxy_headers_where_there_should_be_none_are_told() {
    for header in [
        &b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n"[..],
        b"PROXY ",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    ] {
        assert_eq!(bad(header), BadRequest::ProxyHeader);
    }
}

#[test]
fn what_is_no_http_is_told_at_once() {
    for bytes in [
        &b"M\0\0\x05\0\0\0\0"[..],
        b"\x16\x03\x01\x02\0",
        b"\x81\x80",
        b"{\"uid\"",
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1\r\nHost h",
        b"GET / HTTP/1.1\r\nHost : h\r\n",
        b"GET / HTTP/1.1\r\n: h\r\n",
        b"GET / HTTP/1.1\r\nX: \0\r\n",
        b"GET / HTTP/1.1\rX",
    ] {
        let found = bad(bytes);
        assert!(matches!(found, BadRequest::Malformed(_)), "{found:?}");
        assert_eq!(found.status(), 400);
    }
}

#[test]
fn folded_headers_are_refused() {
    let found = bad(with("X: a\r\n b"));
    assert!(matches!(found, BadRequest::Malformed(_)), "{found:?}");
}

#[test]
fn the_target_is_a_path() {
    for target in [
        "h:80", "*", "é", "/é", "x/", "ftp://h/", "://h/", "//", "http:/h",
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let found = parse(head.as_bytes());
        let is_path = target.starts_with('/') && target.is_ascii();
        let expected = (!is_path).then_some(BadRequest::RequestTarget);
        assert_eq!(found.err(), expected, "{target}");
    }
    let all = good(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((all.method, all.path), (Method::OPTIONS, "*"));
}

#[test]
fn a_target_may_have_the_host_and_that_counts() {
    for (target, host, path, query) in [
        ("http://a.example/x?y", "a.example", "/x", Some("y")),
        ("HTTPS://a.example:8443/", "a.example:8443", "/", None),
        ("http://[::1]:80", "[::1]:80", "/", None),
        ("ws://a.example?q", "a.example", "/", Some("q")),
        ("/x?u=http://b/", "h", "/x", Some("u=http://b/")),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let request = good(head.as_bytes());
        let found = (request.host, request.path, request.query);
        assert_eq!(found, (host, path, query), "{target}");
    }
    for target in ["http://", "http:///x", "http://u@h/", "http://h#f"] {
        let found = bad(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(found, BadRequest::Header { name: "Host" }, "{target}");
    }
    // It does not make up for the header.
    let found = bad("GET http://h/ HTTP/1.1\r\n\r\n");
    assert_eq!(found, BadRequest::Header { name: "Host" });
}

#[test]
fn there_is_one_host() {
    let missing = BadRequest::Header { name: "Host" };
    assert_eq!(bad("GET / HTTP/1.1\r\n\r\n"), missing);
    for host in ["", "a b", "a/b", "a,b", "u@h", "é"] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(bad(request), missing, "{host}");
    }
    let twice = BadRequest::Duplicate { name: "Host" };
    assert_eq!(bad(with("hOST: h")), twice);
}

#[test]
fn headers_are_counted() {
    let most = with(&["X: y"; MAX_HEADERS - 1].join("\r\n"));
    assert!(parse(most.as_bytes()).unwrap().is_some());
    let found = bad(with(&["X: y"; MAX_HEADERS].join("\r\n")));
    assert_eq!(found, BadRequest::TooManyHeaders);
    assert_eq!(found.status(), 431);
}

#[test]
fn a_head_is_40_kib_at_most_whole_or_not() {
    let empty = with("X: ").len();
    let most = with(&format!("X: {}", "y".repeat(MAX_HEAD - empty)));
    assert_eq!(most.len(), MAX_HEAD);
    assert!(parse(most.as_bytes()).unwrap().is_some());
    let over = with(&format!("X: {}", "y".repeat(MAX_HEAD - empty + 1)));
    assert_eq!(bad(&over), BadRequest::TooLong);
    assert!(parse(&over.as_bytes()[..MAX_HEAD - 1]).unwrap().is_none());
    assert_eq!(bad(&over[..MAX_HEAD]), BadRequest::TooLong);
    assert_eq!(bad("\r\n".repeat(MAX_HEAD)), BadRequest::TooLong);
}

/// What a library has read is checked like what is read here.
#[test]
fn requests_that_were_read_elsewhere_meet_the_same_checks() {
    for target in [
        "/",
        "/x?y",
        "h:80",
        "*",
        "x",
        "//",
        "ftp://h/",
        "http://a:1/x?y",
        "ws://a?q",
        "http://u@h/",
        "/?\u{7f}",
        "http:/h",
    ] {
        for host in ["h:1", "a b", "u@h"] {
            let Ok(uri) = target.parse::<Uri>() else {
                continue;
            };
            let (parts, ()) = http::Request::get(uri)
                .header("Host", host)
                .body(())
                .unwrap()
                .into_parts();
            let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let here = parse(head.as_bytes()).map(|found| found.unwrap().0);
            match (HttpRequest::of_parts(&parts), here) {
                (Ok(there), Ok(here)) => {
                    let of = |request: &HttpRequest<'_>| {
                        (
                            request.path.to_owned(),
                            request.query.map(str::to_owned),
                            request.host.to_owned(),
                        )
                    };
                    assert_eq!(of(&there), of(&here), "{target} at {host}");
                }
                (there, here) => assert_eq!(there.err(), here.err(), "{target} at {host}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn what_is_refused_early_stays_refused(
        damage in vec((0..PLAIN.len(), any::<u8>()), 0..3),
        end in 0..PLAIN.len(),
    ) {
        let mut buf = PLAIN.as_bytes().to_vec();
        for (at, byte) in damage {
            buf[at] = byte;
        }
        if parse(&buf[..end]).is_err() {
            prop_assert!(parse(&buf).is_err());
        }
    }

    #[test]
    fn any_bytes_do_no_harm(buf in vec(any::<u8>(), 0..300)) {
        if let Ok(Some((_, head_len))) = parse(&buf) {
            prop_assert!(head_len <= buf.len());
        }
    }
}
