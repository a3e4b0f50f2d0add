//! Who may use channels over HTTP, and what happens at limits and at the end.

use std::time::Duration;

use mles::Settings;
use mles::protocol::{Key, Keyring};

use crate::api::{MESSAGES, TEXT_PLAIN, connect, json_of};
use crate::common::websocket::{quiet, settings};
use crate::common::{Client, start, wait_until};

const SECRET: &str = "s3cret";

fn keyed() -> Settings {
    let mut settings = settings();
    settings.keyring = Keyring::new(Some(SECRET.to_owned()), None);
    settings
}

#[test]
fn a_key_has_to_be_shown() {
    let broker = start(keyed());
    let bearer = |key: &str| format!("Authorization: Bearer {key}\r\n");
    let auth = |uid: &str, channel: &str| {
        format!(
            "{MESSAGES}?uid=alice&auth={:x}",
            Key::from_parts([SECRET, uid, channel]).0
        )
    };
    for (path, headers, status) in [
        (MESSAGES.to_owned(), String::new(), 401),
        (MESSAGES.to_owned(), bearer("guess"), 401),
        (auth("alice", "elsewhere"), String::new(), 403),
        (auth("bob", "room"), String::new(), 403),
        (MESSAGES.to_owned(), bearer(SECRET), 201),
        (auth("alice", "room"), String::new(), 201),
    ] {
        let answer = connect(&broker).post(&path, &headers, "hello");
        assert_eq!(answer.status, status, "{path} {headers}: {answer:?}");
        json_of(&answer);
        let scheme = (status == 401).then_some("bearer");
        assert_eq!(answer.header("www-authenticate"), scheme);
        let read = connect(&broker).ask(&format!("GET {path}"), &headers);
        let expected = if status == 201 { 200 } else { status };
        assert_eq!(read.status, expected, "{path} {headers}: {read:?}");
    }
    wait_until("they are counted", || broker.stats().refused == 8);
}

#[test]
fn pages_of_other_origins_need_leave() {
    let mut settings = settings();
    settings.websocket.origins = vec!["https://app.example".to_owned()];
    let broker = start(settings);
    let listed = "Origin: https://app.example\r\n";
    let preflight = connect(&broker).ask(
        &format!("OPTIONS {MESSAGES}"),
        &format!("{listed}Access-Control-Request-Method: POST\r\n"),
    );
    assert_eq!(preflight.status, 204, "{preflight:?}");
    let header = |name| preflight.header(name).unwrap();
    assert_eq!(header("access-control-allow-origin"), "https://app.example");
    assert!(header("access-control-allow-methods").contains("post"));
    for name in [
        "authorization",
        "content-type",
        "idempotency-key",
        "mles-uid",
    ] {
        assert!(
            header("access-control-allow-headers").contains(name),
            "{name}"
        );
    }
    let allowed = connect(&broker).post(MESSAGES, listed, "hello");
    assert_eq!(allowed.status, 201);
    let read = connect(&broker).ask(&format!("GET {MESSAGES}"), listed);
    assert_eq!(read.status, 200);
    for answer in [allowed, read] {
        let origin = answer.header("access-control-allow-origin");
        assert_eq!(
            (origin, answer.header("vary")),
            (Some("https://app.example"), Some("origin"))
        );
    }
    // A problem is for the page to read as well.
    let problem = connect(&broker).post(MESSAGES, listed, "");
    assert_eq!(problem.status, 400);
    assert!(problem.header("access-control-allow-origin").is_some());
    for origin in ["https://evil.example", "null", "http://localhost:1"] {
        let origin = format!("Origin: {origin}\r\n");
        for request in ["POST", "GET", "OPTIONS"] {
            let answer = connect(&broker).ask(&format!("{request} {MESSAGES}"), &origin);
            assert_eq!(answer.status, 403, "{request} {origin}");
            assert!(answer.header("access-control-allow-origin").is_none());
        }
    }
    // By a name that somebody lets lead here, a browser takes this server for that page's own.
    let rebound = |request: &str| {
        let mut http = connect(&broker);
        http.send(format!(
            "{request} {MESSAGES} HTTP/1.1\r\nHost: rebound.example\r\n\r\n"
        ));
        http.answer().status
    };
    assert_eq!((rebound("GET"), rebound("POST")), (421, 400));
}

#[test]
fn without_the_option_there_are_no_channels() {
    let mut settings = quiet();
    settings.websocket.http = false;
    let broker = start(settings);
    let mut http = connect(&broker);
    assert_eq!(http.ask(&format!("GET {MESSAGES}"), "").status, 404);
    assert_eq!(http.post(MESSAGES, TEXT_PLAIN, "hello").status, 404);
    assert_eq!(http.ask("GET /", "").status, 200);
}

#[test]
fn at_the_limit_of_channels_who_asks_is_told_to_wait() {
    let mut settings = settings();
    settings.limits.max_channels = 1;
    let broker = start(settings);
    let _member = Client::join_and_wait(&broker, "member", "only");
    let mut http = connect(&broker);
    for answer in [
        http.post(MESSAGES, TEXT_PLAIN, "hello"),
        http.ask(&format!("GET {MESSAGES}"), ""),
    ] {
        assert_eq!(answer.status, 503, "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        json_of(&answer);
    }
    assert_eq!(
        http.post("/channels/only/messages", TEXT_PLAIN, "hello")
            .status,
        201
    );
}

/// A connection that has its answer makes room for others, however many come.
#[test]
fn publishers_that_wait_make_room() {
    let mut settings = settings();
    settings.limits.max_joining = 3;
    let broker = start(settings);
    let mut publishers: Vec<_> = (0..10)
        .map(|_| {
            let mut http = connect(&broker);
            assert_eq!(http.post(MESSAGES, TEXT_PLAIN, "hello").status, 201);
            http
        })
        .collect();
    // One more than may wait: it may come just before the one before it is seen to wait.
    wait_until("the first have gone", || broker.stats().connections <= 4);
    assert_eq!(
        publishers[9].post(MESSAGES, TEXT_PLAIN, "hello").status,
        201
    );
    assert_eq!(broker.stats().turned_away, 0);
}

/// Who has proved that it may publish keeps its place until it has its answer.
#[test]
fn publishers_that_are_served_make_no_room() {
    let mut settings = settings();
    settings.limits.max_joining = 3;
    let broker = start(settings);
    let mut http = connect(&broker);
    http.send(format!(
        "POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: 5\r\n\r\n"
    ));
    assert_eq!(http.head().status, 100);
    let crowd: Vec<_> = (0..10).map(|_| connect(&broker)).collect();
    wait_until("the crowd makes room", || {
        broker.stats().joining_evicted == 7
    });
    http.send("hello");
    assert_eq!(http.answer().status, 201);
    drop(crowd);
}

/// A stop answers what has begun, and nothing after it.
#[test]
fn a_stop_answers_requests_that_have_begun() {
    let mut settings = settings();
    settings.drain_deadline = Duration::from_secs(30);
    let broker = start(settings);
    let mut http = connect(&broker);
    http.send(format!(
        "POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Content-Length: 5\r\n\r\n"
    ));
    assert_eq!(http.head().status, 100);
    let stopping = std::thread::spawn(move || broker.stop());
    let answer = http.answer();
    assert_eq!(answer.status, 503, "{answer:?}");
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=5).contains(&seconds), "{answer:?}");
    http.assert_end();
    stopping.join().unwrap().unwrap();
}
