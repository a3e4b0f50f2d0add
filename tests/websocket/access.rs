//! The right to join over WebSocket: keys, origins, subprotocols.

use std::hash::Hasher as _;
use std::io::Write as _;

use mles::Broker;
use mles::protocol::{Key, Keyring};
use siphasher::sip::SipHasher24;

use crate::common::websocket::{
    self, BINARY, CLOSE, Got, TEXT, Ws, address, body, frame, hello, quiet, request,
};
use crate::common::{Client, start, wait_until};

const SECRET: &str = "s3cret";

/// The session key, which proves in an address that the secret is known.
fn key(uid: &str, channel: &str) -> String {
    format!("{:x}", Key::from_parts([SECRET, uid, channel]).0)
}

/// The hash that proves it in a greeting.
fn auth(uid: &str, channel: &str) -> String {
    let mut hasher = SipHasher24::new();
    for part in [uid, channel, SECRET] {
        hasher.write(part.as_bytes());
    }
    format!("{:x}", hasher.finish())
}

fn keyed(trust: bool) -> Broker {
    let mut settings = quiet();
    settings.keyring = Keyring::new(Some(SECRET.to_owned()), None);
    settings.websocket.trust = trust;
    start(settings)
}

/// Opens a session with `path` and `headers`, joins with `greeting`, and tells with which code it
/// is closed; `None` if it is a member.
fn join(broker: &Broker, path: &str, headers: &str, greeting: (u8, &[u8])) -> Option<u16> {
    let keyring = Keyring::new(Some(SECRET.to_owned()), None);
    let before = broker.stats();
    let mut member = Client::join_with(broker, &keyring, "member", "room", b"", None);
    wait_until("the member is in", || broker.stats().joined > before.joined);
    let mut ws = Ws::ask(address(broker), &request(path, headers)).unwrap();
    ws.send(greeting.0, greeting.1);
    let code = loop {
        let stats = broker.stats();
        if stats.joined > before.joined + 1 {
            member.send(b"welcome");
            assert!(matches!(
                ws.message(),
                websocket::Got::Binary(_) | websocket::Got::Text(_)
            ));
            break None;
        }
        if stats.refused > before.refused {
            let websocket::Got::Close(code, _) = ws.next() else {
                panic!("no close");
            };
            ws.assert_end();
            member.assert_silent();
            break Some(code);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    drop(ws);
    member.reset();
    wait_until("all are gone", || broker.stats().connections == 0);
    code
}

#[test]
fn a_key_has_to_be_shown() {
    let broker = keyed(false);
    let (good, other) = (key("alice", "room"), key("alice", "elsewhere"));
    let query = |auth: &str| format!("/?auth={auth}");
    let bearer = format!("Authorization: Bearer {SECRET}\r\n");
    let v1 = body("alice", "room", b"");
    let v1 = (BINARY, &v1[..]);
    let greeting = hello("alice", "room");
    let v2 = (TEXT, greeting.as_bytes());
    for greeting in [v1, v2] {
        assert_eq!(join(&broker, "/", "", greeting), Some(4401));
        assert_eq!(join(&broker, &query(&other), "", greeting), Some(4401));
        assert_eq!(join(&broker, &query("0"), "", greeting), Some(4401));
        assert_eq!(join(&broker, &query(&good), "", greeting), None);
        let several = format!("{other},{good}");
        assert_eq!(join(&broker, &query(&several), "", greeting), None);
        assert_eq!(join(&broker, "/", &bearer, greeting), None);
    }
    let (good, other) = (auth("alice", "room"), auth("alice", "elsewhere"));
    for (auth, code) in [(good, None), (other, Some(4401))] {
        let greeting = format!(r#"{{"uid":"alice","channel":"room","auth":"{auth}"}}"#);
        assert_eq!(join(&broker, "/", "", (TEXT, greeting.as_bytes())), code);
    }
}

/// Each pair of a session has to be proved.
#[test]
fn a_hash_is_for_its_pair_only() {
    let broker = keyed(false);
    let both = format!(
        "/?auth={}&auth={}",
        key("alice", "one"),
        key("alice", "two")
    );
    let mut ws = Ws::ask(address(&broker), &request(&both, "")).unwrap();
    ws.join(&broker, BINARY, &body("alice", "one", b""));
    ws.join(&broker, BINARY, &body("alice", "two", b""));
    ws.send(BINARY, &body("bob", "one", b"forged"));
    ws.assert_closed(4401);
}

#[test]
fn a_wrong_bearer_gets_no_session() {
    let broker = keyed(false);
    let wrong = request("/", "Authorization: Bearer guess\r\n");
    let answer = Ws::ask(address(&broker), &wrong).unwrap_err();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
}

#[test]
fn with_trust_nothing_has_to_be_shown() {
    let broker = keyed(true);
    let v1 = body("alice", "room", b"");
    assert_eq!(join(&broker, "/", "", (BINARY, &v1)), None);
    let greeting = hello("alice", "room");
    assert_eq!(join(&broker, "/", "", (TEXT, greeting.as_bytes())), None);
}

/// The status of the answer to a request with these headers.
fn status(broker: &Broker, host: &str, headers: &str) -> u16 {
    let request = String::from_utf8(request("/", headers)).unwrap();
    let request = request.replace("Host: localhost", &format!("Host: {host}"));
    match Ws::ask(address(broker), request.as_bytes()) {
        Ok(_) => 101,
        Err(answer) => answer["HTTP/1.1 ".len()..][..3].parse().unwrap(),
    }
}

#[test]
fn pages_from_elsewhere_are_refused() {
    let mut settings = quiet();
    settings.websocket.origins = vec!["https://chat.example.org".to_owned()];
    let broker = start(settings);
    for (origin, expected) in [
        ("http://localhost", 101),
        ("https://chat.example.org", 101),
        ("http://chat.example.org", 403),
        ("http://localhost:8076", 403),
        ("http://evil.example", 403),
        ("null", 403),
    ] {
        let origin_header = format!("Origin: {origin}\r\n");
        assert_eq!(
            status(&broker, "localhost", &origin_header),
            expected,
            "{origin}"
        );
    }
    wait_until("they are counted", || broker.stats().refused == 4);
}

/// Without a key being on this machine is all that protects a channel: a page must not get here by
/// a name that its owner lets lead here.
#[test]
fn names_of_others_do_not_lead_here_without_a_key() {
    let open = start(quiet());
    for (broker, expected) in [(open, 403), (keyed(true), 403), (keyed(false), 101)] {
        let host = "rebound.example:8076";
        let origin = format!("Origin: http://{host}\r\n");
        assert_eq!(status(&broker, host, &origin), expected);
        for host in ["localhost:8076", "127.0.0.1:8076", "[::1]:8076"] {
            let origin = format!("Origin: http://{host}\r\n");
            assert_eq!(status(&broker, host, &origin), 101, "{host}");
        }
        assert_eq!(status(&broker, host, ""), 101);
    }
}

#[test]
fn other_subprotocols_are_refused() {
    let broker = start(quiet());
    for (protocols, expected) in [
        ("mles-websocket", 101),
        ("a, mles-websocket", 101),
        ("a,b", 400),
        ("mles-websocket2", 400),
    ] {
        let header = format!("Sec-WebSocket-Protocol: {protocols}\r\n");
        assert_eq!(
            status(&broker, "localhost", &header),
            expected,
            "{protocols}"
        );
    }
}

/// The start of another message lies behind the greeting. What it takes moves to the memory of the
/// members, of which those have all who stand still.
#[test]
fn a_message_begun_before_the_join_finds_its_memory() {
    let mut settings = quiet();
    settings.shards = Some(1);
    settings.limits.max_frame = 64 << 10;
    settings.limits.partial_bytes = 0;
    let broker = start(settings);
    let mut bob = Ws::v2(&broker, "bob", "room");
    // Members that have begun frames hold nearly all of the memory that there is: twice `max_frame`.
    let _holders: Vec<Client> = [63, 30, 20]
        .into_iter()
        .map(|kib| {
            let mut holder = Client::join_and_wait(&broker, &format!("{kib} KiB"), "room");
            let frame = holder.frame(&vec![b'.'; kib << 10]);
            holder.stream.write_all(&frame[..frame.len() - 1]).unwrap();
            holder
        })
        .collect();
    let begun = frame(BINARY, &vec![0; 30 << 10]);
    let (first, rest) = begun.split_at(20 << 10);
    wait_until("somebody gives way", || {
        let mut alice = Ws::open(address(&broker));
        let hello = frame(TEXT, hello("alice", "room").as_bytes());
        alice.raw(&[&hello, first].concat());
        alice.raw(rest);
        assert_eq!(bob.next(), Got::Binary(vec![0; 30 << 10]));
        alice.send(CLOSE, b"");
        alice.assert_closed(1005);
        broker.stats().partials_evicted > 0
    });
    assert_eq!(broker.stats().refused, 0);
}
