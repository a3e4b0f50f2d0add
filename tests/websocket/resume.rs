//! Sessions over WebSocket that ask for positions: what they get when they come back, and what they are told.

use mles::channel::SlowPolicy;
use mles::protocol::{
    Cid, Epoch, FrameHeader, HEADER_LEN, Key, Keyring, Message, Position, ResumeRequest,
    encode_resume_join,
};
use mles::{Broker, Settings};
use serde_json::{Value, json};

use crate::common::slow::{MANY, QUEUE, message, number, send_many};
use crate::common::websocket::{
    BINARY, CLOSE, Got, TEXT, Ws, address, body, close, request, settings,
};
use crate::common::{Client, start, wait_until};

const RESUME: &str = "Sec-WebSocket-Protocol: mles-websocket, mles-websocket.resume\r\n";

/// A message of a v2 session that asks for positions.
#[derive(Clone, Debug, PartialEq)]
enum Marked {
    Text(String),
    Binary(Vec<u8>),
    Notice(Value),
}

fn text(text: &str) -> Marked {
    Marked::Text(text.to_owned())
}

impl Ws {
    /// Opens a v2 session of the resuming subprotocol, with more keys in its greeting.
    pub fn resume(broker: &Broker, uid: &str, keys: &str) -> Self {
        let mut ws = Self::open_resuming(broker);
        ws.send(TEXT, greeting(uid, keys).as_bytes());
        ws
    }

    fn open_resuming(broker: &Broker) -> Self {
        let mut ws = Self::on(Client::connect(&address(broker)));
        ws.raw(&request("/", RESUME));
        let head = String::from_utf8(ws.head().unwrap()).unwrap();
        assert!(
            head.contains("\r\nSec-WebSocket-Protocol: mles-websocket.resume\r\n"),
            "{head}"
        );
        ws
    }

    fn marked(&mut self) -> Marked {
        match self.next() {
            Got::Text(text) => match text.split_at(1) {
                ("=", text) => Marked::Text(text.to_owned()),
                ("!", json) => Marked::Notice(serde_json::from_str(json).unwrap()),
                _ => panic!("no mark: {text}"),
            },
            Got::Binary(bytes) => {
                assert_eq!(bytes[0], b'=');
                Marked::Binary(bytes[1..].to_vec())
            }
            got => panic!("{got:?}"),
        }
    }

    pub fn notice(&mut self, name: &str) -> Value {
        match self.marked() {
            Marked::Notice(notice) if !notice[name].is_null() => notice[name].clone(),
            got => panic!("{got:?} instead of {name}"),
        }
    }

    fn payload_text(&mut self) -> String {
        match self.marked() {
            Marked::Text(text) => text,
            got => panic!("{got:?}"),
        }
    }

    /// The next notice of a v1 session, which is text.
    pub fn body_notice(&mut self, channel: &str, name: &str) -> Value {
        match self.message() {
            Got::Text(json) => {
                let notice: Value = serde_json::from_str(&json).unwrap();
                assert_eq!(notice["channel"], channel, "{json}");
                assert!(!notice[name].is_null(), "{json}");
                notice[name].clone()
            }
            got => panic!("{got:?} instead of {name}"),
        }
    }
}

fn greeting(uid: &str, keys: &str) -> String {
    format!(r#"{{"uid":"{uid}","channel":"room"{keys}}}"#)
}

fn since(position: &str) -> String {
    format!(r#","since":"{position}""#)
}

/// A first body of v1 with a wish for positions.
pub fn resume_body(uid: &str, channel: &str, message: &[u8], request: &ResumeRequest) -> Vec<u8> {
    let message = Message {
        uid,
        channel,
        message,
    };
    let frame = encode_resume_join(Cid(0), Key(0), &message, request).unwrap();
    frame[HEADER_LEN..].to_vec()
}

/// The position that is `count` messages behind another.
fn behind(position: &str, count: u64) -> String {
    let position: Position = position.parse().unwrap();
    let offset = position.offset + count;
    Position { offset, ..position }.to_string()
}

fn with_history(frames: usize) -> Settings {
    let mut settings = settings();
    settings.channels.default.history_frames = frames;
    settings
}

/// Waits until all that `alice` has sent is in the order.
fn settle(broker: &Broker, frames: u64) {
    wait_until("all is published", || broker.stats().frames_in == frames);
}

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
