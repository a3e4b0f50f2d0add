//! The resync message: what fits goes through unchanged, and every nested frame is checked.

use bytes::Bytes;
use mles::protocol::{
    BodyError, CborType, Cid, FrameError, HEADER_LEN, Key, MAX_BODY_LEN, Message, NestedFrame,
    Resync, ResyncError, ResyncLimits, decode_resync, encode_frame, encode_resync, is_resync,
    resync_join,
};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: ResyncLimits = ResyncLimits {
    max_frames: 10,
    max_body: MAX_BODY_LEN,
};
/// Offset of the first nested frame while lengths are short: maps, keys, array, string heads.
const FIRST: usize = 1 + 15 + 1 + 1 + 12 + 2;

fn frame(channel: &str, payload: &[u8]) -> Bytes {
    let message = Message {
        uid: "uid",
        channel,
        message: payload,
    };
    encode_frame(Cid(1), Key(2), &message).unwrap()
}

fn nested(frames: &[Bytes]) -> Vec<NestedFrame> {
    let frames = frames.iter().cloned();
    frames
        .map(|frame| NestedFrame { frame, seq: None })
        .collect()
}

/// Decodes a message of these frames and nothing else.
fn plain(frames: &[Bytes]) -> Resync {
    Resync {
        frames: nested(frames),
        link: None,
    }
}

/// A resync body of the given frames, good or not.
fn resync(frames: &[Bytes]) -> Bytes {
    let (body, left_out) = encode_resync(&nested(frames), None, MAX_BODY_LEN).unwrap();
    assert_eq!(left_out, 0);
    body.into()
}

/// Decodes a good frame with `bad` after it.
fn second_frame_error(bad: Bytes) -> ResyncError {
    decode_resync(&resync(&[frame("c", b""), bad]), LIMITS).unwrap_err()
}

proptest! {
    #[test]
    fn round_trip(payloads in vec(vec(any::<u8>(), 0..300), 1..10)) {
        let frames: Vec<_> = payloads.iter().map(|payload| frame("c", payload)).collect();
        let body = resync(&frames);
        prop_assert!(is_resync(&body));
        prop_assert_eq!(decode_resync(&body, LIMITS), Ok(plain(&frames)));
        prop_assert_eq!(resync_join(&body, LIMITS), Ok(&frames[0][..]));
    }

    #[test]
    fn the_join_is_read_whatever_is_behind_it(
        payload in vec(any::<u8>(), 0..300),
        behind in vec(any::<u8>(), 0..100),
    ) {
        let join = frame("c", &payload);
        let head = resync(std::slice::from_ref(&join));
        let body = [&head[..], &behind].concat();
        prop_assert_eq!(resync_join(&body, LIMITS), Ok(&join[..]));
        prop_assert!(resync_join(&head[..head.len() - 1], LIMITS).is_err());
    }

    #[test]
    fn encodes_as_ciborium(payloads in vec(vec(any::<u8>(), 0..300), 1..30)) {
        use ciborium::Value;
        let frames: Vec<_> = payloads.iter().map(|payload| frame("c", payload)).collect();
        let nested = frames
            .iter()
            .map(|frame| Value::Map(vec![("encoded_msg".into(), Value::Bytes(frame.to_vec()))]));
        let value = Value::Map(vec![("resync_message".into(), Value::Array(nested.collect()))]);
        let mut theirs = Vec::new();
        ciborium::into_writer(&value, &mut theirs).unwrap();
        prop_assert_eq!(resync(&frames), theirs);
    }

    #[test]
    fn damage_does_not_panic(
        payloads in vec(vec(any::<u8>(), 0..30), 1..5),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let frames: Vec<_> = payloads.iter().map(|payload| frame("c", payload)).collect();
        let mut body = resync(&frames).to_vec();
        let cut = Bytes::copy_from_slice(&body[..cut.index(body.len())]);
        prop_assert!(decode_resync(&cut, LIMITS).is_err());
        for (index, byte) in damage {
            let index = index.index(body.len());
            body[index] = byte;
        }
        if let Ok(Resync { frames, .. }) = decode_resync(&body.into(), LIMITS) {
            let channel = |nested: &NestedFrame| {
                Message::decode(&nested.frame[HEADER_LEN..]).unwrap().channel.to_owned()
            };
            prop_assert!(frames.iter().all(|frame| channel(frame) == channel(&frames[0])));
        }
    }
}

#[test]
fn nested_frames_share_the_memory_of_the_body() {
    let body = resync(&[frame("c", b"payload")]);
    let nested = decode_resync(&body, LIMITS).unwrap();
    assert_eq!(nested.frames[0].frame.as_ptr(), body[FIRST..].as_ptr());
}

#[test]
fn ordinary_messages_are_no_resync() {
    assert!(!is_resync(&frame("c", b"")[HEADER_LEN..]));
    assert!(!is_resync(b""));
    assert!(!is_resync(b"\xA1\x6Eresync_messag"));
}

#[test]
fn every_nested_frame_is_checked() {
    let good = frame("c", b"");
    let at = FIRST + good.len() + 1 + 12 + 2;
    let bad = |error| ResyncError::Frame {
        index: 1,
        at,
        error,
    };

    let other_channel = bad(FrameError::OtherChannel { at: HEADER_LEN });
    assert_eq!(second_frame_error(frame("d", b"")), other_channel);

    let mut no_magic = good.to_vec();
    no_magic[0] = 0;
    let bad_magic = bad(FrameError::BadMagic { found: 0, at: 0 });
    assert_eq!(second_frame_error(no_magic.into()), bad_magic);

    let mut no_message = good.to_vec();
    no_message[HEADER_LEN] = 0x80;
    let not_a_map = bad(FrameError::Body {
        at: HEADER_LEN,
        error: BodyError::WrongType {
            at: 0,
            expected: CborType::Map,
            found: CborType::Array,
        },
    });
    assert_eq!(second_frame_error(no_message.into()), not_a_map);

    let a_resync = resync(std::slice::from_ref(&good));
    let header = mles::protocol::FrameHeader {
        body_len: a_resync.len(),
        cid: Cid(1),
        key: Key(1),
    };
    let nested_resync = [header.encode().as_slice(), &a_resync].concat();
    let unknown_key = ResyncError::Frame {
        index: 0,
        at: FIRST,
        error: FrameError::Body {
            at: HEADER_LEN,
            error: BodyError::UnknownKey { at: 1 },
        },
    };
    let body = resync(&[nested_resync.into()]);
    assert_eq!(decode_resync(&body, LIMITS), Err(unknown_key));
}

#[test]
fn nested_lengths_are_exact() {
    let good = frame("c", b"1234567890");
    let at = FIRST + frame("c", b"").len() + 1 + 12 + 2;
    let wrong_length = |len, announced| ResyncError::FrameLength {
        index: 1,
        at,
        len,
        announced,
    };
    let whole = good.len();
    let cut = good.slice(..whole - 1);
    assert_eq!(second_frame_error(cut), wrong_length(whole - 1, whole));
    let two = Bytes::from([&good[..], &good].concat());
    assert_eq!(second_frame_error(two), wrong_length(2 * whole, whole));
    // So short that the heads before it take a byte less.
    let no_header = second_frame_error(good.slice(..HEADER_LEN - 1));
    assert!(matches!(
        no_header,
        ResyncError::FrameLength {
            index: 1,
            len: 15,
            announced: HEADER_LEN,
            ..
        }
    ));
}

#[test]
fn limits_hold() {
    let frames = vec![frame("c", b"1234567890"); 3];
    let body = resync(&frames);
    let body_len = frames[0].len() - HEADER_LEN;
    let decode = |max_frames, max_body| {
        let limits = ResyncLimits {
            max_frames,
            max_body,
        };
        decode_resync(&body, limits)
    };
    assert!(decode(3, body_len).is_ok());
    let too_many = ResyncError::TooMany {
        count: 3,
        limit: 2,
        at: 16,
    };
    assert_eq!(decode(2, body_len), Err(too_many));
    let too_long = ResyncError::Frame {
        index: 0,
        at: FIRST,
        error: FrameError::TooLong {
            len: body_len,
            limit: body_len - 1,
            at: 1,
        },
    };
    assert_eq!(decode(3, body_len - 1), Err(too_long));
}

#[test]
fn malformed_around_the_frames() {
    let decode = |bytes: &[u8]| decode_resync(&Bytes::copy_from_slice(bytes), LIMITS).unwrap_err();
    let outer = b"\xA1\x6Eresync_message";
    let with = |rest: &[u8]| decode(&[outer, rest].concat());
    let missing = |key, at| ResyncError::Body(BodyError::MissingKey { key, at });

    assert_eq!(with(b"\x80"), ResyncError::Empty { at: 16 });
    assert_eq!(decode(b"\xA0"), missing("resync_message", 1));
    assert_eq!(with(b"\x81\xA0"), missing("encoded_msg", 18));
    let huge = ResyncError::TooMany {
        count: u64::MAX,
        limit: LIMITS.max_frames,
        at: 16,
    };
    assert_eq!(with(b"\x9B\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), huge);
    let indefinite = BodyError::Indefinite {
        at: 16,
        item: CborType::Array,
    };
    assert_eq!(with(b"\x9F\xFF"), indefinite.into());
    let unknown = BodyError::UnknownKey { at: 1 };
    assert_eq!(decode(b"\xA1\x63uid\x80"), unknown.into());

    let good = resync(&[frame("c", b"")]);
    let mut trailing = good.to_vec();
    trailing.push(0);
    let error = BodyError::TrailingBytes {
        at: good.len(),
        count: 1,
    };
    assert_eq!(decode(&trailing), error.into());

    let mut second_key = good.to_vec();
    second_key[0] = 0xA2;
    let at = good.len();
    let truncated = BodyError::Truncated { at };
    assert_eq!(decode(&second_key), truncated.into());
    second_key.extend_from_slice(&outer[1..]);
    let duplicate = BodyError::DuplicateKey {
        key: "resync_message",
        at,
    };
    assert_eq!(decode(&second_key), duplicate.into());
    second_key.truncate(at);
    second_key.extend_from_slice(b"\x61x");
    assert_eq!(decode(&second_key), BodyError::UnknownKey { at }.into());
}

#[test]
fn the_first_and_the_newest_that_fit_are_kept() {
    let encode = |frames: &[Bytes], max_body| encode_resync(&nested(frames), None, max_body);
    assert_eq!(encode(&[], MAX_BODY_LEN), None);

    let [first, oldest, newest] = ["first", "oldest", "newest"].map(|m| frame("c", m.as_bytes()));
    let overhead = frame("c", &[0; 0x1_0000]).len() - 0x1_0000;
    let two = resync(&[first.clone(), newest.clone()]).len();
    // Map, key and head of the second frame, whose length needs four bytes.
    let room = MAX_BODY_LEN - two - (1 + 12 + 5) - overhead;
    let filling = frame("c", &vec![0; room]);
    let too_much = frame("c", &vec![0; room + 1]);

    let frames = [&first, &oldest, &filling, &newest].map(Clone::clone);
    let (body, left_out) = encode(&frames, usize::MAX).unwrap();
    assert_eq!((body.len(), left_out), (MAX_BODY_LEN, 1));
    let kept = decode_resync(&body.into(), LIMITS).unwrap();
    assert_eq!(kept, plain(&[first.clone(), filling, newest.clone()]));

    // The oldest would fit, but not without a gap.
    let frames = [&first, &oldest, &too_much, &newest].map(Clone::clone);
    let (body, left_out) = encode(&frames, MAX_BODY_LEN).unwrap();
    assert_eq!((body.len(), left_out), (two, 2));
    let kept = decode_resync(&body.into(), LIMITS).unwrap();
    assert_eq!(kept, plain(&[first.clone(), newest.clone()]));

    // A bound of the caller, and a first frame that does not fit it.
    let alone = resync(std::slice::from_ref(&first));
    let frames = [first, newest];
    assert_eq!(encode(&frames, two), Some((resync(&frames).to_vec(), 0)));
    assert_eq!(encode(&frames, two - 1), Some((alone.to_vec(), 1)));
    assert_eq!(encode(&frames, alone.len() - 1), None);
}
