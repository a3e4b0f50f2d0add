//! Sessions over WebSocket that ask for positions: what they get when they come back, and what they are told.

use mles::protocol::{Epoch, FrameHeader, Position, ResumeRequest};
use serde_json::{Value, json};

use crate::common::websocket::{BINARY, CLOSE, Got, TEXT, Ws, address, close, request, settings};
use crate::common::{Client, start, wait_until};
use crate::resuming::{Marked, behind, greeting, resume_body, settle, since, text, with_history};

#[test]
fn a_session_that_comes_back_gets_exactly_what_it_missed() {
    let broker = start(settings());
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let before = broker.stats().frames_in;
    alice.send(b"one");
    alice.send(b"two");
    settle(&broker, before + 2);
    let mut bob = Ws::resume(&broker, "bob", r#","resume":true"#);
    let welcome = bob.notice("welcome");
    assert_eq!(
        (
            &welcome["replay"],
            &welcome["recovered"],
            &welcome["missed"]
        ),
        (&json!(2), &json!(true), &json!(0)),
        "{welcome}"
    );
    assert_eq!(welcome["published"], Value::Null);
    let position = welcome["position"].as_str().unwrap().to_owned();
    assert!(position.ends_with(":2"), "{position}");
    assert_eq!(bob.marked(), text("one"));
    assert_eq!(bob.marked(), text("two"));
    alice.send(b"three");
    assert_eq!(bob.marked(), text("three"));
    bob.send(CLOSE, &close(1000, ""));
    bob.assert_closed(1000);
    let before = broker.stats().frames_in;
    alice.send(b"four");
    alice.send(b"\xFF");
    settle(&broker, before + 2);
    let mut bob = Ws::resume(&broker, "bob", &since(&behind(&position, 1)));
    let welcome = bob.notice("welcome");
    let expected = json!({
        "position": behind(&position, 3), "replay": 2, "recovered": true, "missed": 0,
    });
    assert_eq!(welcome, expected);
    assert_eq!(bob.marked(), text("four"));
    assert_eq!(bob.marked(), Marked::Binary(vec![0xFF]));
    alice.send(b"five");
    assert_eq!(bob.marked(), text("five"));
}

/// Who has received nothing before the break misses nothing either.
#[test]
fn the_position_of_an_empty_channel_is_one_to_come_back_with() {
    let broker = start(settings());
    let mut bob = Ws::resume(&broker, "bob", "");
    let welcome = bob.notice("welcome");
    assert_eq!(
        (&welcome["replay"], &welcome["recovered"]),
        (&json!(0), &json!(true))
    );
    let position = welcome["position"].as_str().unwrap().to_owned();
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    drop(bob);
    wait_until("bob has left", || broker.stats().left == 1);
    let before = broker.stats().frames_in;
    alice.send(b"missed");
    settle(&broker, before + 1);
    let mut bob = Ws::resume(&broker, "bob", &since(&position));
    assert_eq!(bob.notice("welcome")["recovered"], true);
    assert_eq!(bob.marked(), text("missed"));
}

#[test]
fn what_is_not_kept_any_more_is_told_as_a_number() {
    let broker = start(with_history(3));
    let mut bob = Ws::resume(&broker, "bob", "");
    let welcome = bob.notice("welcome");
    let position = welcome["position"].as_str().unwrap().to_owned();
    drop(bob);
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let before = broker.stats().frames_in;
    for i in 0..10 {
        alice.send(format!("{i}").as_bytes());
    }
    settle(&broker, before + 10);
    let mut bob = Ws::resume(&broker, "bob", &since(&behind(&position, 2)));
    let expected = json!({
        "position": behind(&position, 10), "replay": 3, "recovered": false, "missed": 5,
    });
    assert_eq!(bob.notice("welcome"), expected);
    assert_eq!([(); 3].map(|()| bob.payload_text()), ["7", "8", "9"]);
    // The order of another server, and a place that this one has not reached.
    let ahead = behind(&position, 11);
    for position in ["0123456789abcdef:1", &ahead] {
        let mut bob = Ws::resume(&broker, "stranger", &since(position));
        let welcome = bob.notice("welcome");
        assert_eq!(
            (
                &welcome["recovered"],
                &welcome["missed"],
                &welcome["replay"]
            ),
            (&json!(false), &Value::Null, &json!(3)),
            "{welcome}"
        );
        assert_eq!([(); 3].map(|()| bob.payload_text()), ["7", "8", "9"]);
        bob.send(CLOSE, &close(1000, ""));
        bob.assert_closed(1000);
    }
}

/// Its own messages are in the order of all others; where they are it is told how many they were.
#[test]
fn a_receipt_is_where_the_message_would_be() {
    let broker = start(settings());
    let mut alice = Ws::resume(&broker, "alice", r#","publisher":"abc""#);
    let welcome = alice.notice("welcome");
    assert_eq!(welcome["published"], Value::Null, "{welcome}");
    let position = welcome["position"].as_str().unwrap().to_owned();
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    alice.send(TEXT, b"one");
    let receipt = alice.notice("receipt");
    assert_eq!(
        receipt,
        json!({"count": 1, "position": behind(&position, 1)})
    );
    assert_eq!(bob.text(), "one");
    bob.send(b"two");
    assert_eq!(alice.marked(), text("two"));
    alice.send(BINARY, b"three");
    let receipt = alice.notice("receipt");
    assert_eq!(
        receipt,
        json!({"count": 1, "position": behind(&position, 3)})
    );
    // It comes back under the same name before anybody knows that it was gone.
    let mut again = Ws::resume(
        &broker,
        "alice",
        &format!(r#"{},"publisher":"ABC""#, since(&behind(&position, 3))),
    );
    let welcome = again.notice("welcome");
    assert_eq!(
        (&welcome["published"], &welcome["replay"]),
        (&json!(2), &json!(0)),
        "{welcome}"
    );
    alice.assert_closed(4409);
    again.send(TEXT, b"four");
    assert_eq!(again.notice("receipt")["position"], behind(&position, 4));
}

#[test]
fn no_payload_passes_for_a_notice() {
    let broker = start(settings());
    let mut bob = Ws::resume(&broker, "bob", "");
    bob.notice("welcome");
    let mut alice = Ws::v2(&broker, "alice", "room");
    for payload in [r#"!{"gap":{"missed":3}}"#, "=", "", "!"] {
        alice.send(TEXT, payload.as_bytes());
        assert_eq!(bob.marked(), text(payload));
        alice.send(BINARY, payload.as_bytes());
        assert_eq!(bob.marked(), Marked::Binary(payload.into()));
    }
    // What it sends itself has no mark.
    bob.send(TEXT, b"=x");
    bob.notice("receipt");
    assert_eq!(alice.next(), Got::Text("=x".to_owned()));
}

/// Such bodies have an offset, and nothing that a v2 client could be sent.
#[test]
fn a_body_that_is_no_message_is_a_gap() {
    let broker = start(settings());
    let mut bob = Ws::resume(&broker, "bob", "");
    let position = bob.notice("welcome")["position"]
        .as_str()
        .unwrap()
        .to_owned();
    let mut alice = Client::join_and_wait(&broker, "alice", "room");
    let body = b"no cbor";
    let header = FrameHeader {
        body_len: body.len(),
        cid: alice.cid,
        key: alice.key,
    };
    let frame = [&header.encode()[..], body].concat();
    std::io::Write::write_all(&mut alice.stream, &frame).unwrap();
    alice.send(b"next");
    assert_eq!(bob.notice("gap"), json!({"missed": 1}));
    assert_eq!(bob.marked(), text("next"));
    bob.send(TEXT, b"own");
    assert_eq!(bob.notice("receipt")["position"], behind(&position, 3));
}

#[test]
fn a_wish_that_makes_no_sense_is_refused_in_words() {
    let broker = start(settings());
    for (keys, words) in [
        (r#","since":"yesterday""#, "since: not a position"),
        (r#","since":"0123456789ABCDEF:1""#, "since: not a position"),
        (r#","since":7"#, "since"),
        (
            r#","publisher":"xyz""#,
            "publisher must be 1 to 16 hex digits",
        ),
        (r#","publisher":7"#, "publisher"),
        (r#","members":-1"#, "members"),
        (r#","resume":"yes""#, "resume"),
    ] {
        let reason = Ws::resume(&broker, "bob", keys).assert_closed(1008);
        assert!(reason.contains(words), "{keys}: {reason}");
    }
    let mut v1 = Ws::open(address(&broker));
    let asks = ResumeRequest {
        since: Some(Position {
            epoch: Epoch(1),
            offset: 2,
        }),
        ..ResumeRequest::default()
    };
    let body = resume_body("bob", "room", b"", &asks);
    let at = body.windows(7).position(|w| w == b"0000001").unwrap();
    let junk = [&body[..at], b"junkabc", &body[at + 7..]].concat();
    v1.send(BINARY, &junk);
    let reason = v1.assert_closed(1007);
    assert!(reason.contains("position"), "{reason}");
    wait_until("they are counted", || broker.stats().refused == 8);
}

/// Without the subprotocol nothing is asked for, whatever a greeting has besides its names.
#[test]
fn the_plain_subprotocol_knows_nothing_of_positions() {
    let broker = start(settings());
    let mut alice = Ws::v2(&broker, "alice", "room");
    let both = "Sec-WebSocket-Protocol: mles-websocket\r\n";
    let mut bob = Ws::ask(address(&broker), &request("/", both)).unwrap();
    let keys = r#","resume":true,"since":"junk","publisher":1,"members":[]"#;
    bob.join(&broker, TEXT, greeting("bob", keys).as_bytes());
    alice.send(TEXT, b"!{}");
    assert_eq!(bob.next(), Got::Text("!{}".to_owned()));
    bob.send(TEXT, b"hi");
    assert_eq!(alice.next(), Got::Text("hi".to_owned()));
    bob.assert_silent();
}
