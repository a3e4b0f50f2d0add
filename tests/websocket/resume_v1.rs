//! Sessions of v1 over WebSocket that ask for positions, and what both versions are told when they are slow.

use mles::channel::SlowPolicy;
use mles::protocol::{HEADER_LEN, Keyring, Message, ResumeRequest};
use serde_json::{Value, json};

use crate::common::slow::{MANY, QUEUE, message, number, send_many};
use crate::common::websocket::{BINARY, Got, TEXT, Ws, address, body, settings};
use crate::common::{Client, start, wait_until};
use crate::resuming::{Marked, behind, resume_body, with_history};

/// The key that asks is nobody else's business.
#[test]
fn v1_sessions_ask_in_their_first_body() {
    let broker = start(settings());
    let mut fellow = Ws::v1(&broker, "fellow", "room");
    let mut tcp = Client::join_and_wait(&broker, "tcp", "room");
    let mut bob = Ws::open(address(&broker));
    let asks = ResumeRequest {
        publisher: Some(7),
        ..ResumeRequest::default()
    };
    bob.send(BINARY, &resume_body("bob", "room", b"hello", &asks));
    let welcome = bob.body_notice("room", "welcome");
    assert_eq!(
        (
            &welcome["recovered"],
            &welcome["replay"],
            &welcome["published"]
        ),
        (&json!(true), &json!(0), &Value::Null),
        "{welcome}"
    );
    let position = welcome["position"].as_str().unwrap().to_owned();
    let expected = Got::Binary(body("bob", "room", b"hello"));
    assert_eq!(fellow.message(), expected);
    let received = tcp.receive_message();
    assert_eq!(received.raw[HEADER_LEN..], body("bob", "room", b"hello"));
    let receipt = bob.body_notice("room", "receipt");
    assert_eq!(
        receipt,
        json!({"count": 1, "position": behind(&position, 1)})
    );
    tcp.send(b"back");
    assert_eq!(bob.payload(), b"back");
    drop(bob);
    wait_until("bob has left", || broker.stats().left == 1);
    tcp.send(b"missed");
    assert_eq!(fellow.payload(), b"back");
    assert_eq!(fellow.payload(), b"missed");
    let mut bob = Ws::open(address(&broker));
    let asks = ResumeRequest {
        since: Some(behind(&position, 2).parse().unwrap()),
        publisher: Some(7),
        ..ResumeRequest::default()
    };
    bob.send(BINARY, &resume_body("bob", "room", b"", &asks));
    let expected = json!({
        "position": behind(&position, 3), "replay": 1, "recovered": true, "missed": 0,
        "published": 1,
    });
    assert_eq!(bob.body_notice("room", "welcome"), expected);
    assert_eq!(bob.payload(), b"missed");
    // A later joiner gets the body as it was without the key.
    let mut late = Ws::v1(&broker, "late", "room");
    assert_eq!(late.message(), Got::Binary(body("bob", "room", b"hello")));
}

/// The subprotocol is one of v2: in v1 it is the first body that asks.
#[test]
fn v1_over_the_resuming_subprotocol_is_as_it_was() {
    let broker = start(settings());
    let mut bob = Ws::open_resuming(&broker);
    bob.join(&broker, BINARY, &body("bob", "room", b""));
    let mut alice = Ws::v1(&broker, "alice", "room");
    alice.send(BINARY, &body("alice", "room", b"hello"));
    assert_eq!(bob.message(), Got::Binary(body("alice", "room", b"hello")));
    bob.send(BINARY, &body("bob", "room", b"back"));
    assert_eq!(alice.payload(), b"back");
    bob.assert_silent();
}

/// A notice and a message name the channel, and not for which session of a connection they are.
#[test]
fn one_session_of_a_connection_asks_in_a_channel() {
    let broker = start(settings());
    let asks = ResumeRequest::default();
    let plain = |uid: &str| body(uid, "room", b"");
    let asking = |uid: &str| resume_body(uid, "room", b"", &asks);
    for (first, second) in [
        (asking("one"), asking("two")),
        (asking("one"), plain("two")),
        (plain("one"), asking("two")),
        (plain("one"), asking("one")),
    ] {
        let mut ws = Ws::open(address(&broker));
        ws.join(&broker, BINARY, &first);
        ws.send(BINARY, &second);
        let reason = loop {
            match ws.message() {
                Got::Close(1008, reason) => break reason,
                Got::Text(_) => {}
                got => panic!("{got:?}"),
            }
        };
        assert!(reason.contains("one session"), "{reason}");
        ws.assert_end();
    }
    let mut ws = Ws::open(address(&broker));
    for channel in ["a", "b"] {
        ws.send(BINARY, &resume_body("one", channel, b"", &asks));
        ws.body_notice(channel, "welcome");
    }
    ws.send(BINARY, &body("one", "c", b""));
    ws.send(BINARY, &body("two", "c", b""));
    for channel in ["a", "b", "c"] {
        Client::join_with(&broker, &Keyring::default(), "x", channel, b"hi", None);
        assert_eq!(ws.payload(), b"hi");
    }
}

/// Counting on from the welcome leads to each receipt, whatever was dropped in between.
#[test]
fn drop_oldest_tells_how_many_are_gone() {
    let mut settings = with_history(0);
    settings.channels.default.slow_policy = SlowPolicy::DropOldest;
    settings.channels.default.queue_bytes = QUEUE;
    let broker = start(settings);
    for is_v2 in [false, true] {
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        let asks = ResumeRequest::default();
        let mut slow = if is_v2 {
            Ws::resume(&broker, "slow", "")
        } else {
            let mut slow = Ws::open(address(&broker));
            slow.send(BINARY, &resume_body("slow", "room", b"", &asks));
            slow
        };
        let next = |slow: &mut Ws| match is_v2 {
            true => match slow.marked() {
                Marked::Text(text) => Ok(number(text.as_bytes())),
                Marked::Notice(notice) => Err(notice),
                got => panic!("{got:?}"),
            },
            false => match slow.message() {
                Got::Binary(body) => Ok(number(Message::decode(&body).unwrap().message)),
                Got::Text(json) => Err(serde_json::from_str(&json).unwrap()),
                got => panic!("{got:?}"),
            },
        };
        let welcome = next(&mut slow).unwrap_err();
        let position = welcome["welcome"]["position"].as_str().unwrap().to_owned();
        let dropped = broker.stats().dropped_frames;
        send_many(&mut alice, &mut reader);
        let (mut expected, mut missed) = (0, 0);
        while expected < MANY {
            match next(&mut slow) {
                Ok(number) => {
                    assert_eq!(number, expected);
                    expected += 1;
                }
                Err(notice) => {
                    let gap = notice["gap"]["missed"].as_u64().unwrap();
                    missed += gap;
                    expected += usize::try_from(gap).unwrap();
                }
            }
        }
        assert_eq!(broker.stats().dropped_frames - dropped, missed);
        assert!(missed > 0);
        // It is a member like any other again, and knows where it is.
        alice.send(&message(MANY));
        assert_eq!(next(&mut slow), Ok(MANY));
        slow.send(
            if is_v2 { TEXT } else { BINARY },
            &if is_v2 {
                b"own".to_vec()
            } else {
                body("slow", "room", b"own")
            },
        );
        let receipt = next(&mut slow).unwrap_err();
        let many = u64::try_from(MANY).unwrap();
        assert_eq!(receipt["receipt"]["position"], behind(&position, many + 2));
        let left = broker.stats().left;
        drop((alice, reader, slow));
        wait_until("all have left", || broker.stats().left == left + 3);
    }
}
