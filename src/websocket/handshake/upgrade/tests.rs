//! Requests for an upgrade, in all the ways they can be written.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use super::super::request::parse;
use super::*;

/// From RFC 6455, section 1.3.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
const VERSION: &str = "Sec-WebSocket-Version: 13";
const UPGRADE: &str = "Upgrade: websocket";
const CONNECTION: &str = "Connection: Upgrade";

/// Passes a request with these lines of headers to `f`.
fn ask<T>(
    target: &str,
    headers: &[&str],
    f: impl FnOnce(Result<Option<Upgrade<'_>>, BadRequest>) -> T,
) -> T {
    let headers = headers.join("\r\n");
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n");
    f(parse(request.as_bytes()).unwrap().unwrap().0.upgrade())
}

/// Passes a good request with more headers to `f`.
fn good<T>(target: &str, more: &[&str], f: impl FnOnce(Upgrade<'_>) -> T) -> T {
    let headers = [&[KEY, VERSION, UPGRADE, CONNECTION], more].concat();
    ask(target, &headers, |asked| f(asked.unwrap().unwrap()))
}

fn refused(headers: &[&str]) -> BadRequest {
    ask("/", headers, |asked| asked.unwrap_err())
}

#[test]
fn the_key_is_answered_as_in_the_rfc() {
    let plain = Upgrade {
        accept: ACCEPT.into(),
        offer: Offer::Nothing,
        origin: None,
        auth: vec![],
        bearer: None,
        token: None,
    };
    good("/", &[], |upgrade| assert_eq!(upgrade, plain));
}

#[test]
fn the_wish_may_stand_in_lists_and_in_any_case() {
    for (upgrade, connection) in [
        (vec!["upgrade: WebSocket"], vec!["CONNECTION: upgrade"]),
        (vec![UPGRADE], vec!["Connection: keep-alive, Upgrade"]),
        (vec![UPGRADE], vec!["Connection: keep-alive,upgrade ,x"]),
        (vec![UPGRADE], vec!["Connection: keep-alive", CONNECTION]),
        (vec!["Upgrade: h2c, websocket"], vec![CONNECTION]),
        (vec!["Upgrade: h2c", UPGRADE], vec![CONNECTION]),
    ] {
        let headers = [vec![KEY, VERSION], upgrade, connection].concat();
        ask("/", &headers, |asked| {
            assert!(asked.unwrap().is_some(), "{headers:?}");
        });
    }
}

#[test]
fn other_requests_are_no_upgrades() {
    for headers in [
        &[] as &[&str],
        &[VERSION, UPGRADE],
        &[UPGRADE, "Connection: close"],
        &["Upgrade: h2c", CONNECTION],
        &["Upgrade: websockets", CONNECTION],
    ] {
        ask("/", headers, |asked| {
            assert_eq!(asked, Ok(None), "{headers:?}")
        });
    }
    ask("/", &[KEY, VERSION, UPGRADE, CONNECTION], |asked| {
        assert!(asked.unwrap().is_some());
    });
}

#[test]
fn a_key_without_a_wish_for_an_upgrade_has_lost_it_on_the_way() {
    for headers in [
        &[KEY, VERSION] as &[&str],
        &[KEY, VERSION, UPGRADE],
        &[KEY, VERSION, CONNECTION],
        &[KEY, VERSION, UPGRADE, "Connection: close"],
        &[KEY, VERSION, UPGRADE, "Connection: not-upgrade"],
    ] {
        assert_eq!(refused(headers), BadRequest::HalfAnUpgrade, "{headers:?}");
    }
}

#[test]
fn http_1_0_has_no_upgrades() {
    let headers = [KEY, VERSION, UPGRADE, CONNECTION].join("\r\n");
    let request = format!("GET / HTTP/1.0\r\nHost: h\r\n{headers}\r\n\r\n");
    let asked = parse(request.as_bytes()).unwrap().unwrap();
    assert_eq!(asked.0.upgrade(), Err(BadRequest::OldUpgrade));
}

#[test]
fn head_is_not_upgraded() {
    let headers = [KEY, VERSION, UPGRADE, CONNECTION].join("\r\n");
    let request = format!("HEAD / HTTP/1.1\r\nHost: h\r\n{headers}\r\n\r\n");
    let asked = parse(request.as_bytes()).unwrap().unwrap();
    assert_eq!(asked.0.upgrade(), Err(BadRequest::Method));
}

#[test]
fn other_versions_are_told_ours() {
    for version in [
        "X: y",
        "Sec-WebSocket-Version: 8",
        "Sec-WebSocket-Version: 13, 8",
    ] {
        let error = refused(&[KEY, version, UPGRADE, CONNECTION]);
        assert_eq!(error, BadRequest::WebSocketVersion);
        assert_eq!(error.status(), 426);
    }
    let name = "Sec-WebSocket-Version";
    let twice = refused(&[KEY, VERSION, VERSION, UPGRADE, CONNECTION]);
    assert_eq!(twice, BadRequest::Duplicate { name });
}

#[test]
fn the_key_is_16_bytes_of_base64() {
    let name = "Sec-WebSocket-Key";
    for key in [
        "X: y",
        "Sec-WebSocket-Key:",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ===",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== x",
        "Sec-WebSocket-Key: not base64 at all !!!!==",
    ] {
        let error = refused(&[key, VERSION, UPGRADE, CONNECTION]);
        assert_eq!(error, BadRequest::Header { name }, "{key}");
    }
    let twice = refused(&[KEY, KEY, VERSION, UPGRADE, CONNECTION]);
    assert_eq!(twice, BadRequest::Duplicate { name });
}

#[test]
fn offered_protocols_are_found_however_they_are_listed() {
    let offer = |headers: &[&str]| good("/", headers, |upgrade| upgrade.offer);
    for headers in [
        &["Sec-WebSocket-Protocol: mles-websocket"] as &[&str],
        &["sec-websocket-protocol:mles-websocket"],
        &["Sec-WebSocket-Protocol: a, mles-websocket"],
        &["Sec-WebSocket-Protocol: a,mles-websocket,b"],
        &[
            "Sec-WebSocket-Protocol: a",
            "Sec-WebSocket-Protocol: mles-websocket",
        ],
    ] {
        assert_eq!(
            offer(headers),
            Offer::Ours(Subprotocol::Mles),
            "{headers:?}"
        );
    }
    for headers in [
        &["Sec-WebSocket-Protocol: mles-websocket.resume"] as &[&str],
        &["Sec-WebSocket-Protocol: mles-websocket, mles-websocket.resume"],
        &[
            "Sec-WebSocket-Protocol: mles-websocket.resume",
            "Sec-WebSocket-Protocol: mles-websocket",
        ],
    ] {
        assert_eq!(
            offer(headers),
            Offer::Ours(Subprotocol::Resume),
            "{headers:?}"
        );
    }
    let all = "Sec-WebSocket-Protocol: mles-websocket, mles-websocket.resume, mles-websocket.token";
    for header in [all, "Sec-WebSocket-Protocol: mles-websocket.token"] {
        assert_eq!(
            offer(&[header]),
            Offer::Ours(Subprotocol::Token),
            "{header}"
        );
    }
    for headers in [
        &["Sec-WebSocket-Protocol: chat"] as &[&str],
        &["Sec-WebSocket-Protocol: MLES-websocket"],
        &["Sec-WebSocket-Protocol: mles-websocket2, mles"],
        &["Sec-WebSocket-Protocol: mles-websocket.resumed"],
        &["Sec-WebSocket-Protocol:"],
    ] {
        assert_eq!(offer(headers), Offer::Others, "{headers:?}");
    }
}

#[test]
fn extensions_are_not_looked_at() {
    let header = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";
    good("/", &[header], |upgrade| assert_eq!(upgrade.accept, ACCEPT));
}

#[test]
fn there_is_one_origin() {
    let header = "Origin: https://example.org";
    good("/", &[header], |upgrade| {
        assert_eq!(upgrade.origin, Some("https://example.org"));
    });
    let twice = refused(&[KEY, VERSION, UPGRADE, CONNECTION, header, header]);
    assert_eq!(twice, BadRequest::Duplicate { name: "Origin" });
    let odd = refused(&[KEY, VERSION, UPGRADE, CONNECTION, "Origin: é"]);
    assert_eq!(odd, BadRequest::Header { name: "Origin" });
}

#[test]
fn keys_come_in_the_query() {
    let auth = |target: &str| good(target, &[], |upgrade| upgrade.auth);
    assert_eq!(auth("/"), [] as [u64; 0]);
    assert_eq!(auth("/?"), [] as [u64; 0]);
    assert_eq!(auth("/?auth=&other=1&authx=2"), [] as [u64; 0]);
    assert_eq!(auth("/?auth=ff"), [255]);
    assert_eq!(auth("/?x&auth=1,2%2C3&auth=%46F&y=z"), [1, 2, 3, 255]);
    let most = ["1"; MAX_AUTH].join(",");
    assert_eq!(auth(&format!("/?auth={most}")), [1; MAX_AUTH]);
    for target in [
        "/?auth=x".into(),
        "/?auth=1+2".into(),
        "/?auth=%".into(),
        "/?auth=%FF".into(),
        "/?auth=00000000000000001".into(),
        format!("/?auth={most}&auth=1"),
    ] {
        let headers = [KEY, VERSION, UPGRADE, CONNECTION];
        let error = ask(&target, &headers, |asked| asked.unwrap_err());
        assert_eq!(error, BadRequest::Auth, "{target}");
    }
}

#[test]
fn a_token_is_that_of_the_bearer() {
    for (header, token) in [
        ("Authorization: Bearer abc", Some("abc")),
        ("Authorization: bearer   abc", Some("abc")),
        ("Authorization: Basic abc", None),
        ("Authorization: Bearer", None),
        ("Authorization:", None),
    ] {
        good("/", &[header], |upgrade| {
            assert_eq!(upgrade.bearer, token, "{header}");
        });
    }
}

#[test]
fn an_upgrade_has_no_body() {
    for header in [
        "Content-Length: 1",
        "content-length: 00",
        "Transfer-Encoding: chunked",
        "transfer-encoding:",
    ] {
        let error = refused(&[KEY, VERSION, UPGRADE, CONNECTION, header]);
        assert_eq!(error, BadRequest::Body, "{header}");
    }
    let name = "Content-Length";
    let twice = [
        KEY,
        VERSION,
        UPGRADE,
        CONNECTION,
        "Content-Length: 0",
        "Content-Length: 0",
    ];
    assert_eq!(refused(&twice), BadRequest::Duplicate { name });
}
