//! The body codec: what goes in comes out, other encoders and decoders agree with it, and bytes
//! that are no message are refused with the offset that is wrong.

use ciborium::Value;
use mles::protocol::{
    BodyError, CborType, Cid, HEADER_LEN, Key, MAX_BODY_LEN, Message, encode_frame,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_into(&mut out);
    out
}

/// Lengths around each change of the encoded length's width.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![0..40_usize, 250..260_usize, 65_530..65_540_usize]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        vec(any::<char>(), 0..20).prop_map(String::from_iter),
        length().prop_map(|len| "x".repeat(len)),
    ]
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        length().prop_map(|len| vec![0xA5; len]),
    ]
}

/// The head of an item in `width` more bytes, or in as few as it needs if those are too few.
fn head(major: u8, n: usize, width: usize) -> Vec<u8> {
    let least = match n {
        0..=23 => 0,
        24..=0xFF => 1,
        0x100..=0xFFFF => 2,
        0x1_0000..=0xFFFF_FFFF => 4,
        _ => 8,
    };
    let bytes = (n as u64).to_be_bytes();
    match width.max(least) {
        0 => vec![major << 5 | bytes[7]],
        width => {
            let info = 24 + u8::try_from(width.ilog2()).unwrap();
            let mut out = vec![major << 5 | info];
            out.extend_from_slice(&bytes[8 - width..]);
            out
        }
    }
}

fn width() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(2), Just(4), Just(8)]
}

/// A body of the given pairs, all heads in their shortest form.
fn body(pairs: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut out = head(5, pairs.len(), 0);
    for (key, major, value) in pairs {
        out.extend(head(3, key.len(), 0));
        out.extend_from_slice(key.as_bytes());
        out.extend(head(*major, value.len(), 0));
        out.extend_from_slice(value);
    }
    out
}

proptest! {
    #[test]
    fn round_trip(uid in text(), channel in text(), payload in payload()) {
        let message = Message { uid: &uid, channel: &channel, message: &payload };
        let body = encode(&message);
        prop_assert_eq!(body.len(), message.body_len());
        prop_assert_eq!(Message::decode(&body), Ok(message));
    }

    #[test]
    fn encodes_as_ciborium(uid in text(), channel in text(), payload in payload()) {
        let value = Value::Map(vec![
            ("uid".into(), uid.as_str().into()),
            ("channel".into(), channel.as_str().into()),
            ("message".into(), Value::Bytes(payload.clone())),
        ]);
        let mut theirs = Vec::new();
        ciborium::into_writer(&value, &mut theirs).unwrap();
        prop_assert_eq!(
            encode(&Message { uid: &uid, channel: &channel, message: &payload }),
            theirs
        );
    }

    #[test]
    fn any_order_and_width(
        (uid, channel, payload) in (text(), text(), payload()),
        order in Just([0, 1, 2]).prop_shuffle(),
        widths in vec(width(), 7),
    ) {
        let pairs: [(&str, u8, &[u8]); 3] = [
            ("uid", 3, uid.as_bytes()),
            ("channel", 3, channel.as_bytes()),
            ("message", 2, &payload),
        ];
        let mut body = head(5, 3, widths[6]);
        for i in order {
            let (key, major, value) = pairs[i];
            body.extend(head(3, key.len(), widths[2 * i]));
            body.extend_from_slice(key.as_bytes());
            body.extend(head(major, value.len(), widths[2 * i + 1]));
            body.extend_from_slice(value);
        }
        let message = Message { uid: &uid, channel: &channel, message: &payload };
        prop_assert_eq!(Message::decode(&body), Ok(message));
    }

    /// Damaged bodies do not panic, and what still decodes is the same to another decoder.
    #[test]
    fn damaged(
        (uid, channel, payload) in (text(), text(), payload()),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let message = Message { uid: &uid, channel: &channel, message: &payload };
        let mut body = encode(&message);
        let cut = cut.index(body.len());
        prop_assert!(Message::decode(&body[..cut]).is_err());
        // Mostly in the part that has structure.
        let structured = body.len() - payload.len();
        for (index, byte) in damage {
            body[index.index(structured)] = byte;
        }
        if let Ok(message) = Message::decode(&body) {
            let theirs: Value = ciborium::from_reader(body.as_slice()).unwrap();
            let pairs = theirs.into_map().unwrap();
            let get = |name: &str| {
                pairs.iter().find(|(key, _)| key.as_text() == Some(name)).map(|(_, v)| v).unwrap()
            };
            prop_assert_eq!(get("uid").as_text(), Some(message.uid));
            prop_assert_eq!(get("channel").as_text(), Some(message.channel));
            prop_assert_eq!(get("message").as_bytes().unwrap(), message.message);
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }
}

const UID: (&str, u8, &[u8]) = ("uid", 3, b"u");
const CHANNEL: (&str, u8, &[u8]) = ("channel", 3, b"c");
const MESSAGE: (&str, u8, &[u8]) = ("message", 2, b"m");

#[test]
fn keys_must_be_the_three() {
    let all = body(&[UID, CHANNEL, MESSAGE]);
    let end = body(&[UID, CHANNEL]).len();
    let missing = |key, pairs: &[_]| {
        let body = body(pairs);
        let at = body.len();
        assert_eq!(
            Message::decode(&body),
            Err(BodyError::MissingKey { key, at })
        );
    };
    missing("uid", &[]);
    missing("uid", &[CHANNEL, MESSAGE]);
    missing("channel", &[UID, MESSAGE]);
    missing("message", &[UID, CHANNEL]);

    let duplicate = BodyError::DuplicateKey {
        key: "uid",
        at: all.len(),
    };
    let twice = body(&[UID, CHANNEL, MESSAGE, UID]);
    assert_eq!(Message::decode(&twice), Err(duplicate));

    let unknown = Err(BodyError::UnknownKey { at: end });
    let other = ("other", 3, b"o".as_slice());
    assert_eq!(Message::decode(&body(&[UID, CHANNEL, other])), unknown);
    let unknown = Err(BodyError::UnknownKey { at: all.len() });
    let four = body(&[UID, CHANNEL, MESSAGE, other]);
    assert_eq!(Message::decode(&four), unknown);
}

#[test]
fn types_must_be_right() {
    let wrong = |pairs: &[_], at, expected, found| {
        let error = BodyError::WrongType {
            at,
            expected,
            found,
        };
        assert_eq!(Message::decode(&body(pairs)), Err(error));
    };
    let (text, bytes) = (CborType::Text, CborType::Bytes);
    wrong(&[("uid", 2, b"u"), CHANNEL, MESSAGE], 5, text, bytes);
    wrong(&[("channel", 2, b"c"), UID, MESSAGE], 9, text, bytes);
    wrong(&[("message", 3, b"m"), UID, CHANNEL], 9, bytes, text);

    for (first, found) in [
        (0x00, CborType::Unsigned),
        (0x20, CborType::Negative),
        (0x40, CborType::Bytes),
        (0x60, CborType::Text),
        (0x80, CborType::Array),
        (0xC0, CborType::Tag),
        (0xF6, CborType::Simple),
    ] {
        let error = BodyError::WrongType {
            at: 0,
            expected: CborType::Map,
            found,
        };
        assert_eq!(Message::decode(&[first]), Err(error));
    }
    let number_key = Err(BodyError::WrongType {
        at: 1,
        expected: CborType::Text,
        found: CborType::Unsigned,
    });
    assert_eq!(Message::decode(b"\xA3\x00\x61u"), number_key);
}

#[test]
fn every_cut_is_told_at_the_item_it_is_in() {
    let body = body(&[UID, CHANNEL, MESSAGE]);
    let items = [0, 1, 5, 7, 15, 17, 25, body.len()];
    for cut in 0..body.len() {
        let at = *items.iter().rfind(|&&item| item <= cut).unwrap();
        let truncated = Err(BodyError::Truncated { at });
        assert_eq!(Message::decode(&body[..cut]), truncated, "cut at {cut}");
    }
}

#[test]
fn announced_lengths_are_not_believed() {
    for length in [
        b"\x5A\xFF\xFF\xFF\xFF".as_slice(),
        b"\x5B\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x5B\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
        b"\x5B\x00\x00",
        b"\x42m",
    ] {
        let mut bytes = body(&[UID, CHANNEL, MESSAGE]);
        bytes.truncate(25);
        bytes.extend_from_slice(length);
        let truncated = Err(BodyError::Truncated { at: 25 });
        assert_eq!(Message::decode(&bytes), truncated);
    }
    let endless_map = b"\xBB\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
    let truncated = Err(BodyError::Truncated { at: 9 });
    assert_eq!(Message::decode(endless_map), truncated);
}

#[test]
fn indefinite_lengths_are_refused() {
    for (bytes, at, item) in [
        (b"\xBF\x63uid".as_slice(), 0, CborType::Map),
        (b"\xA3\x7F\x63uid\xFF", 1, CborType::Text),
        (b"\xA3\x63uid\x7F\x61u\xFF", 5, CborType::Text),
        (b"\xA3\x67message\x5F\x41m\xFF", 9, CborType::Bytes),
    ] {
        let indefinite = Err(BodyError::Indefinite { at, item });
        assert_eq!(Message::decode(bytes), indefinite);
    }
    for reserved in [0xBC, 0xBD, 0xBE] {
        let malformed = Err(BodyError::Malformed { at: 0 });
        assert_eq!(Message::decode(&[reserved]), malformed);
    }
}

#[test]
fn nesting_ends_at_its_first_byte() {
    for opening in [0x81, 0xA1, 0xC1] {
        let mut deep = b"\xA3\x63uid".to_vec();
        deep.resize(MAX_BODY_LEN, opening);
        let error = Message::decode(&deep).unwrap_err();
        assert!(matches!(error, BodyError::WrongType { at: 5, .. }));
    }
    let deep_maps = vec![0xA1; MAX_BODY_LEN];
    let error = Message::decode(&deep_maps).unwrap_err();
    assert!(matches!(error, BodyError::WrongType { at: 1, .. }));
}

#[test]
fn text_must_be_utf8() {
    let bad = body(&[("uid", 3, b"ok\xFF"), CHANNEL, MESSAGE]);
    let not_utf8 = Err(BodyError::NotUtf8 { at: 8 });
    assert_eq!(Message::decode(&bad), not_utf8);
    // A surrogate, and an overlong form.
    for bytes in [b"\xED\xA0\x80".as_slice(), b"\xC0\x80"] {
        let bad = body(&[("channel", 3, bytes), UID, MESSAGE]);
        let not_utf8 = Err(BodyError::NotUtf8 { at: 10 });
        assert_eq!(Message::decode(&bad), not_utf8);
    }
}

#[test]
fn nothing_may_follow() {
    let mut bytes = body(&[UID, CHANNEL, MESSAGE]);
    let at = bytes.len();
    bytes.extend_from_slice(&[0xF6, 0xF6]);
    let trailing = Err(BodyError::TrailingBytes { at, count: 2 });
    assert_eq!(Message::decode(&bytes), trailing);
}

#[test]
fn largest_frame() {
    let overhead = Message {
        uid: "u",
        channel: "c",
        message: &[],
    }
    .body_len()
        + 4;
    let payload = vec![0; MAX_BODY_LEN - overhead + 1];
    let frame = |payload| {
        let message = Message {
            uid: "u",
            channel: "c",
            message: payload,
        };
        encode_frame(Cid(1), Key(2), &message)
    };
    let largest = frame(&payload[1..]).unwrap();
    assert_eq!(largest.len(), HEADER_LEN + MAX_BODY_LEN);
    assert_eq!(&largest[..4], b"M\xFF\xFF\xFF");
    let too_long = Err(BodyError::TooLong {
        len: MAX_BODY_LEN + 1,
        limit: MAX_BODY_LEN,
    });
    assert_eq!(frame(&payload), too_long);
}
