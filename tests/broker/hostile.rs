//! Clients that send what they should not: they go, and good clients alongside miss nothing.

use std::io::Write as _;

use bytes::Bytes;
use mles::protocol::{
    FrameHeader, HEADER_LEN, Key, Keyring, MAX_BODY_LEN, Message, NestedFrame, encode_frame,
    encode_resync,
};
use mles::{Broker, NameCheck, Settings};

use crate::common::bystanders::Bystanders;
use crate::common::{Client, Rng, assert_closes, reset, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

/// Settings without history, so that every message that comes is news.
fn quiet(spread_threshold: usize) -> Settings {
    let mut settings = Settings {
        spread_threshold,
        ..settings()
    };
    settings.channels.default.history_frames = 0;
    settings
}

/// A frame whose header is good, around any body.
fn frame_around(body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        body_len: body.len(),
        cid: Key(1).cid(),
        key: Key(1),
    };
    [&header.encode()[..], body].concat()
}

/// A good body for `alice` in `room`.
fn good_body() -> Vec<u8> {
    let mut body = Vec::new();
    let message = Message {
        uid: "alice",
        channel: "room",
        message: b"hi",
    };
    message.encode_into(&mut body);
    body
}

/// The good body with `from` replaced by `to`.
fn spoilt(from: &[u8], to: &[u8]) -> Vec<u8> {
    let body = good_body();
    let at = body.windows(from.len()).position(|w| w == from).unwrap();
    [&body[..at], to, &body[at + from.len()..]].concat()
}

/// First frames that no broker may take, with what is wrong with them.
fn bad_first_frames() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |depth: usize, item: u8| frame_around(&vec![item; depth]);
    let good = frame_around(&good_body());
    let zero_length = [&[b'M', 0, 0, 0][..], &good[4..]].concat();
    vec![
        ("bad magic", [b"X", &good[1..]].concat()),
        ("another protocol", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("zero length", zero_length),
        ("bad UTF-8", frame_around(&spoilt(b"alice", b"al\xFFce"))),
        (
            "trailing bytes",
            frame_around(&[&good_body()[..], b"x"].concat()),
        ),
        ("cut off", frame_around(&good_body()[..20])),
        ("unknown key", frame_around(&spoilt(b"message", b"massage"))),
        ("second uid", frame_around(&spoilt(b"gmessage", b"cuid"))),
        ("deep arrays", nested(1 << 20, 0x81)),
        ("deep maps", nested(1 << 20, 0xA1)),
        ("deep tags", nested(1 << 20, 0xC0)),
        (
            "indefinite map",
            frame_around(&[&[0xBF], &good_body()[1..], &[0xFF]].concat()),
        ),
        ("indefinite arrays", nested(1 << 20, 0x9F)),
        (
            "indefinite bytes",
            frame_around(&spoilt(b"\x42hi", b"\x5F\x42hi\xFF")),
        ),
        (
            "huge count",
            frame_around(b"\xBB\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x63uid"),
        ),
        (
            "huge string",
            frame_around(b"\xA3\x7B\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFFuid"),
        ),
        ("number", frame_around(b"\x00")),
        ("wrong key", good),
    ]
}

/// A broker with a secret, and those who know it.
fn guarded() -> (Broker, Bystanders) {
    let keyring = Keyring::new(Some("secret".into()), None);
    let broker = start(Settings {
        keyring: keyring.clone(),
        ..settings()
    });
    let good = Bystanders::start_in(&broker, "bystanders", &keyring);
    (broker, good)
}

#[test]
fn a_bad_first_frame_is_refused() {
    let (broker, good) = guarded();
    for (what, frame) in bad_first_frames() {
        let refused = broker.stats().refused;
        let mut stream = Client::connect(&broker);
        // It fails when the broker does not wait for the rest.
        let _ = stream.write_all(&frame);
        wait_until(what, || broker.stats().refused > refused);
        assert_closes(&mut stream);
    }
    assert_eq!(broker.stats().channels, 1);
    good.finish();
}

/// A resync is for peers that know the key; here its frames are forged, or it is well-formed.
#[test]
fn a_resync_as_first_frame_is_refused() {
    let (broker, good) = guarded();
    let nested = |uid, channel| {
        let message = Message {
            uid,
            channel,
            message: b"forged",
        };
        encode_frame(Key(1).cid(), Key(1), &message).unwrap()
    };
    let forgeries: [Vec<Bytes>; 4] = [
        vec![nested("alice", "bystanders")],
        vec![nested("alice", "room"), nested("bob", "bystanders")],
        vec![nested("alice", "room"), Bytes::from_static(b"M\0\0\x05")],
        vec![nested("alice", "room"); 1000],
    ];
    for frames in forgeries {
        let refused = broker.stats().refused;
        let mut stream = Client::connect(&broker);
        let frames = frames.into_iter();
        let frames: Vec<_> = frames
            .map(|frame| NestedFrame { frame, seq: None })
            .collect();
        let (body, _) = encode_resync(&frames, None, MAX_BODY_LEN).unwrap();
        stream.write_all(&frame_around(&body)).unwrap();
        wait_until("it is refused", || broker.stats().refused > refused);
        assert_closes(&mut stream);
    }
    good.finish();
}

/// Two members, of whom `alice` will misbehave.
fn two(broker: &Broker) -> (Client, Client) {
    let bob = Client::join_and_wait(broker, "bob", "room");
    (Client::join_and_wait(broker, "alice", "room"), bob)
}

#[test]
fn good_frames_before_a_bad_one_are_delivered() {
    for spread_threshold in SPREAD {
        let broker = start(quiet(spread_threshold));
        let good = Bystanders::start(&broker);
        for bad in [&b"X"[..], b"M\0\0\0", b"XMMMMMMMMMMMMMMMMMMMMMMMMMM"] {
            let errors = broker.stats().protocol_errors;
            let (mut alice, mut bob) = two(&broker);
            let frames = [&alice.frame(b"one")[..], &alice.frame(b"two"), bad].concat();
            alice.stream.write_all(&frames).unwrap();
            assert_eq!(bob.text(), "one");
            assert_eq!(bob.text(), "two");
            alice.assert_closed();
            bob.assert_silent();
            assert_eq!(broker.stats().protocol_errors, errors + 1);
            bob.reset();
            wait_until("bob has left", || broker.stats().connections == 4);
        }
        good.finish();
    }
}

#[test]
fn a_bad_frame_right_behind_the_join_frame_ends_the_session() {
    for spread_threshold in SPREAD {
        let broker = start(quiet(spread_threshold));
        let mut bob = Client::join_and_wait(&broker, "bob", "room");
        let (stream, key) = (Client::connect(&broker), Keyring::default());
        let mut alice = Client::on(stream, &key, "alice", "room", None);
        let frames = [&alice.frame(b"one")[..], &alice.frame(b"two"), b"XXXX"].concat();
        alice.stream.write_all(&frames).unwrap();
        assert_eq!(bob.text(), "one");
        assert_eq!(bob.text(), "two");
        alice.assert_closed();
        wait_until("it is counted", || broker.stats().protocol_errors == 1);
    }
}

#[test]
fn check_names_says_which_names_pass() {
    // (mode, passes another uid, passes another channel, passes what is no body)
    let modes = [
        (NameCheck::Off, true, true, true),
        (NameCheck::Channel, true, false, false),
        (NameCheck::Sender, false, false, false),
    ];
    for (mode, other_uid, other_channel, no_body) in modes {
        for spread_threshold in SPREAD {
            let mut settings = quiet(spread_threshold);
            settings.limits.check_names = mode;
            let broker = start(settings);
            let named = |uid, channel| {
                let message = Message {
                    uid,
                    channel,
                    message: b"hi",
                };
                encode_frame(Key(1).cid(), Key(1), &message).unwrap()
            };
            let frames = [
                (named("alice", "room"), true),
                (named("mallory", "room"), other_uid),
                (named("alice", "elsewhere"), other_channel),
                (frame_around(b"nonsense").into(), no_body),
            ];
            for (frame, passes) in frames {
                assert_passes(&broker, &frame, passes);
            }
        }
    }
}

fn assert_passes(broker: &Broker, frame: &[u8], passes: bool) {
    let (mut alice, mut bob) = two(broker);
    let errors = broker.stats().protocol_errors;
    alice.stream.write_all(frame).unwrap();
    if passes {
        wait_until("it has passed", || {
            bob.take_raw(frame.len()) == Some(frame.to_vec())
        });
    } else {
        alice.assert_closed();
        bob.assert_silent();
        assert_eq!(broker.stats().protocol_errors, errors + 1);
    }
    alice.reset();
    bob.reset();
    wait_until("both have left", || broker.stats().connections == 0);
}

/// Thousands that come and go, each in another state when it does.
#[test]
fn churn_leaves_nothing_behind() {
    const ROUNDS: usize = 3000;
    let mut rng = Rng::seeded();
    let settings = quiet(3);
    let broker = start(settings);
    let good = Bystanders::start(&broker);
    for i in 0..ROUNDS {
        let channel = format!("room {}", rng.below(5));
        let stream = Client::connect(&broker);
        let key = Keyring::default();
        let mut client = Client::on(stream, &key, &format!("client {i}"), &channel, None);
        let frames = [client.frame(b""), client.frame(&[b'x'; 100])].concat();
        let part = &frames[..rng.below(frames.len() + 1)];
        client.stream.write_all(part).unwrap();
        reset(client.stream);
    }
    let all = ROUNDS as u64 + 4;
    wait_until("all have come", || broker.stats().accepted == all);
    wait_until("all are gone", || broker.stats().connections == 4);
    wait_until("so are their channels", || broker.stats().channels == 1);
    good.finish();
}

/// The memory for incomplete frames is shared, and those who have not joined cannot take all of
/// it from those who have.
#[test]
fn unfinished_join_frames_do_not_take_the_memory_of_members() {
    let mut settings = settings();
    settings.shards = Some(1);
    settings.limits.max_frame = 1 << 20;
    settings.limits.partial_bytes = 8 << 20;
    let broker = start(settings);
    let (mut alice, mut bob) = two(&broker);
    let frame = alice.frame(&vec![b'x'; 1_000_000]);
    let _hostile: Vec<_> = (0..30)
        .map(|_| {
            let mut stream = Client::connect(&broker);
            // It fails for those that go over the limit.
            let _ = stream.write_all(&frame[..900_000]);
            stream
        })
        .collect();
    wait_until("some went over", || broker.stats().partials_evicted > 0);
    for _ in 0..5 {
        let large = vec![b'y'; 1_000_000];
        alice.send(&large);
        assert_eq!(bob.receive_message().message, large);
    }
}

/// When the memory for incomplete frames is used up members are let go, and what they held is free.
#[test]
fn memory_for_incomplete_frames_is_bounded_and_given_back() {
    let mut settings = settings();
    settings.shards = Some(1);
    settings.limits.max_frame = 1 << 20;
    settings.limits.partial_bytes = 4 << 20;
    let broker = start(settings);
    for round in 1..=3 {
        let mut members: Vec<_> = (0..12)
            .map(|i| Client::join_and_wait(&broker, &format!("member {i}"), "room"))
            .collect();
        let frame = members[0].frame(&vec![b'x'; 1_000_000]);
        for member in &mut members {
            let _ = member.stream.write_all(&frame[..900_000]);
        }
        wait_until("some went over", || {
            broker.stats().partials_evicted >= round
        });
        members.into_iter().for_each(Client::reset);
        wait_until("all are gone", || broker.stats().connections == 0);
        let (mut alice, mut bob) = two(&broker);
        alice.send(&vec![b'y'; 1_000_000]);
        assert_eq!(bob.receive_message().message.len(), 1_000_000);
        alice.reset();
        bob.reset();
        wait_until("all are gone", || broker.stats().connections == 0);
    }
}

#[test]
fn the_good_body_is_good() {
    assert!(Message::decode(&frame_around(&good_body())[HEADER_LEN..]).is_ok());
}
