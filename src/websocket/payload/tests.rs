//! Runs turned into what WebSocket members get, and v2 messages through Mles frames and back.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::frame::server_frame_len;
use super::*;
use crate::protocol::{FrameHeader, MAX_BODY_LEN, Message, encode_frame, is_presence};

const HOLDER: (Cid, Key) = (Cid(7), Key(9));

fn v1(message: &[u8]) -> Vec<u8> {
    let message = Message {
        uid: "alice",
        channel: "room",
        message,
    };
    encode_frame(HOLDER.0, HOLDER.1, &message).unwrap().into()
}

fn v2(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let names = BodyPrefix::new("alice", "room");
    let mut out = Vec::new();
    put_message_start(&mut out, HOLDER, &names, kind, payload.len()).unwrap();
    out.extend_from_slice(payload);
    out
}

fn raw(body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        body_len: body.len(),
        cid: HOLDER.0,
        key: HOLDER.1,
    };
    [header.encode().as_slice(), body].concat()
}

/// The frames of ours in `run`: the first byte and the payload of each.
fn sent(mut run: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while !run.is_empty() {
        let (frame, rest) = run.split_at(server_frame_len(run).unwrap());
        let head = match frame[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        found.push((frame[0], frame[head..].to_vec()));
        run = rest;
    }
    found
}

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

#[test]
fn v1_members_get_bodies() {
    let run = [v1(b"one"), v1(b""), v1(&[0xFF; 70_000]), raw(b"no cbor")].concat();
    let (bytes, count) = bodies_run(&run);
    let bodies = frames(&run).map(|frame| (BINARY, frame[HEADER_LEN..].to_vec()));
    assert_eq!(sent(&bytes), bodies.collect::<Vec<_>>());
    assert_eq!(count, 4);
}

#[test]
fn v2_members_get_payloads_of_v1_by_what_they_are() {
    let run = [v1("é".as_bytes()), v1(b"\xC3"), v1(b"x")].concat();
    let (bytes, count) = payloads_run(&run);
    let expected = [
        (TEXT, "é".as_bytes().to_vec()),
        (BINARY, b"\xC3".to_vec()),
        (TEXT, b"x".to_vec()),
    ];
    assert_eq!(sent(&bytes), expected);
    assert_eq!(count, 3);
}

#[test]
fn v2_members_get_no_hints_and_nothing_that_is_no_message() {
    let run = [v1(b""), raw(b"no cbor"), v1(b"x"), raw(b"\xA3\x63uid")].concat();
    let (bytes, count) = payloads_run(&run);
    assert_eq!(sent(&bytes), [(TEXT, b"x".to_vec())]);
    assert_eq!(count, 1);
    assert_eq!(payloads_run(&v1(b"")), (Bytes::new(), 0));
}

/// Every message has its place, also one that is none of v2.
#[test]
fn marked_payloads_are_as_many_as_there_are_messages() {
    let gap = (TEXT, LEFT_OUT.as_bytes().to_vec());
    let run = [
        v1(b""),
        raw(b"no cbor"),
        v1(b"x"),
        v2(Kind::Binary, b"!"),
        v2(Kind::Text, b""),
        v1(&[b'y'; 125]),
        raw(b"\xA3\x63uid"),
    ];
    let (bytes, count) = marked_payloads_run(&run.concat());
    let expected = [
        gap.clone(),
        (TEXT, b"=x".to_vec()),
        (BINARY, b"=!".to_vec()),
        (TEXT, b"=".to_vec()),
        (TEXT, [&b"="[..], &[b'y'; 125]].concat()),
        gap,
    ];
    assert_eq!(sent(&bytes), expected);
    assert_eq!(count, 6);
    assert_eq!(marked_payloads_run(&v1(b"")), (Bytes::new(), 0));
}

#[test]
fn the_largest_payload_fits() {
    let names = BodyPrefix::new("alice", "room");
    for kind in [Kind::Text, Kind::Binary] {
        let most = max_payload(MAX_BODY_LEN, &names);
        let mut out = Vec::new();
        assert!(put_message_start(&mut out, HOLDER, &names, kind, most).is_ok());
        let body_len = FrameHeader::decode(&out).unwrap().unwrap().body_len;
        assert_eq!(out.len() + most, HEADER_LEN + body_len);
    }
    assert_eq!(max_payload(10, &names), 0);
}

proptest! {
    #[test]
    fn v2_messages_come_out_as_they_went_in(
        messages in vec(
            prop_oneof![
                ".{0,20}".prop_map(|text| (Kind::Text, text.into_bytes())),
                ".{0,20}".prop_map(|text| (Kind::Binary, text.into_bytes())),
                vec(any::<u8>(), 0..300).prop_map(|bytes| (Kind::Binary, bytes)),
                (0..70_000_usize).prop_map(|len| (Kind::Text, vec![b'x'; len])),
            ],
            1..6,
        ),
    ) {
        let run = messages.iter().flat_map(|(kind, payload)| v2(*kind, payload));
        let run: Vec<u8> = run.collect();
        prop_assert!(frames(&run).all(|frame| !is_presence(frame)));
        let (bytes, count) = payloads_run(&run);
        prop_assert_eq!(count as usize, messages.len());
        let expected: Vec<_> = messages
            .into_iter()
            .map(|(kind, payload)| (if kind == Kind::Text { TEXT } else { BINARY }, payload))
            .collect();
        prop_assert_eq!(sent(&bytes), expected);
    }

    /// Names that were read once are not read again, which must not show.
    #[test]
    fn a_run_is_what_its_frames_are(
        frames in vec(
            (0..6_usize, any::<bool>(), vec(any::<u8>(), 0..30)).prop_map(|(shape, cut, payload)| {
                let len = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
                let text = |text: &str| [&[0x60 | len(text.as_bytes())], text.as_bytes()].concat();
                let message = [&[0x58, len(&payload)], payload.as_slice()].concat();
                let value = |key: &str, value: &[u8]| [&text(key), value].concat();
                let message = value("message", &message);
                let (uid, channel) = (value("uid", &text("alice")), value("channel", &text("room")));
                let other = value("uid", &text("bob"));
                let pairs = match shape {
                    0 => [uid, channel, message].concat(),
                    1 => [other, channel, message].concat(),
                    2 => [message, uid, channel].concat(),
                    3 => [uid, message, channel].concat(),
                    4 => [uid, channel].concat(),
                    _ => message,
                };
                let body = [&[0xA3], pairs.as_slice()].concat();
                raw(&body[..body.len() - usize::from(cut)])
            }),
            1..12,
        ),
    ) {
        let (bytes, count) = payloads_run(&frames.concat());
        let each: Vec<_> = frames.iter().map(|frame| payloads_run(frame)).collect();
        let counts: u32 = each.iter().map(|(_, count)| count).sum();
        let expected = each.into_iter().flat_map(|(bytes, _)| bytes).collect::<Vec<_>>();
        prop_assert_eq!(bytes, expected);
        prop_assert_eq!(count, counts);
        let messages = frames.iter().filter(|frame| !is_presence(frame)).count();
        let (bytes, count) = marked_payloads_run(&frames.concat());
        prop_assert_eq!(count as usize, messages);
        prop_assert_eq!(sent(&bytes).len(), messages);
    }
}
