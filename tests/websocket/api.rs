//! Channels over HTTP: publishing with a receipt, and reading what was published.

use std::io::Write as _;
use std::time::Duration;

use mles::Broker;
use serde_json::{Value, json};

use crate::common::http::{Answer, Http};
use crate::common::websocket::{Got, TEXT, Ws, address, settings};
use crate::common::{Client, start, wait_until};

pub const MESSAGES: &str = "/channels/room/messages";
pub const TEXT_PLAIN: &str = "Content-Type: text/plain\r\n";
const LINES: &str = "Content-Type: application/x-ndjson\r\n";

pub fn connect(broker: &Broker) -> Http {
    Http::connect(address(broker))
}

impl Http {
    pub fn post(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) -> Answer {
        self.begin_post(path, headers, body);
        self.answer()
    }

    pub fn begin_post(&mut self, path: &str, headers: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let length = body.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        self.send([head.as_bytes(), body].concat());
    }

    pub fn read(&mut self, query: &str) -> Value {
        let answer = self.ask(&format!("GET {MESSAGES}{query}"), "");
        assert_eq!(answer.status, 200, "{answer:?}");
        json_of(&answer)
    }
}

pub fn json_of(answer: &Answer) -> Value {
    let content_type = answer.header("content-type");
    let is_problem = answer.status >= 400;
    let expected = if is_problem {
        "application/problem+json"
    } else {
        "application/json"
    };
    assert_eq!(content_type, Some(expected), "{answer:?}");
    let value: Value = serde_json::from_str(&answer.body).unwrap();
    if is_problem {
        assert_eq!(value["status"], answer.status, "{answer:?}");
        assert_eq!(value["type"], "about:blank");
        assert!(!value["detail"].as_str().unwrap().is_empty());
    }
    value
}

/// Asserts that a receipt is well formed, and returns its offset.
pub fn offset(answer: &Answer) -> u64 {
    assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    let receipt = json_of(answer);
    let (epoch, offset) = (receipt["epoch"].as_str().unwrap(), &receipt["offset"]);
    assert_eq!(epoch.len(), 16, "{receipt}");
    assert_eq!(receipt["position"], format!("{epoch}:{offset}"));
    offset.as_u64().unwrap()
}

/// What is published reaches members of every transport, from the uid that was named, and is read again.
#[test]
fn what_is_published_arrives_and_can_be_read() {
    let broker = start(settings());
    let mut v1 = Client::join_and_wait(&broker, "v1", "room");
    let mut v2 = Ws::v2(&broker, "v2", "room");
    let mut http = connect(&broker);
    let first = http.post(MESSAGES, TEXT_PLAIN, "hello");
    assert_eq!(first.status, 201);
    let first = offset(&first);
    let alice = format!("{TEXT_PLAIN}Mles-Uid: alice\r\n");
    assert_eq!(offset(&http.post(MESSAGES, &alice, "again")), first + 1);
    let named = format!("{MESSAGES}?uid=b%C3%B6b");
    let binary = http.post(&named, "Content-Type: image/png\r\n", [0, 255, 7]);
    assert_eq!(offset(&binary), first + 2);
    for (uid, message) in [
        ("http", &b"hello"[..]),
        ("alice", b"again"),
        ("böb", &[0, 255, 7]),
    ] {
        let received = v1.receive_message();
        assert_eq!((&*received.uid, &*received.message), (uid, message));
    }
    assert_eq!(v2.next(), Got::Text("hello".to_owned()));
    assert_eq!(v2.next(), Got::Text("again".to_owned()));
    assert_eq!(v2.next(), Got::Binary(vec![0, 255, 7]));
    v2.send(TEXT, b"from v2");
    assert_eq!(v1.receive_message().message, b"from v2");
    let page = http.read("");
    let expected = json!([
        {"offset": first, "uid": "http", "text": "hello"},
        {"offset": first + 1, "uid": "alice", "text": "again"},
        {"offset": first + 2, "uid": "böb", "base64": "AP8H"},
        {"offset": first + 3, "uid": "v2", "text": "from v2"},
    ]);
    assert_eq!(page["messages"], expected, "{page}");
}

/// Reading on from `next` finds each message once, whatever the size of a page.
#[test]
fn pages_follow_one_another_without_gap_or_overlap() {
    let broker = start(settings());
    let mut http = connect(&broker);
    let empty = http.read("");
    assert_eq!(empty["messages"], json!([]));
    let start = empty["next"].as_str().unwrap().to_owned();
    assert!(start.ends_with(":0"), "{start}");
    for i in 0..25 {
        let message = format!("message {i}");
        assert_eq!(offset(&http.post(MESSAGES, TEXT_PLAIN, message)), i + 1);
    }
    for limit in [1, 7, 25, 1000] {
        let (mut since, mut found) = (start.clone(), 0);
        loop {
            let page = http.read(&format!("?since={since}&limit={limit}"));
            assert_eq!(
                (&page["recovered"], &page["missed"]),
                (&json!(true), &json!(0))
            );
            let messages = page["messages"].as_array().unwrap();
            assert!(messages.len() <= limit, "{page}");
            for message in messages {
                assert_eq!(message["text"], format!("message {found}"));
                found += 1;
                assert_eq!(message["offset"], found);
            }
            since = page["next"].as_str().unwrap().replace(':', "%3A");
            if messages.is_empty() {
                break;
            }
        }
        assert_eq!(found, 25, "in pages of {limit}");
    }
    // The order of another server, or of a channel that is gone.
    let foreign = http.read("?since=0000000000000000:3");
    assert_eq!(
        (&foreign["recovered"], &foreign["missed"]),
        (&json!(false), &Value::Null)
    );
}

#[test]
fn many_messages_are_published_in_one_run() {
    let broker = start(settings());
    let mut bob = Ws::v2(&broker, "bob", "room");
    let mut http = connect(&broker);
    let lines = "\"one\"\n{\"text\":\"two\"}\r\n\n{\"base64\":\"AP8=\"}\n";
    let answer = http.post(MESSAGES, LINES, lines);
    assert_eq!(answer.status, 201, "{answer:?}");
    let receipt = json_of(&answer);
    assert_eq!(
        (&receipt["first"], &receipt["last"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(
        receipt["position"],
        format!("{}:3", receipt["epoch"].as_str().unwrap())
    );
    assert_eq!(bob.next(), Got::Text("one".to_owned()));
    assert_eq!(bob.next(), Got::Text("two".to_owned()));
    assert_eq!(bob.next(), Got::Binary(vec![0, 255]));
}

/// A line that is wrong is named, and nothing of the body is published.
#[test]
fn of_lines_all_are_published_or_none() {
    let broker = start(settings());
    let mut http = connect(&broker);
    for (lines, status, line) in [
        ("\"a\"\n\n\"b\nc\"\n", 400, 3),
        ("\"a\"\n{\"text\":1}\n", 400, 2),
        ("{\"x\":\"a\"}\n", 400, 1),
        ("\"a\"\n\"\"\n", 400, 2),
        ("\"a\"\n{\"base64\":\"?\"}", 400, 2),
        (&*"\"a\"\n".repeat(1001), 413, 1001),
    ] {
        let answer = http.post(MESSAGES, LINES, lines);
        assert_eq!(answer.status, status, "{lines}: {answer:?}");
        let problem = json_of(&answer);
        assert_eq!(problem["line"], line, "{problem}");
    }
    assert_eq!(http.post(MESSAGES, LINES, "\n \n").status, 400);
    assert_eq!(http.read("")["messages"], json!([]));
    assert_eq!(
        http.post(MESSAGES, LINES, "\"a\"\n".repeat(1000)).status,
        201
    );
}

#[test]
fn a_repeat_with_the_same_key_is_published_once() {
    let broker = start(settings());
    let mut http = connect(&broker);
    let keyed =
        |key: &str, uid: &str| format!("{TEXT_PLAIN}Idempotency-Key: {key}\r\nMles-Uid: {uid}\r\n");
    let first = http.post(MESSAGES, &keyed("one", "alice"), "hello");
    assert_eq!(first.status, 201);
    let other = http.post(MESSAGES, TEXT_PLAIN, "in between");
    assert_eq!(other.status, 201);
    // On another connection, as after a break.
    let repeat = connect(&broker).post(MESSAGES, &keyed("one", "alice"), "hello");
    assert_eq!((repeat.status, &repeat.body), (200, &first.body));
    // The key is the publisher's own.
    assert_eq!(
        offset(&http.post(MESSAGES, &keyed("one", "bob"), "hello")),
        3
    );
    assert_eq!(
        offset(&http.post(MESSAGES, &keyed("two", "alice"), "hello")),
        4
    );
    assert_eq!(http.read("")["messages"].as_array().unwrap().len(), 4);
    let lines = format!("{LINES}Idempotency-Key: lines\r\n");
    let first = http.post(MESSAGES, &lines, "\"a\"\n\"b\"\n");
    let repeat = http.post(MESSAGES, &lines, "\"a\"\n\"b\"\n");
    assert_eq!((first.status, repeat.status), (201, 200));
    assert_eq!(repeat.body, first.body);
    // The same key for something else is a mistake of the client, and told as one.
    let before = http.read("")["messages"].as_array().unwrap().len();
    for (headers, body) in [
        (&lines, "\"a\"\n\"c\"\n"),
        (&lines, "\"a\"\n"),
        (&keyed("one", "alice"), "hello!"),
        (
            &keyed("one", "alice").replace("text/plain", "application/octet-stream"),
            "hello",
        ),
    ] {
        let other = connect(&broker).post(MESSAGES, headers, body);
        assert_eq!(other.status, 422, "{}", other.body);
        let content_type = other.header("content-type");
        assert_eq!(content_type, Some("application/problem+json"));
        assert!(other.body.contains("Idempotency-Key"), "{}", other.body);
    }
    let repeat = http.post(MESSAGES, &lines, "\"a\"\n\"b\"\n");
    assert_eq!((repeat.status, &repeat.body), (200, &first.body));
    let messages = &http.read("")["messages"];
    assert_eq!(messages.as_array().unwrap().len(), before);
    let long = keyed(&"x".repeat(256), "alice");
    assert_eq!(http.post(MESSAGES, &long, "hello").status, 400);
}

#[test]
fn what_is_wrong_is_told_as_a_problem() {
    let broker = start(settings());
    let mut http = connect(&broker);
    for (request, status) in [
        ("GET /channels", 404),
        ("GET /channels/", 404),
        ("GET /channels/room", 404),
        ("GET /channels//messages", 404),
        ("GET /channels/a/b/messages", 404),
        ("GET /channels/room/messages/", 404),
        ("GET /channels/%FF/messages", 400),
        ("GET /channels/room/messages?since=x", 400),
        ("GET /channels/room/messages?since=00000000000000aB:1", 400),
        ("GET /channels/room/messages?limit=0", 400),
        ("GET /channels/room/messages?limit=1001", 400),
        ("GET /channels/room/messages?limit=+1", 400),
        ("GET /channels/room/messages?uid=", 400),
        ("GET /channels/room/messages?uid=%FF", 400),
        ("GET /channels/room/messages?auth=x", 400),
        ("PUT /channels/room/messages", 405),
        ("DELETE /channels/room/messages", 405),
    ] {
        let answer = http.ask(request, "");
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        json_of(&answer);
        let allow = (status == 405).then_some("get, head, post, options");
        assert_eq!(answer.header("allow"), allow);
    }
    let long = "x".repeat(600);
    assert_eq!(
        http.ask(&format!("GET /channels/{long}/messages"), "")
            .status,
        400
    );
    for (headers, body, status) in [
        (TEXT_PLAIN, &b""[..], 400),
        (TEXT_PLAIN, b"\xFF", 400),
        (
            "Content-Type: text/plain; charset=ISO-8859-1\r\n",
            b"\xE9",
            415,
        ),
        (
            "Content-Type: multipart/form-data; boundary=x\r\n",
            b"--x--",
            415,
        ),
        ("Content-Encoding: gzip\r\n", b"x", 415),
        ("Mles-Uid:\r\n", b"x", 400),
        ("Mles-Uid: a\r\nMles-Uid: b\r\n", b"x", 400),
        ("Idempotency-Key:\r\n", b"x", 400),
    ] {
        let answer = connect(&broker).post(MESSAGES, headers, body);
        assert_eq!(answer.status, status, "{headers}: {answer:?}");
        json_of(&answer);
    }
    assert_eq!(http.read("")["messages"], json!([]));
}

/// Bodies that are announced, and such as only show while they come.
#[test]
fn bodies_over_the_limit_are_refused() {
    let mut settings = settings();
    settings.limits.max_frame = 64 << 10;
    let broker = start(settings);
    let body = vec![b'x'; 100_000];
    let answer = connect(&broker).post(MESSAGES, TEXT_PLAIN, &body);
    assert_eq!(answer.status, 413, "{answer:?}");
    json_of(&answer);
    let chunked = "Transfer-Encoding: chunked\r\n";
    let head =
        |headers: &str| format!("POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n");
    let mut http = connect(&broker);
    http.send(head(chunked));
    let _ = http.stream.write_all(b"186a0\r\n");
    let _ = http.stream.write_all(&body);
    assert_eq!(http.answer().status, 413);
    // Who waits for leave to send a body that is too large is told before.
    let mut http = connect(&broker);
    http.send(head("Expect: 100-continue\r\nContent-Length: 100000\r\n"));
    assert_eq!(http.answer().status, 413);
    let mut http = connect(&broker);
    http.send(head("Expect: 100-continue\r\nContent-Length: 5\r\n"));
    assert_eq!(http.head().status, 100);
    http.send("hello");
    assert_eq!(http.answer().status, 201);
    // A body in chunks, and a request right behind it.
    http.send(head(chunked));
    http.send("2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: y\r\n\r\n");
    http.send(head("Content-Length: 3\r\n") + "and" + &head("Content-Length: 2\r\n") + "on");
    let offsets = [(); 3].map(|()| offset(&http.answer()));
    assert_eq!(offsets, [2, 3, 4]);
}

#[test]
fn requests_may_come_in_any_pieces() {
    let broker = start(settings());
    let head = format!("POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\n{TEXT_PLAIN}");
    let sized = format!("{head}Content-Length: 11\r\n\r\nhello there");
    let chunked =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nthere\r\n0\r\n\r\n");
    let get = format!("GET {MESSAGES} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let all = [sized, chunked, get].concat();
    let mut published = 0;
    for size in (1..all.len()).step_by(13) {
        let mut http = connect(&broker);
        for piece in all.as_bytes().chunks(size) {
            http.send(piece);
        }
        for _ in 0..2 {
            published += 1;
            assert_eq!(offset(&http.answer()), published, "in pieces of {size}");
        }
        let page = json_of(&http.answer());
        let texts = page["messages"].as_array().unwrap().iter();
        assert!(
            texts
                .into_iter()
                .all(|message| message["text"] == "hello there"),
            "{page}"
        );
    }
}

#[test]
fn a_body_has_to_go_on() {
    let mut settings = settings();
    settings.limits.frame_deadline = Duration::from_millis(300);
    let broker = start(settings);
    let mut slow = connect(&broker);
    slow.send(format!(
        "POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhe"
    ));
    let answer = slow.answer();
    assert_eq!(answer.status, 408, "{answer:?}");
    slow.assert_end();
    let mut cut = connect(&broker);
    cut.send(format!(
        "POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhe"
    ));
    cut.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(cut.answer().status, 400);
    wait_until("both are gone", || broker.stats().connections == 0);
    assert_eq!(connect(&broker).read("")["messages"], json!([]));
}
