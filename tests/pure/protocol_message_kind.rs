//! Marks: what is written comes out again, any v1 decoder takes it, and no message that is marked is
//! a hint of presence.

use ciborium::Value;
use mles::protocol::{
    BodyCheck, BodyError, BodyPrefix, Cid, FrameHeader, HEADER_LEN, Key, MAX_BODY_LEN, Message,
    MessageKind, Stop, encode_frame, is_presence, put_frame_start, scan,
};
use proptest::collection::vec;
use proptest::prelude::*;

const HOLDER: (Cid, Key) = (Cid(7), Key(9));

fn marked(uid: &str, channel: &str, kind: MessageKind, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let names = BodyPrefix::new(uid, channel);
    put_frame_start(&mut out, HOLDER, &names, kind, message.len()).unwrap();
    out.extend_from_slice(message);
    out
}

fn message(uid: &'static str, message: &'static [u8]) -> Message<'static> {
    Message {
        uid,
        channel: "room",
        message,
    }
}

proptest! {
    #[test]
    fn marks_come_through_and_any_decoder_takes_them(
        uid in "[a-z]{1,30}",
        channel in "[a-z]{1,300}",
        message in prop_oneof![
            vec(any::<u8>(), 0..40),
            (0..70_000_usize).prop_map(|len| vec![0xA5; len]),
        ],
        kind in prop_oneof![Just(MessageKind::None), Just(MessageKind::Text), Just(MessageKind::Binary)],
    ) {
        let frame = marked(&uid, &channel, kind, &message);
        let body_len = frame.len() - HEADER_LEN;
        let header = FrameHeader { body_len, cid: HOLDER.0, key: HOLDER.1 };
        prop_assert_eq!(FrameHeader::decode(&frame), Ok(Some(header)));

        let body = &frame[HEADER_LEN..];
        let (decoded, found) = Message::decode_with_kind(body).unwrap();
        prop_assert_eq!(decoded, Message { uid: &uid, channel: &channel, message: &message });
        let unmarked = kind == MessageKind::Text && !message.is_empty();
        prop_assert_eq!(found, if unmarked { MessageKind::None } else { kind });
        let is_hint = kind == MessageKind::None && message.is_empty();
        prop_assert_eq!(is_presence(&frame), is_hint);

        let value: Value = ciborium::from_reader(body).unwrap();
        let expected = [
            ("uid", Value::from(uid.as_str())),
            ("channel", Value::from(channel.as_str())),
            ("message", Value::Bytes(message)),
        ];
        let expected = expected.map(|(key, value)| (Value::from(key), value));
        prop_assert_eq!(value, Value::Map(expected.into()));
    }
}

#[test]
fn what_needs_no_mark_is_encoded_as_ever() {
    for text in [&b""[..], b"x", &[b'x'; 24], &[b'x'; 256], &[b'x'; 65_536]] {
        let plain = Message {
            uid: "alice",
            channel: "room",
            message: text,
        };
        let plain = encode_frame(HOLDER.0, HOLDER.1, &plain).unwrap();
        assert_eq!(marked("alice", "room", MessageKind::None, text), plain);
        let same = marked("alice", "room", MessageKind::Text, text) == plain;
        assert_eq!(same, !text.is_empty());
    }
}

#[test]
fn marks_are_these_bytes() {
    let head = |kind, message| {
        let frame = marked("u", "c", kind, message);
        let names = BodyPrefix::new("u", "c");
        frame[HEADER_LEN + names.as_bytes().len()..].to_vec()
    };
    assert_eq!(head(MessageKind::Text, b""), b"\x5A\0\0\0\0");
    assert_eq!(head(MessageKind::Binary, b""), b"\x5B\0\0\0\0\0\0\0\0");
    assert_eq!(
        head(MessageKind::Binary, b"ab"),
        b"\x5B\0\0\0\0\0\0\0\x02ab"
    );
}

#[test]
fn empty_messages_of_v1_are_hints_in_every_other_form() {
    let mut frame = encode_frame(Cid(1), Key(2), &message("alice", b""))
        .unwrap()
        .to_vec();
    assert!(is_presence(&frame));
    let head = frame.pop().unwrap();
    assert_eq!(head, 0x40);
    for form in [&b"\x58\0"[..], b"\x59\0\0"] {
        assert!(is_presence(&[&frame, form].concat()), "{form:x?}");
    }
    for form in [&b"\x5A\0\0\0\0"[..], b"\x5B\0\0\0\0\0\0\0\0"] {
        assert!(!is_presence(&[&frame, form].concat()), "{form:x?}");
    }
}

#[test]
fn marked_frames_pass_the_check_of_names() {
    for kind in [MessageKind::Text, MessageKind::Binary] {
        let frame = marked("alice", "room", kind, b"");
        let right = BodyCheck::Sender(BodyPrefix::new("alice", "room"));
        assert_eq!(scan(&frame, MAX_BODY_LEN, &right).stop, Stop::End);
        let wrong = BodyCheck::Sender(BodyPrefix::new("bob", "room"));
        assert!(matches!(
            scan(&frame, MAX_BODY_LEN, &wrong).stop,
            Stop::Bad(_)
        ));
    }
}

#[test]
fn the_mark_counts_in_the_limit() {
    let names = BodyPrefix::new("alice", "room");
    let most = MAX_BODY_LEN - names.as_bytes().len() - MessageKind::MAX_HEAD;
    let mut out = Vec::new();
    put_frame_start(&mut out, HOLDER, &names, MessageKind::Binary, most).unwrap();
    assert!(out.capacity() >= HEADER_LEN + MAX_BODY_LEN);
    out.clear();
    let refused = put_frame_start(&mut out, HOLDER, &names, MessageKind::Binary, most + 1);
    let error = BodyError::TooLong {
        len: MAX_BODY_LEN + 1,
        limit: MAX_BODY_LEN,
    };
    assert_eq!(refused, Err(error));
    assert!(out.is_empty());
}
