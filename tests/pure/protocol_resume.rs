//! The wish for positions in a first body, and notices: round trips, strictness, hostile bytes.

use ciborium::Value;
use mles::protocol::{
    BodyError, Cid, Epoch, HEADER_LEN, JoinExtensions, Key, Message, Notice, Position,
    ResumeRequest, Welcome, encode_frame, encode_join, frame_len, take_extensions,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const JOIN: Message<'static> = Message {
    uid: "alice",
    channel: "room",
    message: b"hello",
};

fn position() -> impl Strategy<Value = Position> {
    let parts = (any::<u64>(), any::<u64>());
    parts.prop_map(|(epoch, offset)| Position {
        epoch: Epoch(epoch),
        offset,
    })
}

prop_compose! {
    fn request()(
        since in option::of(position()),
        publisher in option::of(any::<u64>()),
        members in option::of(any::<u64>()),
    ) -> ResumeRequest {
        ResumeRequest { since, publisher, members }
    }
}

fn names() -> impl Strategy<Value = Vec<Box<str>>> {
    vec("[a-zé]{0,30}".prop_map(String::into_boxed_str), 0..20)
}

prop_compose! {
    fn welcome()(
        position in position(), start in option::of(position()), replay in any::<u64>(), recovered in any::<bool>(),
        missed in option::of(any::<u64>()), published in option::of(any::<u64>()),
    ) -> Notice {
        Notice::Welcome(Welcome { position, start, replay, recovered, missed, published })
    }
}

fn notice() -> impl Strategy<Value = Notice> {
    prop_oneof![
        welcome(),
        (any::<u64>(), position())
            .prop_map(|(count, position)| Notice::Receipt { count, position }),
        (any::<u64>(), any::<bool>()).prop_map(|(missed, members)| Notice::Gap { missed, members }),
        (any::<u64>(), names()).prop_map(|(count, uids)| Notice::Members { count, uids }),
        (any::<u64>(), names(), names()).prop_map(|(count, joined, left)| Notice::Changes {
            count,
            joined,
            left
        }),
        any::<u64>().prop_map(|retry| Notice::Stopping { retry }),
        names().prop_map(|allowed| Notice::Rights { allowed }),
        (any::<u16>(), "[a-zé]{0,30}").prop_map(|(code, reason)| Notice::Close {
            code,
            reason: reason.into(),
        }),
        (any::<Option<u64>>(), any::<Option<String>>()).prop_map(|(ttl, refused)| Notice::Token {
            ttl,
            refused: refused.map(Into::into)
        }),
    ]
}

fn body(pairs: Vec<(&str, Value)>) -> Vec<u8> {
    let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value));
    let mut body = Vec::new();
    ciborium::into_writer(&Value::Map(pairs.collect()), &mut body).unwrap();
    body
}

proptest! {
    #[test]
    fn what_is_asked_is_taken_out_of_a_first_body(request in request()) {
        let frame = encode_join(Cid(1), Key(2), &JOIN, &JoinExtensions::from(request)).unwrap();
        let (rest, found) = take_extensions(&frame[HEADER_LEN..]).unwrap();
        prop_assert_eq!(found, JoinExtensions::from(request));
        let plain = encode_frame(Cid(1), Key(2), &JOIN).unwrap();
        prop_assert_eq!(&*rest, &plain[HEADER_LEN..]);
        prop_assert_eq!(frame_len(&frame), Some(frame.len()));
    }

    #[test]
    fn notices_are_read_as_they_were_written(notice in notice()) {
        let frame = notice.encode();
        prop_assert_eq!(frame_len(&frame), Some(frame.len()));
        prop_assert_eq!(Notice::decode(&frame), Some(notice));
    }

    #[test]
    fn cut_and_changed_notices_are_none_or_others(notice in notice(), cut in 0..200_usize, at in 0..200_usize, byte in any::<u8>()) {
        let frame = notice.encode();
        prop_assert_eq!(Notice::decode(&frame[..frame.len().saturating_sub(cut + 1)]), None);
        let mut changed = frame.to_vec();
        let at = at % changed.len();
        changed[at] = byte;
        let _ = Notice::decode(&changed);
        let _ = take_extensions(&changed);
    }

    #[test]
    fn junk_is_refused_or_left_alone(junk in vec(any::<u8>(), 0..200)) {
        if let Ok((rest, extensions)) = take_extensions(&junk)
            && extensions == JoinExtensions::default()
        {
            prop_assert_eq!(&*rest, &junk[..]);
        }
    }
}

#[test]
fn the_key_may_stand_anywhere() {
    let ask = || Value::Map(vec![("members".into(), 7.into())]);
    let names = [("uid", Value::from("alice")), ("channel", "room".into())];
    let message = ("message", Value::Bytes(b"hello".to_vec()));
    let all = [names[0].clone(), names[1].clone(), message];
    for at in 0..=3 {
        let mut pairs = all.to_vec();
        let plain = body(pairs.clone());
        pairs.insert(at, ("resume", ask()));
        let with = body(pairs);
        let (rest, found) = take_extensions(&with).unwrap();
        assert_eq!(*rest, plain[..]);
        assert_eq!(found.resume.unwrap().members, Some(7));
    }
}

/// What a later version says beside what is known.
fn more() -> Vec<(Value, Value)> {
    let nested = Value::Map(vec![(
        1.into(),
        Value::Array(vec![Value::Null, (-1).into()]),
    )]);
    let tagged = Value::Tag(0, Box::new("2026".into()));
    vec![
        ("map".into(), nested),
        ("tag".into(), tagged),
        ("bytes".into(), Value::Bytes(vec![0; 300])),
        ("float".into(), 0.5.into()),
    ]
}

#[test]
fn what_is_not_known_is_left_out() {
    let mut fields = more();
    fields.insert(2, ("missed".into(), 7.into()));
    let frame = |body: Vec<u8>| [&[b'N'][..], &[0; HEADER_LEN - 1], &body].concat();
    let gap = frame(body(vec![("gap", Value::Map(fields.clone()))]));
    let expected = Notice::Gap {
        missed: 7,
        members: false,
    };
    assert_eq!(Notice::decode(&gap), Some(expected));
    for cut in 1..gap.len() {
        assert_eq!(Notice::decode(&gap[..cut]), None, "{cut}");
    }
    let unknown = frame(body(vec![("later", Value::Map(fields))]));
    assert_eq!(Notice::decode(&unknown), None);

    let mut asked = more();
    asked.push(("members".into(), 7.into()));
    let join = body(vec![
        ("uid", "u".into()),
        ("channel", "c".into()),
        ("message", Value::Bytes(Vec::new())),
        ("resume", Value::Map(asked)),
    ]);
    let (_, found) = take_extensions(&join).unwrap();
    assert_eq!(found.resume.unwrap().members, Some(7));
}

#[test]
fn a_wish_that_is_wrong_is_told_with_its_place() {
    let with = |resume: Value| {
        body(vec![
            ("uid", "u".into()),
            ("channel", "c".into()),
            ("message", Value::Bytes(Vec::new())),
            ("resume", resume),
        ])
    };
    let ask = |key: &str, value: Value| with(Value::Map(vec![(key.into(), value)]));
    assert!(take_extensions(&with(Value::Map(Vec::new()))).is_ok());
    let junk = ask("since", "yesterday".into());
    let at = junk.len() - "yesterday".len() - 1;
    assert_eq!(take_extensions(&junk), Err(BodyError::NoPosition { at }));
    for wrong in [
        with(Value::Null),
        with(Value::Array(Vec::new())),
        ask("since", 7.into()),
        ask("publisher", "7".into()),
        ask("publisher", (-7).into()),
    ] {
        assert!(take_extensions(&wrong).is_err(), "{wrong:?}");
    }
    let mut long = ask("members", 7.into());
    long.push(0);
    assert!(take_extensions(&long).is_err());
}
