//! HTTP as health checks, proxies and browsers speak it, on the listener for WebSocket.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::time::Duration;

use mles::Broker;

use crate::common::websocket::{Ws, address, quiet, request};
use crate::common::{Client, start, wait_until};

/// The head and the body of the answer to a request that is the last on its connection.
fn ask(broker: &Broker, request: impl AsRef<[u8]>) -> (String, String) {
    let mut stream = Client::connect(&address(broker));
    stream.write_all(request.as_ref()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// A head without the time.
fn undated(head: &str) -> String {
    let lines = head.lines().filter(|line| !line.starts_with("Date: "));
    lines.collect::<Vec<_>>().join("\n").to_lowercase()
}

fn status(broker: &Broker, request: impl AsRef<[u8]>) -> u16 {
    let (head, _) = ask(broker, request);
    head["HTTP/1.1 ".len()..][..3].parse().unwrap()
}

#[test]
fn health_checks_in_http_1_0_find_the_page() {
    let broker = start(quiet());
    for request in [
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "GET /app.js HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        assert_eq!(status(&broker, request), 200, "{request}");
    }
    for request in [
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ] {
        let (head, body) = ask(&broker, request);
        assert_eq!(head["HTTP/1.1 ".len()..][..4], *"204 ", "{head}");
        assert!(head.contains("\r\nAllow: GET, HEAD, OPTIONS"), "{head}");
        assert!(!head.contains("Content-"), "{head}");
        assert_eq!(body, "");
    }
    assert_eq!(broker.stats().refused, 0);
}

#[test]
fn without_the_page_the_root_is_still_well() {
    let mut settings = quiet();
    settings.websocket.page = false;
    let broker = start(settings);
    assert_eq!(status(&broker, "GET / HTTP/1.0\r\n\r\n"), 204);
    assert_eq!(status(&broker, "HEAD / HTTP/1.0\r\n\r\n"), 204);
    assert_eq!(status(&broker, "GET /app.js HTTP/1.0\r\n\r\n"), 404);
}

#[test]
fn the_answer_to_head_is_that_to_get_without_the_body() {
    let broker = start(quiet());
    for (target, headers) in [
        ("/", ""),
        ("/style.css", ""),
        ("/nothing", ""),
        ("/", "Host: localhost\r\n"),
        ("/", "Host: rebound.example\r\n"),
        ("bad", ""),
    ] {
        let with = |method: &str| {
            format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
        };
        let (head_of_get, body_of_get) = ask(&broker, with("GET"));
        let (head, body) = ask(&broker, with("HEAD"));
        assert_eq!(undated(&head), undated(&head_of_get), "{target}");
        assert_eq!(body, "", "{target}");
        let length = format!("content-length: {}", body_of_get.len());
        assert!(undated(&head).contains(&length), "{head}");
    }
}

#[test]
fn a_whole_address_as_target_is_taken() {
    let broker = start(quiet());
    let at = address(&broker);
    let get = |target: &str, host: &str| {
        status(
            &broker,
            format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
        )
    };
    assert_eq!(get(&format!("http://{at}/"), "anything"), 200);
    assert_eq!(get(&format!("http://{at}/none"), "anything"), 404);
    // The host in the target counts.
    assert_eq!(get("http://rebound.example/", "localhost"), 421);
    let upgrade = String::from_utf8(request("/", "")).unwrap();
    let upgrade = upgrade.replace("GET / ", &format!("GET http://{at}/ "));
    assert!(Ws::ask(at, upgrade.as_bytes()).is_ok());
}

#[test]
fn cookies_of_32_kib_are_no_obstacle() {
    let broker = start(quiet());
    for kib in [4, 9, 15, 32] {
        let cookie = format!("Cookie: a={}\r\n", "x".repeat(kib << 10));
        let get = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n");
        assert_eq!(status(&broker, get), 200, "{kib} KiB");
        Ws::ask(address(&broker), &request("/", &cookie)).unwrap();
    }
    let cookie = format!("Cookie: a={}\r\n", "x".repeat(42 << 10));
    let refused = Ws::ask(address(&broker), &request("/", &cookie)).unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 431 "), "{refused}");
}

/// What a head takes is taken from the memory for what has not joined, and given back.
#[test]
fn heads_are_bounded_and_given_back() {
    let mut settings = quiet();
    settings.shards = Some(1);
    settings.limits.max_frame = 64 << 10;
    settings.limits.partial_bytes = 0;
    settings.limits.join_deadline = Duration::from_secs(3600);
    let broker = start(settings);
    let long = request("/", &format!("Cookie: a={}\r\n", "x".repeat(32 << 10)));
    let begun: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = Client::connect(&address(&broker));
            stream.write_all(&long[..long.len() - 1]).unwrap();
            stream
        })
        .collect();
    wait_until("some are refused", || broker.stats().refused > 0);
    let mut answers: Vec<String> = Vec::new();
    for mut stream in begun {
        // Those that have their memory are let end; the others have their answer.
        let _ = stream.write_all(b"\n");
        let mut first = [0; 12];
        stream.read_exact(&mut first).unwrap();
        answers.push(String::from_utf8(first.to_vec()).unwrap());
    }
    let count = |status: &str| answers.iter().filter(|answer| *answer == status).count();
    assert!(count("HTTP/1.1 503") > 0, "{answers:?}");
    assert_eq!(
        count("HTTP/1.1 503") + count("HTTP/1.1 101"),
        8,
        "{answers:?}"
    );
    wait_until("all are gone", || broker.stats().connections == 0);
    for _ in 0..20 {
        Ws::ask(address(&broker), &long).unwrap();
    }
}

/// A proxy that was not told to pass an upgrade on is told what it lacks.
#[test]
fn an_upgrade_that_lost_its_headers_is_told_so() {
    let broker = start(quiet());
    let whole = String::from_utf8(request("/", "")).unwrap();
    let lost = whole.replace("Connection: Upgrade\r\nUpgrade: websocket\r\n", "");
    let (head, body) = ask(&broker, &lost);
    assert!(head.starts_with("HTTP/1.1 426 "), "{head}");
    assert!(body.contains("a proxy must pass them on"), "{body}");
    let old = whole.replace("HTTP/1.1", "HTTP/1.0");
    let (head, body) = ask(&broker, &old);
    assert!(head.starts_with("HTTP/1.1 505 "), "{head}");
    assert!(body.contains("proxy_http_version 1.1"), "{body}");
}
