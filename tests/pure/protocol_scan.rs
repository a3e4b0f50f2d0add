//! The frame scanner against a model, wherever the buffer ends, and on damaged input.

use mles::protocol::{
    BodyCheck, BodyError, BodyPrefix, Cid, FrameError, FrameHeader, HEADER_LEN, Key, MAX_BODY_LEN,
    Message, Run, Scan, Stop, encode_frame, encode_token, frame_len, frames, scan,
    scan_with_notices,
};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: usize = 100;

fn frame(uid: &str, channel: &str, message: &[u8]) -> Vec<u8> {
    let message = Message {
        uid,
        channel,
        message,
    };
    encode_frame(Cid(1), Key(2), &message).unwrap().into()
}

/// A frame around any bytes.
fn raw_frame(body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        body_len: body.len(),
        cid: Cid(1),
        key: Key(2),
    };
    [header.encode().as_slice(), body].concat()
}

fn sender() -> BodyCheck {
    BodyCheck::Sender(BodyPrefix::new("alice", "room"))
}

fn channel() -> BodyCheck {
    BodyCheck::Channel(BodyPrefix::new("alice", "room"))
}

/// Encodes a message with its keys in another order and long length encodings.
fn oddly_encoded(uid: &str, channel: &str) -> Vec<u8> {
    let mut body = b"\xA3\x67message\x59\x00\x01m".to_vec();
    for (key, value) in [("channel", channel), ("uid", uid)] {
        body.extend([0x78, u8::try_from(key.len()).unwrap()]);
        body.extend_from_slice(key.as_bytes());
        body.extend([0x7A, 0, 0, 0, u8::try_from(value.len()).unwrap()]);
        body.extend_from_slice(value.as_bytes());
    }
    raw_frame(&body)
}

/// Bytes that are no good frame, how many of them must be there for that to be told, and what is
/// told when they begin at 0.
fn bad_frames() -> Vec<(Vec<u8>, usize, FrameError)> {
    let mut no_magic = frame("alice", "room", b"");
    no_magic[0] = b'm';
    let mut empty = frame("alice", "room", b"");
    empty[1..4].fill(0);
    let long = raw_frame(&[0xA3; LIMIT + 1]);
    let body = HEADER_LEN;
    let mut bad = vec![
        (no_magic, 1, FrameError::BadMagic { found: b'm', at: 0 }),
        (empty, 4, FrameError::EmptyBody { at: 1 }),
        (
            long,
            4,
            FrameError::TooLong {
                len: LIMIT + 1,
                limit: LIMIT,
                at: 1,
            },
        ),
    ];
    for (whole, error) in [
        (
            frame("alice", "cellar", b"x"),
            FrameError::OtherChannel { at: body },
        ),
        (
            frame("bob", "room", b"x"),
            FrameError::OtherUid { at: body },
        ),
        (
            raw_frame(b"\xA0"),
            FrameError::Body {
                at: body,
                error: BodyError::MissingKey { key: "uid", at: 1 },
            },
        ),
    ] {
        bad.push((whole.clone(), whole.len(), error));
    }
    bad
}

fn moved(error: FrameError, by: usize) -> FrameError {
    match error {
        FrameError::BadMagic { found, at } => FrameError::BadMagic { found, at: at + by },
        FrameError::EmptyBody { at } => FrameError::EmptyBody { at: at + by },
        FrameError::TooLong { len, limit, at } => FrameError::TooLong {
            len,
            limit,
            at: at + by,
        },
        FrameError::Body { at, error } => FrameError::Body { at: at + by, error },
        FrameError::OtherUid { at } => FrameError::OtherUid { at: at + by },
        FrameError::OtherChannel { at } => FrameError::OtherChannel { at: at + by },
    }
}

fn good_frame() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..50).prop_map(|payload| frame("alice", "room", &payload)),
        Just(oddly_encoded("alice", "room")),
    ]
}

proptest! {
    #[test]
    fn every_split(
        good in vec(good_frame(), 0..6),
        (bad, told_after, error) in prop::sample::select(bad_frames()),
    ) {
        let run: Vec<u8> = good.concat();
        let buf = [run.as_slice(), &bad].concat();
        for split in 0..=buf.len() {
            let mut expected = Run { len: 0, frames: 0 };
            for frame in &good {
                if expected.len + frame.len() > split {
                    break;
                }
                expected.len += frame.len();
                expected.frames += 1;
            }
            let rest = split - expected.len;
            let next = good.get(expected.frames).unwrap_or(&bad);
            let stop = if expected.len == run.len() && rest >= told_after {
                Stop::Bad(moved(error.clone(), run.len()))
            } else if rest == 0 {
                Stop::End
            } else if rest < 4 {
                Stop::Partial { need: HEADER_LEN }
            } else {
                Stop::Partial { need: next.len() }
            };
            let found = scan(&buf[..split], LIMIT, &sender());
            prop_assert_eq!(found.run, expected, "split at {}", split);
            prop_assert_eq!(found.stop, stop, "split at {}", split);
        }
    }

    #[test]
    fn damaged_runs(
        good in vec(good_frame(), 1..8),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut buf = good.concat();
        for (index, byte) in damage {
            let index = index.index(buf.len());
            buf[index] = byte;
        }
        buf.truncate(cut.index(buf.len() + 1));
        for check in [BodyCheck::Off, channel(), sender()] {
            let found = scan(&buf, LIMIT, &check);
            let run = &buf[..found.run.len];
            prop_assert_eq!(frames(run).count(), found.run.frames);
            prop_assert_eq!(frames(run).map(<[u8]>::len).sum::<usize>(), run.len());
            for frame in frames(run) {
                let header = FrameHeader::decode(frame).unwrap().unwrap();
                prop_assert_eq!(HEADER_LEN + header.body_len, frame.len());
                prop_assert!(header.body_len <= LIMIT);
                if matches!(check, BodyCheck::Off) {
                    continue;
                }
                let message = Message::decode(&frame[HEADER_LEN..]).unwrap();
                prop_assert_eq!(message.channel, "room");
                prop_assert!(matches!(check, BodyCheck::Channel(_)) || message.uid == "alice");
            }
            let rest = buf.len() - run.len();
            match found.stop {
                Stop::End => prop_assert_eq!(rest, 0),
                Stop::Partial { need } => prop_assert!(0 < rest && rest < need),
                Stop::Bad(_) => prop_assert!(rest > 0),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = FrameHeader::decode(&bytes);
        let _ = scan(&bytes, MAX_BODY_LEN, &sender());
        prop_assert!(frames(&bytes).map(<[u8]>::len).sum::<usize>() <= bytes.len());
    }

    #[test]
    fn header_round_trip(body_len in 1..=MAX_BODY_LEN, cid: u32, key: u64, more in vec(any::<u8>(), 0..4)) {
        let header = FrameHeader { body_len, cid: Cid(cid), key: Key(key) };
        let mut bytes = header.encode().to_vec();
        for partial in 0..HEADER_LEN {
            prop_assert_eq!(FrameHeader::decode(&bytes[..partial]), Ok(None));
        }
        bytes.extend(more);
        prop_assert_eq!(FrameHeader::decode(&bytes), Ok(Some(header)));
        prop_assert_eq!(frame_len(&bytes), Some(HEADER_LEN + body_len));
    }
}

#[test]
fn without_a_check_bodies_are_not_looked_at() {
    let buf = [raw_frame(b"\xFF"), raw_frame(&[0; LIMIT])].concat();
    let found = scan(&buf, LIMIT, &BodyCheck::Off);
    assert_eq!(found.stop, Stop::End);
    assert_eq!(found.run.frames, 2);
}

#[test]
fn names_are_compared_in_any_encoding() {
    let ok = |frame: &[u8], check: &BodyCheck| scan(frame, LIMIT, check).stop == Stop::End;
    for encode in [
        |uid: &str, channel: &str| frame(uid, channel, b"x"),
        oddly_encoded,
    ] {
        assert!(ok(&encode("alice", "room"), &sender()));
        assert!(ok(&encode("alice", "room"), &channel()));
        assert!(ok(&encode("bob", "room"), &channel()));
        assert!(!ok(&encode("bob", "room"), &sender()));
        assert!(!ok(&encode("alice", "cellar"), &sender()));
        assert!(!ok(&encode("alice", "cellar"), &channel()));
        // The same letters, cut elsewhere.
        assert!(!ok(&encode("alicer", "oom"), &sender()));
    }
}

#[test]
fn a_right_beginning_does_not_excuse_the_rest() {
    let prefix = BodyPrefix::new("alice", "room");
    let at = prefix.as_bytes().len();
    for (rest, error) in [
        (b"".as_slice(), BodyError::Truncated { at }),
        (b"\x41", BodyError::Truncated { at }),
        (
            b"\x40\x00",
            BodyError::TrailingBytes {
                at: at + 1,
                count: 1,
            },
        ),
    ] {
        let body = [prefix.as_bytes(), rest].concat();
        let bad = FrameError::Body {
            at: HEADER_LEN,
            error,
        };
        let found = scan(&raw_frame(&body), LIMIT, &sender());
        assert_eq!(found.stop, Stop::Bad(bad));
    }
}

#[test]
fn headers_are_refused_as_soon_as_it_shows() {
    let bad_magic = FrameError::BadMagic { found: b'G', at: 0 };
    assert_eq!(FrameHeader::decode(b"G"), Err(bad_magic.clone()));
    assert_eq!(
        FrameHeader::decode(b"GET / HTTP/1.1\r\n\r\n"),
        Err(bad_magic)
    );
    assert_eq!(FrameHeader::decode(b"M\0\0"), Ok(None));
    let empty = Err(FrameError::EmptyBody { at: 1 });
    assert_eq!(FrameHeader::decode(b"M\0\0\0"), empty);
}

/// What clients say to the server alone is found between messages, and wherever the bytes are cut.
#[test]
fn notices_of_clients_are_found_among_messages() {
    let token = encode_token("x.y.z").unwrap();
    let message = frame("alice", "room", b"message");
    let all = [&message[..], &token, &token, &message].concat();
    let (found, has_notices) = scan_with_notices(&all, MAX_BODY_LEN, &BodyCheck::Off);
    let run = Run {
        len: all.len(),
        frames: 4,
    };
    assert_eq!(
        (found, has_notices),
        (
            Scan {
                run,
                stop: Stop::End
            },
            true
        )
    );
    let bounds = [
        0,
        message.len(),
        message.len() + token.len(),
        all.len() - message.len(),
        all.len(),
    ];
    for cut in 0..all.len() {
        let (found, has_notices) = scan_with_notices(&all[..cut], MAX_BODY_LEN, &BodyCheck::Off);
        let whole = bounds.iter().rposition(|&bound| bound <= cut).unwrap();
        let run = Run {
            len: bounds[whole],
            frames: whole,
        };
        let stop = match cut - run.len {
            0 => Stop::End,
            1..4 => Stop::Partial { need: HEADER_LEN },
            _ => Stop::Partial {
                need: bounds[whole + 1] - run.len,
            },
        };
        assert_eq!(found, Scan { run, stop }, "{cut}");
        assert_eq!(has_notices, whole > 1, "{cut}");
        // Who may not show a token may not even begin to.
        let plain = scan(&all[..cut], MAX_BODY_LEN, &BodyCheck::Off);
        assert_eq!(
            matches!(plain.stop, Stop::Bad(_)),
            cut > message.len(),
            "{cut}"
        );
    }
}

#[test]
fn notices_of_clients_have_the_limits_of_messages() {
    let token = encode_token("x.y.z").unwrap();
    let max_body = token.len() - HEADER_LEN - 1;
    let (found, _) = scan_with_notices(&token, max_body, &BodyCheck::Off);
    assert!(
        matches!(found.stop, Stop::Bad(FrameError::TooLong { .. })),
        "{found:?}"
    );
    let (found, _) = scan_with_notices(b"N\0\0\0", MAX_BODY_LEN, &BodyCheck::Off);
    assert_eq!(found.stop, Stop::Bad(FrameError::EmptyBody { at: 1 }));
    let (found, _) = scan_with_notices(b"O", MAX_BODY_LEN, &BodyCheck::Off);
    assert_eq!(
        found.stop,
        Stop::Bad(FrameError::BadMagic { found: b'O', at: 0 })
    );
}
