//! The keys that servers add to the wire for their links: round trips, strictness, hostile bytes.

use bytes::Bytes;
use ciborium::Value;
use mles::protocol::{
    BodyError, CborType, Cid, FrameHeader, HEADER_LEN, Key, LinkHello, LinkNotice, LinkRefusal,
    MAX_BODY_LEN, MAX_LINK_PATH, Message, NestedFrame, Resync, ResyncError, ResyncLimits,
    decode_late, decode_resync, encode_frame, encode_late, encode_resync, resync_link,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const LIMITS: ResyncLimits = ResyncLimits {
    max_frames: 20,
    max_body: MAX_BODY_LEN,
};

/// A CBOR map, for changing.
type Pairs = Vec<(Value, Value)>;

fn frame(payload: &[u8]) -> Bytes {
    let message = Message {
        uid: "uid",
        channel: "c",
        message: payload,
    };
    encode_frame(Cid(1), Key(2), &message).unwrap()
}

/// Unsigned integers of every encoded length.
fn uint() -> impl Strategy<Value = u64> {
    (0..64_u32, any::<u64>()).prop_map(|(shift, n)| n >> shift)
}

prop_compose! {
    fn hello()(
        server in uint(), id in uint(), window in uint(), sent in uint(),
        old in uint(), got in option::of(uint()),
    ) -> LinkHello {
        LinkHello { server, id, window, sent, old, got }
    }
}

prop_compose! {
    /// A message as a server sends it: a rising `seq` on some frames, never on the first.
    fn linked()(
        payloads in vec((vec(any::<u8>(), 0..100), option::of(1..1_000_000_000_u64)), 0..15),
        link in hello(),
        ahead in 0..3_u64,
    ) -> Resync {
        let mut last = 0;
        let first = NestedFrame { frame: frame(b""), seq: None };
        let rest = payloads.iter().map(|(payload, step)| NestedFrame {
            frame: frame(payload),
            seq: step.map(|step| { last += step; last }),
        });
        let frames = std::iter::once(first).chain(rest).collect();
        Resync { frames, link: Some(LinkHello { sent: last + ahead, ..link }) }
    }
}

fn notice() -> impl Strategy<Value = LinkNotice> {
    let path = || vec(uint(), 0..MAX_LINK_PATH);
    let why = prop::sample::select(vec![
        LinkRefusal::Key,
        LinkRefusal::Cid,
        LinkRefusal::Loop,
        LinkRefusal::Limit,
        LinkRefusal::Stopping,
        LinkRefusal::Resync,
        LinkRefusal::Sender,
        LinkRefusal::Right,
    ]);
    prop_oneof![
        (uint(), any::<bool>(), uint(), path()).prop_map(|(replay, counted, given, path)| {
            LinkNotice::Welcome {
                replay,
                counted,
                given,
                path,
            }
        }),
        path().prop_map(LinkNotice::Path),
        uint().prop_map(LinkNotice::Compared),
        why.prop_map(LinkNotice::Refused),
    ]
}

fn encode(resync: &Resync) -> Bytes {
    let (body, left_out) =
        encode_resync(&resync.frames, resync.link.as_ref(), MAX_BODY_LEN).unwrap();
    assert_eq!(left_out, 0);
    body.into()
}

/// Encodes a message as another encoder would.
fn by_ciborium(resync: &Resync) -> Value {
    let nested = resync.frames.iter().map(|nested| {
        let mut pairs = vec![("encoded_msg".into(), Value::Bytes(nested.frame.to_vec()))];
        pairs.extend(nested.seq.map(|seq| ("seq".into(), seq.into())));
        Value::Map(pairs)
    });
    let mut pairs = vec![("resync_message".into(), Value::Array(nested.collect()))];
    pairs.extend(
        resync
            .link
            .map(|link| ("link".into(), Value::Map(by_name(link)))),
    );
    Value::Map(pairs)
}

fn by_name(link: LinkHello) -> Pairs {
    let mut pairs: Pairs = vec![
        ("server".into(), link.server.into()),
        ("id".into(), link.id.into()),
        ("window".into(), link.window.into()),
        ("sent".into(), link.sent.into()),
        ("old".into(), link.old.into()),
    ];
    pairs.extend(link.got.map(|got| ("got".into(), got.into())));
    pairs
}

fn bytes_of(value: &Value) -> Bytes {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    bytes.into()
}

/// A frame of link 7 with any body.
fn around(body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        body_len: body.len(),
        cid: Cid(1),
        key: Key(7),
    };
    [&header.encode()[..], body].concat()
}

proptest! {
    #[test]
    fn a_link_survives_the_way(resync in linked()) {
        let body = encode(&resync);
        prop_assert_eq!(&body, &bytes_of(&by_ciborium(&resync)));
        prop_assert_eq!(decode_resync(&body, LIMITS), Ok(resync));
    }

    #[test]
    fn what_is_trimmed_fits_exactly(resync in linked(), max_body in 0..3000_usize) {
        let whole = encode(&resync).len();
        let trimmed = |max_body| encode_resync(&resync.frames, resync.link.as_ref(), max_body);
        let Some((body, left_out)) = trimmed(max_body) else {
            // The first frame and the link alone are too much.
            let alone = Resync { frames: resync.frames[..1].to_vec(), ..resync.clone() };
            prop_assert!(encode(&alone).len() > max_body);
            return Ok(());
        };
        prop_assert!(body.len() <= max_body);
        prop_assert_eq!(left_out == 0, whole <= max_body);
        let kept = decode_resync(&body.into(), LIMITS).unwrap();
        prop_assert_eq!(&kept.frames[0], &resync.frames[0]);
        prop_assert_eq!(&kept.frames[1..], &resync.frames[1 + left_out..]);
        prop_assert_eq!(kept.link, resync.link);
    }

    #[test]
    fn the_keys_of_a_hello_may_come_in_any_order(
        resync in linked(),
        order in Just([0, 1, 2, 3, 4, 5]).prop_shuffle(),
    ) {
        let mut value = by_ciborium(&resync);
        let pairs = by_name(resync.link.unwrap());
        let pairs = order.iter().filter_map(|&at| pairs.get(at).cloned()).collect();
        value.as_map_mut().unwrap()[1].1 = Value::Map(pairs);
        prop_assert_eq!(decode_resync(&bytes_of(&value), LIMITS), Ok(resync));
    }

    #[test]
    fn whom_to_tell_is_read_whatever_the_frames_are(
        mut resync in linked(),
        forged in vec(any::<u8>(), 0..50),
        seq: u64,
        cut in any::<prop::sample::Index>(),
    ) {
        let (frame, seq) = (forged.into(), Some(seq));
        resync.frames.push(NestedFrame { frame, seq });
        let body = encode(&resync);
        prop_assert!(decode_resync(&body, LIMITS).is_err());
        prop_assert_eq!(resync_link(&body), resync.link);
        prop_assert_eq!(resync_link(&body[..cut.index(body.len())]), None);
    }

    #[test]
    fn damage_to_a_link_does_not_panic(
        resync in linked(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut body = encode(&resync).to_vec();
        let cut = Bytes::copy_from_slice(&body[..cut.index(body.len())]);
        prop_assert!(decode_resync(&cut, LIMITS).is_err());
        for (index, byte) in damage {
            let index = index.index(body.len());
            body[index] = byte;
        }
        let read = resync_link(&body);
        if let Ok(Resync { frames, link }) = decode_resync(&body.into(), LIMITS) {
            prop_assert_eq!(read, link);
            let seqs: Vec<_> = frames.iter().filter_map(|nested| nested.seq).collect();
            prop_assert!(seqs.is_sorted_by(|a, b| a < b));
            let sent = link.map_or(0, |link| link.sent);
            prop_assert!(seqs.iter().all(|&seq| (1..=sent).contains(&seq)));
        }
    }

    #[test]
    fn late_frames_survive_the_way(resync in linked()) {
        let (hello, frames) = (resync.link.unwrap(), resync.frames[1..].to_vec());
        let late = encode_late(&hello, Cid(7), ("uid", "c"), &frames).unwrap();
        let message = Message::decode(&late[HEADER_LEN..]).unwrap();
        prop_assert_eq!((message.uid, message.channel), ("uid", "c"));
        let header = FrameHeader::decode(&late).unwrap().unwrap();
        prop_assert_eq!((header.cid, header.key), (Cid(7), Key(hello.id)));
        let decoded = Resync { frames, link: Some(hello) };
        prop_assert_eq!(decode_late(&late, hello.id, LIMITS), Ok(decoded));
        prop_assert!(decode_late(&late, hello.id ^ 1, LIMITS).is_err());
    }

    #[test]
    fn damage_to_late_frames_does_not_panic(
        resync in linked(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let hello = resync.link.unwrap();
        let late = encode_late(&hello, Cid(7), ("uid", "c"), &resync.frames[1..]).unwrap();
        let mut late = late.to_vec();
        for (index, byte) in damage {
            let index = index.index(late.len());
            late[index] = byte;
        }
        if let Ok(Resync { link, .. }) = decode_late(&late.into(), hello.id, LIMITS) {
            prop_assert_eq!(link.map(|link| link.id), Some(hello.id));
        }
    }

    #[test]
    fn a_notice_survives_the_way(notice in notice(), link in uint(), cid: u32) {
        let frame = notice.encode(link, Cid(cid));
        let header = FrameHeader::decode(&frame).unwrap().unwrap();
        prop_assert_eq!((header.cid, header.key), (Cid(cid), Key(link)));
        prop_assert_eq!(header.body_len, frame.len() - HEADER_LEN);
        prop_assert_eq!(LinkNotice::decode(&frame, link), Some(notice));
        prop_assert_eq!(LinkNotice::decode(&frame, link ^ 1), None);
        prop_assert_eq!(LinkNotice::decode(&[&frame[..], b"x"].concat(), link), None);
        prop_assert_eq!(LinkNotice::decode(&frame[..frame.len() - 1], link), None);
    }

    #[test]
    fn damage_to_a_notice_does_not_panic(
        notice in notice(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut frame = notice.encode(7, Cid(1)).to_vec();
        for (index, byte) in damage {
            let index = index.index(frame.len());
            frame[index] = byte;
        }
        // What is still a notice says the same when it is encoded the shortest way.
        if let Some(notice) = LinkNotice::decode(&frame, 7) {
            prop_assert_eq!(LinkNotice::decode(&notice.encode(7, Cid(1)), 7), Some(notice));
        }
    }

    #[test]
    fn any_body_is_a_notice_or_not(body in vec(any::<u8>(), 1..100)) {
        if let Some(notice) = LinkNotice::decode(&around(&body), 7) {
            prop_assert!(notice.encode(7, Cid(1)).len() <= HEADER_LEN + body.len());
        }
    }
}

#[test]
fn a_number_that_cannot_be_is_refused() {
    let link = Some(LinkHello {
        server: 1,
        id: 2,
        window: 3,
        sent: 10,
        got: None,
        old: 0,
    });
    let decode = |seqs: &[Option<u64>], link| {
        let frames = seqs.iter().map(|&seq| NestedFrame {
            frame: frame(b""),
            seq,
        });
        let frames = frames.collect();
        decode_resync(&encode(&Resync { frames, link }), LIMITS)
    };
    let wrong = |index, seq| Err(ResyncError::Sequence { index, seq });
    assert!(decode(&[None, Some(1), None, Some(10)], link).is_ok());
    assert_eq!(decode(&[None, Some(1)], None), wrong(1, 1), "no link");
    assert_eq!(decode(&[Some(1)], link), wrong(0, 1), "the first frame");
    assert_eq!(decode(&[None, Some(0)], link), wrong(1, 0), "counts from 1");
    let (twice, beyond) = ([None, Some(4), None, Some(4)], [None, Some(10), Some(11)]);
    assert_eq!(decode(&twice, link), wrong(3, 4), "twice");
    assert_eq!(decode(&beyond, link), wrong(2, 11), "more than sent");
}

#[test]
fn nothing_but_the_two_keys_is_added() {
    let resync = Resync {
        frames: vec![NestedFrame {
            frame: frame(b""),
            seq: None,
        }],
        link: Some(LinkHello {
            server: 1,
            id: 2,
            window: 3,
            sent: 0,
            got: None,
            old: 0,
        }),
    };
    let refusal = |change: &dyn Fn(&mut Pairs)| {
        let mut value = by_ciborium(&resync);
        change(value.as_map_mut().unwrap());
        decode_resync(&bytes_of(&value), LIMITS).unwrap_err()
    };
    let change_link =
        |change: &dyn Fn(&mut Pairs)| refusal(&|outer| change(outer[1].1.as_map_mut().unwrap()));
    let change_nested = |change: &dyn Fn(&mut Pairs)| {
        refusal(&|outer| change(outer[0].1.as_array_mut().unwrap()[0].as_map_mut().unwrap()))
    };
    let extra = || (Value::from("x"), Value::from(1));
    let unknown = |error| matches!(error, ResyncError::Body(BodyError::UnknownKey { .. }));
    assert!(unknown(refusal(&|outer| outer.push(extra()))));
    assert!(unknown(refusal(&|outer| outer.swap(0, 1))), "link first");
    assert!(unknown(change_link(&|link| link[0] = extra())));
    assert!(unknown(change_link(&|link| link.push(extra()))));
    assert!(unknown(change_nested(&|nested| nested.push(extra()))));

    let twice = |error, key| matches!(error, ResyncError::Body(BodyError::DuplicateKey { key: k, .. }) if k == key);
    assert!(twice(
        refusal(&|outer| outer.push(outer[1].clone())),
        "link"
    ));
    assert!(twice(
        change_link(&|link| link.push(link[2].clone())),
        "window"
    ));
    let two_seqs = change_nested(&|nested| {
        nested.push(("seq".into(), 1.into()));
        nested.push(("seq".into(), 2.into()));
    });
    assert!(twice(two_seqs, "seq"));

    let without_id = change_link(&|link| drop(link.remove(1)));
    assert!(matches!(
        without_id,
        ResyncError::Body(BodyError::MissingKey { key: "id", .. })
    ));
    for value in [Value::from(-1), "1".into(), 1.5.into(), Value::Null] {
        let error = change_link(&|link| link[3].1 = value.clone());
        assert!(matches!(
            error,
            ResyncError::Body(BodyError::WrongType {
                expected: CborType::Unsigned,
                ..
            })
        ));
    }
}

#[test]
fn what_is_no_notice_is_an_ordinary_frame() {
    let notice = |value: Value| LinkNotice::decode(&around(&bytes_of(&value)), 7);
    let map = |pairs: &[(&str, Value)]| {
        let pairs = pairs.iter().cloned();
        Value::Map(pairs.map(|(key, value)| (key.into(), value)).collect())
    };
    let path = |len| Value::Array(vec![Value::from(1); len]);
    let welcome = |pairs: &[(&str, Value)]| notice(map(&[("link_welcome", map(pairs))]));

    let longest = LinkNotice::Path(vec![1; MAX_LINK_PATH]);
    assert_eq!(
        notice(map(&[("link_path", path(MAX_LINK_PATH))])),
        Some(longest)
    );
    assert_eq!(notice(map(&[("link_path", path(MAX_LINK_PATH + 1))])), None);
    assert_eq!(
        notice(map(&[("link_refused", "loop".into()), ("x", 1.into())])),
        None
    );
    assert_eq!(notice(map(&[("link_refused", "whatever".into())])), None);
    assert_eq!(notice(map(&[("link_other", 1.into())])), None);
    assert_eq!(notice(map(&[])), None);
    assert_eq!(notice(path(1)), None);

    let reversed = [
        ("path", path(1)),
        ("given", 5.into()),
        ("counted", true.into()),
        ("replay", 3.into()),
    ];
    let expected = LinkNotice::Welcome {
        replay: 3,
        counted: true,
        given: 5,
        path: vec![1],
    };
    assert_eq!(welcome(&reversed), Some(expected));
    assert_eq!(welcome(&reversed[..3]), None);
    let number = [&reversed[..2], &[("counted", 1.into())], &reversed[3..]].concat();
    assert_eq!(welcome(&number), None);
    assert_eq!(welcome(&[("path", path(1)), ("path", path(1))]), None);
    assert_eq!(welcome(&[("path", path(1)), ("x", 3.into())]), None);
    assert_eq!(LinkNotice::decode(&frame(b"hello"), 2), None);
}

#[test]
fn a_path_is_cut_to_its_bound() {
    let path: Vec<u64> = (0..100).collect();
    let frame = LinkNotice::Path(path.clone()).encode(7, Cid(1));
    let kept = LinkNotice::Path(path[..MAX_LINK_PATH].to_vec());
    assert_eq!(LinkNotice::decode(&frame, 7), Some(kept));
}
