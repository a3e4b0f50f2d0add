//! The examples of docs/PROTOCOL.md: every value in them encodes to the bytes that stand there, and back.

use bytes::Bytes;
use mles::protocol::{
    BodyPrefix, Cid, FrameHeader, HEADER_LEN, JoinExtensions, Key, LinkHello, LinkNotice,
    LinkRefusal, MAX_BODY_LEN, Message, MessageKind, NestedFrame, Notice, ResumeRequest, Resync,
    ResyncLimits, Welcome, decode_late, decode_resync, decode_token, encode_frame, encode_join,
    encode_late, encode_resync, encode_token, put_frame_start, take_extensions,
};
use serde_json::Value;

use crate::vectors::{text, unhex, vectors};

const FILE: &str = include_str!("../data/vectors-extensions.json");

const LIMITS: ResyncLimits = ResyncLimits {
    max_frames: 100,
    max_body: MAX_BODY_LEN,
};

/// An unsigned integer, if it is there.
fn uint(value: &Value) -> Option<u64> {
    let wide = value.get("uint").and_then(Value::as_str);
    wide.map_or_else(
        || value.as_u64(),
        |hex| Some(u64::from_str_radix(hex, 16).unwrap()),
    )
}

fn number(map: &Value, key: &str) -> u64 {
    uint(&map[key]).unwrap()
}

fn numbers(list: &Value) -> Vec<u64> {
    let list = list.as_array().unwrap();
    list.iter().map(|n| uint(n).unwrap()).collect()
}

fn names(list: &Value) -> Vec<Box<str>> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|name| name.as_str().unwrap().into())
        .collect()
}

/// The payload of a message, and the kind that its mark tells.
fn payload(message: &Value) -> (Vec<u8>, MessageKind) {
    let kind = match message["width"].as_u64() {
        None => MessageKind::None,
        Some(4) => MessageKind::Text,
        Some(8) => MessageKind::Binary,
        Some(other) => panic!("a length in {other} bytes"),
    };
    (unhex(text(message, "hex")), kind)
}

/// Encodes and decodes an ordinary frame.
fn check_message(frame: &[u8], holder: (Cid, Key), body: &Value) {
    let (payload, kind) = payload(&body["message"]);
    let (uid, channel) = (text(body, "uid"), text(body, "channel"));
    let mut encoded = Vec::new();
    let prefix = BodyPrefix::new(uid, channel);
    put_frame_start(&mut encoded, holder, &prefix, kind, payload.len()).unwrap();
    encoded.extend_from_slice(&payload);
    assert_eq!(encoded, frame);
    let message = Message {
        uid,
        channel,
        message: &payload,
    };
    let decoded = Message::decode_with_kind(&frame[HEADER_LEN..]);
    assert_eq!(decoded, Ok((message, kind)));
}

fn check_resume(frame: &[u8], (cid, key): (Cid, Key), body: &Value) {
    let (payload, _) = payload(&body["message"]);
    let message = Message {
        uid: text(body, "uid"),
        channel: text(body, "channel"),
        message: &payload,
    };
    let resume = &body["resume"];
    let request = ResumeRequest {
        since: resume["since"].as_str().map(|since| since.parse().unwrap()),
        publisher: uint(&resume["publisher"]),
        members: uint(&resume["members"]),
    };
    let extensions = JoinExtensions {
        resume: Some(request),
        token: None,
    };
    let encoded = encode_join(cid, key, &message, &extensions).unwrap();
    assert_eq!(encoded, frame);
    let (rest, found) = take_extensions(&frame[HEADER_LEN..]).unwrap();
    assert_eq!(found, extensions);
    let plain = encode_frame(cid, key, &message).unwrap();
    assert_eq!(*rest, plain[HEADER_LEN..]);
}

fn hello(link: &Value) -> LinkHello {
    LinkHello {
        server: number(link, "server"),
        id: number(link, "id"),
        window: number(link, "window"),
        sent: number(link, "sent"),
        old: number(link, "old"),
        got: uint(&link["got"]),
    }
}

fn resync(body: &Value) -> Resync {
    let nested = body["resync_message"].as_array().unwrap().iter();
    let frames = nested.map(|nested| NestedFrame {
        frame: unhex(text(&nested["encoded_msg"], "hex")).into(),
        seq: uint(&nested["seq"]),
    });
    Resync {
        frames: frames.collect(),
        link: body.get("link").map(hello),
    }
}

fn check_resync(body_bytes: &[u8], body: &Value) {
    let resync = resync(body);
    let encoded = encode_resync(&resync.frames, resync.link.as_ref(), MAX_BODY_LEN);
    assert_eq!(encoded, Some((body_bytes.to_vec(), 0)));
    let bytes = Bytes::copy_from_slice(body_bytes);
    assert_eq!(decode_resync(&bytes, LIMITS), Ok(resync));
}

fn check_late(frame: &[u8], cid: Cid, body: &Value) {
    let late = resync(&body["message"]["resync"]);
    let hello = late.link.unwrap();
    let names = (text(body, "uid"), text(body, "channel"));
    let frames = &late.frames[1..];
    let encoded = encode_late(&hello, cid, names, frames).unwrap();
    assert_eq!(encoded, frame);
    let bytes = Bytes::copy_from_slice(frame);
    let decoded = decode_late(&bytes, hello.id, LIMITS).unwrap();
    assert_eq!(decoded.frames, frames);
    assert_eq!(decoded.link, Some(hello));
}

fn check_link_notice(frame: &[u8], (cid, key): (Cid, Key), (name, value): (&str, &Value)) {
    let refusals = [
        ("key", LinkRefusal::Key),
        ("cid", LinkRefusal::Cid),
        ("loop", LinkRefusal::Loop),
        ("limit", LinkRefusal::Limit),
        ("stopping", LinkRefusal::Stopping),
        ("resync", LinkRefusal::Resync),
        ("sender", LinkRefusal::Sender),
        ("right", LinkRefusal::Right),
    ];
    let notice = match name {
        "link_welcome" => LinkNotice::Welcome {
            replay: number(value, "replay"),
            counted: value["counted"].as_bool().unwrap(),
            given: number(value, "given"),
            path: numbers(&value["path"]),
        },
        "link_path" => LinkNotice::Path(numbers(value)),
        "link_compared" => LinkNotice::Compared(uint(value).unwrap()),
        "link_refused" => {
            let word = value.as_str().unwrap();
            let known = refusals.iter().find(|(known, _)| *known == word);
            LinkNotice::Refused(known.unwrap().1)
        }
        other => panic!("no vector is checked that has {other}"),
    };
    assert_eq!(notice.encode(key.0, cid), frame);
    assert_eq!(LinkNotice::decode(frame, key.0), Some(notice));
}

fn check_notice(frame: &[u8], (name, value): (&str, &Value)) {
    let position = |key| text(value, key).parse().unwrap();
    let notice = match name {
        "welcome" => Notice::Welcome(Welcome {
            position: position("position"),
            start: value
                .get("start")
                .map(|start| start.as_str().unwrap().parse().unwrap()),
            replay: number(value, "replay"),
            recovered: value["recovered"].as_bool().unwrap(),
            missed: uint(&value["missed"]),
            published: uint(&value["published"]),
        }),
        "receipt" => Notice::Receipt {
            count: number(value, "count"),
            position: position("position"),
        },
        "gap" => Notice::Gap {
            missed: number(value, "missed"),
            members: value["members"].as_bool().unwrap_or(false),
        },
        "members" => Notice::Members {
            count: number(value, "count"),
            uids: names(&value["uids"]),
        },
        "changes" => Notice::Changes {
            count: number(value, "count"),
            joined: names(&value["joined"]),
            left: names(&value["left"]),
        },
        "stopping" => Notice::Stopping {
            retry: number(value, "retry"),
        },
        "rights" => Notice::Rights {
            allowed: names(&value["allowed"]),
        },
        "close" => Notice::Close {
            code: number(value, "code").try_into().unwrap(),
            reason: text(value, "reason").into(),
        },
        "token" => Notice::Token {
            ttl: uint(&value["ttl"]),
            refused: value["refused"].as_str().map(Into::into),
        },
        other => panic!("no vector is checked that has {other}"),
    };
    assert_eq!(notice.encode(), frame);
    assert_eq!(Notice::decode(frame).as_ref(), Some(&notice));
}

#[test]
fn frames_are_what_their_values_encode_to() {
    for vector in vectors(FILE, "frames") {
        let frame = unhex(text(&vector, "frame_hex"));
        let body = &vector["body"];
        let cid = Cid(u32::from_str_radix(text(&vector, "cid"), 16).unwrap());
        let key = Key(u64::from_str_radix(text(&vector, "key"), 16).unwrap());
        let mut pairs = body.as_object().unwrap().iter();
        let (first, value) = pairs.next().unwrap();
        let first = (first.as_str(), value);
        if text(&vector, "magic") == "N" {
            assert_eq!((cid, key), (Cid(0), Key(0)));
            if let Some(token) = body["token"].as_str() {
                assert_eq!(encode_token(token).unwrap(), frame);
                assert_eq!(decode_token(&frame[HEADER_LEN..]), Ok(token));
                continue;
            }
            check_notice(&frame, first);
            continue;
        }
        let body_len = frame.len() - HEADER_LEN;
        let header = FrameHeader { body_len, cid, key };
        assert_eq!(frame[..HEADER_LEN], header.encode());
        if body.get("resync_message").is_some() {
            check_resync(&frame[HEADER_LEN..], body);
        } else if body.get("resume").is_some() {
            check_resume(&frame, (cid, key), body);
        } else if body["message"].get("resync").is_some() {
            check_late(&frame, cid, body);
        } else if body.get("message").is_some() {
            check_message(&frame, (cid, key), body);
        } else {
            check_link_notice(&frame, (cid, key), first);
        }
    }
}

#[test]
fn bodies_are_what_their_values_encode_to() {
    for vector in vectors(FILE, "bodies") {
        let body = unhex(text(&vector, "body_hex"));
        let value = &vector["body"];
        let (payload, _) = payload(&value["message"]);
        let message = Message {
            uid: text(value, "uid"),
            channel: text(value, "channel"),
            message: &payload,
        };
        let mut encoded = Vec::new();
        message.encode_into(&mut encoded);
        assert_eq!(encoded, body);
        assert_eq!(Message::decode(&body), Ok(message));
    }
}

#[test]
fn keys_are_hashes_of_strings_with_ends() {
    let mut keys = 0;
    for vector in vectors(FILE, "siphash") {
        let strings = vector["strings"].as_array().unwrap();
        let strings = strings.iter().map(|string| string.as_str().unwrap());
        if text(&vector, "input_hex").contains("ff") {
            let key = Key::from_parts(strings);
            assert_eq!(format!("{:016x}", key.0), text(&vector, "siphash"));
            keys += 1;
        }
    }
    assert!(keys > 0);
}
