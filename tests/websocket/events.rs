//! Event streams: messages and notices over plain HTTP, and how a client comes back.

use std::net::Shutdown;
use std::time::Duration;

use mles::Broker;
use mles::protocol::{FrameHeader, Position};
use serde_json::{Value, json};

use crate::api::{MESSAGES, TEXT_PLAIN, connect, offset};
use crate::common::events::{Event, Events};
use crate::common::http::Http;
use crate::common::websocket::{TEXT, Ws, address, settings};
use crate::common::{Client, start, wait_until};

pub const EVENTS: &str = "/channels/room/events";

pub fn open(broker: &Broker, query: &str, headers: &str) -> Events {
    Events::open(address(broker), &format!("{EVENTS}{query}"), headers)
}

fn publish(broker: &Broker, text: &str) -> u64 {
    offset(&connect(broker).post(MESSAGES, TEXT_PLAIN, text))
}

/// The id of a stream's first event, the welcome, and its data.
pub fn welcome(events: &mut Events) -> (String, Value) {
    let event = events.next();
    assert_eq!(event.name, "welcome", "{event:?}");
    (event.id.unwrap(), event.data)
}

#[test]
fn a_stream_has_the_history_and_then_what_is_published() {
    let broker = start(settings());
    let mut v1 = Client::join_and_wait(&broker, "v1", "room");
    let mut v2 = Ws::v2(&broker, "v2", "room");
    publish(&broker, "before");
    let mut events = open(&broker, "?uid=reader", "");
    for header in [
        "cache-control: no-store",
        "x-accel-buffering: no",
        "connection: close",
        "x-content-type-options: nosniff",
    ] {
        assert!(
            events.head.contains(&format!("\r\n{header}\r\n")),
            "{}",
            events.head
        );
    }
    assert!(!events.head.contains("content-length"), "{}", events.head);
    assert!(
        !events.head.contains("transfer-encoding"),
        "{}",
        events.head
    );
    let (id, data) = welcome(&mut events);
    let epoch = id.strip_suffix(":0").unwrap();
    let expected = json!({
        "position": format!("{epoch}:1"), "replay": 1, "recovered": true, "missed": 0,
    });
    assert_eq!(data, expected);
    v1.send(b"from v1\n\ndata: x");
    v2.send(TEXT, "é".as_bytes());
    v2.send(crate::common::websocket::BINARY, &[0, 255]);
    // Each member's messages keep their order; those of two may come in either.
    let mut got: Vec<Event> = (0..4).map(|_| events.next()).collect();
    for (index, event) in got.iter().enumerate() {
        assert_eq!(event.name, "message");
        assert_eq!(event.id, Some(format!("{epoch}:{}", index + 1)));
        assert_eq!(event.data["offset"], index + 1);
    }
    let page = connect(&broker).read("");
    let data: Vec<_> = got.drain(..).map(|event| event.data).collect();
    assert_eq!(page["messages"], json!(data));
    // The others see that somebody has come.
    let hint = v1.receive();
    assert!(hint.message.is_empty());
}

#[test]
fn a_stream_goes_on_where_its_client_says() {
    let broker = start(settings());
    let mut first = open(&broker, "", "");
    let (id, _) = welcome(&mut first);
    for text in ["one", "two", "three"] {
        publish(&broker, text);
    }
    let ids: Vec<_> = (0..3).map(|_| first.next().id.unwrap()).collect();
    drop(first);
    let encoded = ids[0].replace(':', "%3A");
    for (query, headers, expected) in [
        (
            String::new(),
            format!("Last-Event-ID: {}\r\n", ids[1]),
            &["three"][..],
        ),
        (
            format!("?since={encoded}"),
            String::new(),
            &["two", "three"],
        ),
        // What a browser has got is newer than what the page has asked for.
        (
            format!("?since={id}"),
            format!("last-event-id: {}\r\n", ids[1]),
            &["three"],
        ),
        // A client that had got nothing but the welcome.
        (
            String::new(),
            format!("Last-Event-ID: {id}\r\n"),
            &["one", "two", "three"],
        ),
        (
            String::new(),
            "Last-Event-ID: \r\n".to_owned(),
            &["one", "two", "three"],
        ),
    ] {
        let mut events = open(&broker, &query, &headers);
        let (_, data) = welcome(&mut events);
        assert_eq!(data["recovered"], true, "{query} {headers}");
        for text in expected {
            assert_eq!(&events.text(), text, "{query} {headers}");
        }
    }
    let mut foreign = open(&broker, "?since=0123456789abcdef:9", "");
    let (id, data) = welcome(&mut foreign);
    assert_eq!(
        (&data["recovered"], &data["replay"]),
        (&json!(false), &json!(3))
    );
    assert!(data.get("missed").is_none(), "{data}");
    assert!(id.ends_with(":0"), "{id}");
}

#[test]
fn what_is_gone_is_told_in_the_welcome() {
    let mut settings = settings();
    settings.channels.default.history_frames = 2;
    let broker = start(settings);
    let (id, _) = welcome(&mut open(&broker, "", ""));
    for i in 0..5 {
        publish(&broker, &format!("{i}"));
    }
    let mut events = open(&broker, "", &format!("Last-Event-ID: {id}\r\n"));
    let (id, data) = welcome(&mut events);
    assert_eq!(
        (&data["recovered"], &data["missed"]),
        (&json!(false), &json!(3))
    );
    assert!(id.ends_with(":3"), "{id}");
    assert_eq!([(); 2].map(|()| events.text()), ["3", "4"]);
}

/// Proxies keep connections, and send on one whatever comes next.
#[test]
fn a_stream_may_follow_other_requests() {
    let broker = start(settings());
    let mut http = connect(&broker);
    for i in 0..3 {
        assert_eq!(offset(&http.post(MESSAGES, TEXT_PLAIN, "hello")), i + 1);
    }
    let mut events = Events::ask_on(http.stream, EVENTS, "");
    welcome(&mut events);
    assert_eq!([(); 3].map(|()| events.text()), ["hello"; 3]);
    publish(&broker, "live");
    assert_eq!(events.text(), "live");
    // Behind requests whose answers have not been read.
    let mut http = connect(&broker);
    http.send("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(40));
    http.send(format!(
        "GET {EVENTS}?since= HTTP/1.1\r\nHost: localhost\r\n\r\n"
    ));
    for _ in 0..40 {
        assert_eq!(http.answer().status, 200);
    }
    assert_eq!(http.answer().status, 400);
    http.send("GET /app.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(40));
    http.send(format!(
        "GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1"
    ));
    for _ in 0..40 {
        assert_eq!(http.answer().status, 200);
    }
    let head = http.head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
}

/// Requests in pieces, as the first of a connection.
#[test]
fn a_request_may_come_in_any_pieces() {
    let broker = start(settings());
    publish(&broker, "hello");
    let request = format!("GET {EVENTS} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    for size in [1, 3, 10, 50] {
        let mut stream = Client::connect(&address(&broker));
        for piece in request.as_bytes().chunks(size) {
            std::io::Write::write_all(&mut stream, piece).unwrap();
        }
        let mut events = Events::on(stream);
        welcome(&mut events);
        assert_eq!(events.text(), "hello");
    }
}

#[test]
fn http_1_0_and_head_are_answered() {
    let broker = start(settings());
    let mut stream = Client::connect(&address(&broker));
    let old = format!("GET {EVENTS} HTTP/1.0\r\n\r\n");
    std::io::Write::write_all(&mut stream, old.as_bytes()).unwrap();
    let mut events = Events::on(stream);
    welcome(&mut events);
    publish(&broker, "hello");
    assert_eq!(events.text(), "hello");
    let mut http = connect(&broker);
    http.send(format!("HEAD {EVENTS} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let head = http.head();
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("content-length"), None);
    http.assert_end();
    assert_eq!(broker.stats().joined, 1);
}

/// What a client sends behind its request is no request, and its end is the end of the session.
#[test]
fn a_client_says_nothing_but_that_it_goes() {
    let broker = start(settings());
    let mut events = open(&broker, "", "");
    welcome(&mut events);
    let noise = format!("POST {MESSAGES} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(10_000);
    std::io::Write::write_all(&mut events.stream, noise.as_bytes()).unwrap();
    publish(&broker, "hello");
    assert_eq!(events.text(), "hello");
    events.stream.shutdown(Shutdown::Write).unwrap();
    events.assert_end();
    wait_until("it has left", || broker.stats().left == 1);
    let events = open(&broker, "", "");
    crate::common::reset(events.stream);
    wait_until("it has left", || broker.stats().left == 2);
    wait_until("nobody is there", || broker.stats().connections == 0);
}

#[test]
fn comments_come_while_nothing_else_does() {
    let mut settings = settings();
    settings.websocket.ping_interval = Duration::from_millis(50);
    let broker = start(settings);
    let mut events = open(&broker, "", "");
    welcome(&mut events);
    for _ in 0..3 {
        events.comment();
    }
    publish(&broker, "hello");
    assert_eq!(events.text(), "hello");
}

#[test]
fn a_body_that_is_no_message_is_a_gap() {
    let broker = start(settings());
    let mut live = open(&broker, "", "");
    let (id, _) = welcome(&mut live);
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let header = FrameHeader {
        body_len: 4,
        cid: alice.cid,
        key: alice.key,
    };
    let frame = [&header.encode()[..], b"junk"].concat();
    std::io::Write::write_all(&mut alice.stream, &frame).unwrap();
    alice.send(b"next");
    let first: Position = id.parse().unwrap();
    let place = |offset| Some(Position { offset, ..first }.to_string());
    let gap = Event {
        id: place(1),
        name: "gap".to_owned(),
        data: json!({"missed": 1}),
        retry: None,
    };
    assert_eq!(live.next(), gap);
    let next = live.next();
    assert_eq!((&next.id, &next.data["text"]), (&place(2), &json!("next")));
    let mut late = open(&broker, "", "");
    welcome(&mut late);
    assert_eq!(late.next(), gap);
    assert_eq!(late.text(), "next");
}

/// Streams with one uid do not disturb one another, wherever they are.
#[test]
fn many_streams_get_the_same() {
    const STREAMS: usize = 200;
    const EACH: u64 = 20;
    let mut settings = settings();
    settings.shards = Some(3);
    let broker = start(settings);
    let mut streams: Vec<_> = (0..STREAMS).map(|_| open(&broker, "", "")).collect();
    let mut http: Http = connect(&broker);
    for i in 0..EACH {
        assert_eq!(
            offset(&http.post(MESSAGES, TEXT_PLAIN, format!("{i}"))),
            i + 1
        );
    }
    for events in &mut streams {
        let (id, data) = welcome(events);
        let position: Position = data["position"].as_str().unwrap().parse().unwrap();
        assert_eq!((id.ends_with(":0"), position.offset), (true, 0));
        for i in 0..EACH {
            let event = events.next();
            assert_eq!(event.data["text"], format!("{i}"));
            let place = Position {
                offset: i + 1,
                ..position
            };
            assert_eq!(event.id, Some(place.to_string()));
        }
    }
}
