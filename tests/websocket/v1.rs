//! Mles v1 over WebSocket: bodies without headers, any number of (uid, channel) pairs on one
//! session, on the same channels as members over TCP.

use mles::protocol::{
    Cid, FrameHeader, HEADER_LEN, Key, Keyring, MAX_BODY_LEN, Message, NestedFrame, encode_frame,
    encode_resync,
};
use mles::{Broker, Settings};

use crate::common::websocket::{
    self, BINARY, FIN, Got, TEXT, Ws, address, body, frame, quiet, request, settings,
};
use crate::common::{Client, start, wait_until};

#[test]
fn bodies_go_both_ways() {
    let broker = start(quiet());
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut alice = Ws::v1(&broker, "alice", "room");
    bob.send(b"hi");
    assert_eq!(alice.message(), Got::Binary(body("bob", "room", b"hi")));
    for message in [&b"hello"[..], b"\0\xFF", &[b'x'; 200], &[b'y'; 70_000]] {
        alice.send(BINARY, &body("alice", "room", message));
        assert_eq!(bob.receive_message().message, message);
        bob.send(message);
        assert_eq!(alice.payload(), message);
    }
}

/// What reaches members over TCP is a frame as any other: with the key that the server itself gives
/// a client there, and a connection id of its own for each session.
#[test]
fn members_over_tcp_get_whole_frames() {
    let broker = start(quiet());
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut cids = vec![bob.cid];
    for uid in ["alice", "alice", "carol"] {
        let mut ws = Ws::v1(&broker, uid, "room");
        ws.send(BINARY, &body(uid, "room", b"one"));
        ws.send(BINARY, &body(uid, "room", b"two"));
        let key = Keyring::default().session_key(ws.stream.local_addr().unwrap(), uid, "room");
        let got = [bob.receive_message(), bob.receive_message()];
        for (received, message) in got.iter().zip([b"one", b"two"]) {
            let header = FrameHeader::decode(&received.raw).unwrap().unwrap();
            assert_eq!(header.body_len, received.raw.len() - HEADER_LEN);
            assert_eq!(header.key, key);
            assert_eq!(received.raw[HEADER_LEN..], body(uid, "room", message)[..]);
        }
        assert_eq!(got[0].cid, got[1].cid);
        assert_ne!(got[0].cid, Cid(0));
        assert!(!cids.contains(&got[0].cid));
        cids.push(got[0].cid);
        std::mem::forget(ws);
    }
}

/// Two uids and enough channels for both shards, on one connection.
#[test]
fn pairs_share_a_session() {
    let broker = start(quiet());
    let channels: Vec<_> = (0..8).map(|i| format!("room {i}")).collect();
    let mut ws = Ws::open(address(&broker));
    let mut members: Vec<_> = channels
        .iter()
        .map(|channel| Client::join_and_wait(&broker, "member", channel))
        .collect();
    for channel in &channels {
        ws.join(&broker, BINARY, &body("alice", channel, b""));
        ws.join(&broker, BINARY, &body("bob", channel, b""));
    }
    assert_eq!(broker.stats().connections, 8 + 16);
    for (channel, member) in channels.iter().zip(&mut members) {
        for uid in ["alice", "bob", "alice"] {
            ws.send(BINARY, &body(uid, channel, uid.as_bytes()));
            let got = member.receive_message();
            assert_eq!((&*got.uid, &got.channel), (uid, channel));
            // The other seat of the same session is a member as any other.
            assert_eq!(
                ws.message(),
                Got::Binary(body(uid, channel, uid.as_bytes()))
            );
        }
        member.send(b"to both");
        for _ in 0..2 {
            let expected = Got::Binary(body("member", channel, b"to both"));
            assert_eq!(ws.message(), expected);
        }
    }
    drop(ws);
    wait_until("its seats are free", || broker.stats().connections == 8);
}

/// One read may bring joins, messages of several pairs, and more.
#[test]
fn what_is_sent_at_once_is_taken_in_order() {
    let broker = start(quiet());
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut carol = Client::join_and_wait(&broker, "carol", "elsewhere");
    let mut all = request("/", "Sec-WebSocket-Protocol: a, mles-websocket\r\n");
    for i in 0..100 {
        let (channel, uid) = (["room", "elsewhere"][i % 2], ["x", "y", "z"][i % 3]);
        all.extend(frame(BINARY, &body(uid, channel, i.to_string().as_bytes())));
    }
    // Behind the request, before there is an answer.
    let _ws = Ws::ask(address(&broker), &all).unwrap();
    for i in (0..100).step_by(2) {
        assert_eq!(bob.text(), i.to_string());
        assert_eq!(carol.text(), (i + 1).to_string());
    }
}

#[test]
fn history_comes_first_and_a_first_message_is_published() {
    let broker = start(settings());
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut early = Ws::open(address(&broker));
    early.join(&broker, BINARY, &body("early", "room", b"0"));
    assert_eq!(bob.text(), "0");
    for i in 1..20 {
        bob.send(i.to_string().as_bytes());
        assert_eq!(early.payload(), i.to_string().as_bytes());
    }
    let mut late = Ws::v1(&broker, "late", "room");
    for i in 0..20 {
        assert_eq!(late.payload(), i.to_string().as_bytes());
    }
    bob.send(b"live");
    assert_eq!(late.payload(), b"live");
    late.assert_silent();
}

#[test]
fn joins_without_a_message_are_announced() {
    let broker = start(quiet());
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut alice = Ws::v1(&broker, "alice", "room");
    let hint = bob.receive();
    assert_eq!((&*hint.uid, &hint.message[..]), ("alice", &b""[..]));
    let _carol = Client::join_and_wait(&broker, "carol", "room");
    assert_eq!(alice.next(), Got::Binary(body("carol", "room", b"")));
    let mut second = Ws::open(address(&broker));
    second.join(&broker, BINARY, &body("dave", "room", b"says"));
    assert_eq!(alice.next(), Got::Binary(body("dave", "room", b"says")));
    alice.assert_silent();
}

/// A large message, whole and in fragments with pings in between.
#[test]
fn large_messages_and_fragments_pass() {
    let broker = start(quiet());
    let mut bob = Client::join_and_wait(&broker, "bob", "room");
    let mut alice = Ws::v1(&broker, "alice", "room");
    let large: Vec<u8> = (0..3 << 20)
        .map(|i: u32| i.to_le_bytes()[i as usize % 3])
        .collect();
    let large_body = body("alice", "room", &large);
    alice.send(BINARY, &large_body);
    assert_eq!(bob.receive_message().message, large);
    let sending = std::thread::spawn(move || {
        bob.send(&large);
        (bob, large)
    });
    let got = alice.payload();
    let (mut bob, large) = sending.join().unwrap();
    assert!(got == large);
    let mut parts = large_body.chunks(100_000);
    alice.send(BINARY & !FIN, parts.next().unwrap());
    for part in parts {
        alice.send(0x09 | FIN, b"still here");
        alice.send(0, part);
    }
    alice.send(FIN, b"");
    assert!(bob.receive_message().message == large);
    assert_eq!(alice.next(), Got::Pong(b"still here".to_vec()));
}

#[test]
fn what_is_no_body_ends_the_session() {
    let mut small = quiet();
    small.limits.max_uid = 10;
    small.limits.max_channel_name = 10;
    small.limits.max_frame = 10_000;
    let broker = start(small);
    let (body, long) = (|m: &[u8]| body("alice", "room", m), "eleven char");
    let nested = NestedFrame {
        frame: encode_frame(Cid(1), Key(1), &message("alice", "room")).unwrap(),
        seq: None,
    };
    let (resync, _) = encode_resync(&[nested], None, MAX_BODY_LEN).unwrap();
    let cases: [(&str, u8, Vec<u8>, u16); 10] = [
        ("text", TEXT, b"hi".to_vec(), 1003),
        ("the beginning of text", TEXT & !FIN, b"hi".to_vec(), 1003),
        ("nothing", BINARY, Vec::new(), 1007),
        ("rubbish", BINARY, b"rubbish".to_vec(), 1007),
        ("a resync", BINARY, resync, 1007),
        (
            "more behind it",
            BINARY,
            [&body(b"x")[..], b"y"].concat(),
            1007,
        ),
        (
            "a long uid",
            BINARY,
            websocket::body(long, "room", b""),
            1008,
        ),
        (
            "a long channel",
            BINARY,
            websocket::body("alice", long, b""),
            1008,
        ),
        ("too long a body", BINARY, body(&[0; 10_000]), 1009),
        (
            "too long a body with its header",
            BINARY,
            body(&[0; 9980]),
            1009,
        ),
    ];
    for (what, first, payload, code) in cases {
        for has_joined in [false, true] {
            if first & 0xF == 1 && !has_joined {
                continue;
            }
            let mut bob = Client::join_and_wait(&broker, "bob", "room");
            let mut ws = Ws::open(address(&broker));
            if has_joined {
                ws.join(&broker, BINARY, &body(b""));
                ws.send(BINARY, &body(b"before"));
            }
            ws.send(first, &payload);
            eprintln!("{what}");
            ws.assert_closed(code);
            if has_joined {
                assert_eq!(bob.text(), "before");
            }
            bob.assert_silent();
            bob.reset();
            wait_until("all are gone", || broker.stats().connections == 0);
        }
    }
}

fn message<'a>(uid: &'a str, channel: &'a str) -> Message<'a> {
    Message {
        uid,
        channel,
        message: b"x",
    }
}

#[test]
fn a_pair_over_the_limits_ends_the_session() {
    type Limit = fn(&mut Settings);
    let limits: [(&str, Limit); 2] = [
        ("connections", |s| s.limits.max_connections_per_address = 2),
        ("channels", |s| s.limits.max_channels = 2),
    ];
    for (what, limit) in limits {
        let mut settings = quiet();
        limit(&mut settings);
        let broker = start(settings);
        let mut ws = Ws::v1(&broker, "alice", "room 1");
        ws.join(&broker, BINARY, &body("alice", "room 2", b""));
        ws.send(BINARY, &body("alice", "room 3", b""));
        let reason = ws.assert_closed(1013);
        assert!(
            reason.contains(what) || reason.contains("limit"),
            "{reason}"
        );
        wait_until("all are gone", || broker.stats().connections == 0);
        assert_rejoins(&broker);
    }
}

fn assert_rejoins(broker: &Broker) {
    wait_until("the channels are gone", || broker.stats().channels == 0);
    let _alice = Ws::v1(broker, "alice", "room 1");
}

#[test]
fn there_is_a_limit_to_the_pairs_of_one_session() {
    let broker = start(quiet());
    let mut ws = Ws::v1(&broker, "alice", "room 0");
    let pairs = |range: std::ops::Range<u32>| -> Vec<u8> {
        let bodies = range.map(|i| body("alice", &format!("room {i}"), b""));
        bodies.flat_map(|body| frame(BINARY, &body)).collect()
    };
    ws.raw(&pairs(1..1000));
    wait_until("all are joined", || broker.stats().joined == 1000);
    ws.raw(&pairs(1000..1001));
    let reason = ws.assert_closed(1008);
    assert!(reason.contains("1000"), "{reason}");
    wait_until("all are gone", || broker.stats().connections == 0);
}
