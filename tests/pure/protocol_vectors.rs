//! The bytes of the published reference library, both directions.

use std::net::SocketAddr;

use bytes::Bytes;
use mles::protocol::{
    BodyCheck, BodyPrefix, FrameHeader, HEADER_LEN, Key, MAX_BODY_LEN, Message, NestedFrame,
    Resync, ResyncLimits, Run, Stop, address_string, decode_resync, encode_frame, encode_resync,
    frames, is_resync, scan,
};
use serde_json::Value;

use crate::vectors::{text, unhex, vectors};

const FILE: &str = include_str!("../data/vectors-v1.json");

/// A payload, written in hex or as `07 x 65536`.
fn payload(spec: &str) -> Vec<u8> {
    match spec.split_once(" x ") {
        Some((byte, times)) => unhex(byte).repeat(times.parse().unwrap()),
        None => unhex(spec),
    }
}

fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_into(&mut out);
    out
}

#[test]
fn addresses() {
    for vector in vectors(FILE, "addresses") {
        let addr: SocketAddr = text(&vector, "socket_addr").parse().unwrap();
        assert_eq!(address_string(addr), text(&vector, "hash_string"));
    }
}

#[test]
fn hashes() {
    for vector in vectors(FILE, "hashes") {
        let strings = vector["strings"].as_array().unwrap();
        let key = Key::from_parts(strings.iter().map(|s| s.as_str().unwrap()));
        assert_eq!(format!("{:016x}", key.0), text(&vector, "siphash"));
        assert_eq!(format!("{:08x}", key.cid().0), text(&vector, "cid"));
    }
}

#[test]
fn messages() {
    for vector in vectors(FILE, "messages") {
        let payload = payload(text(&vector, "message_hex"));
        let message = Message {
            uid: text(&vector, "uid"),
            channel: text(&vector, "channel"),
            message: &payload,
        };
        let body = encode(&message);
        let whole = unhex(text(&vector, "cbor_hex"));
        let beginning = unhex(text(&vector, "cbor_prefix_hex"));
        assert_eq!(body.len() as u64, vector["cbor_len"].as_u64().unwrap());
        assert_eq!(message.body_len(), body.len());
        assert_eq!(body[..beginning.len()], beginning);
        // The largest one is given by its beginning only.
        let body = if whole.is_empty() { body } else { whole };
        assert_eq!(encode(&message), body);
        assert_eq!(Message::decode(&body), Ok(message));
        assert!(body.starts_with(BodyPrefix::new(message.uid, message.channel).as_bytes()));
        assert!(!is_resync(&body));
    }
}

#[test]
fn whole_frames() {
    for vector in vectors(FILE, "frames") {
        let frame = unhex(text(&vector, "frame_hex"));
        let (uid, channel) = (text(&vector, "uid"), text(&vector, "channel"));
        let secrets = vector["keys"].as_array().unwrap();
        let secrets = secrets.iter().map(|secret| secret.as_str().unwrap());
        let key = Key::from_parts(secrets.chain([uid, channel]));
        let message = Message {
            uid,
            channel,
            message: text(&vector, "message").as_bytes(),
        };
        assert_eq!(encode_frame(key.cid(), key, &message).unwrap(), frame);

        let header = FrameHeader::decode(&frame).unwrap().unwrap();
        assert_eq!(header.key, key);
        assert_eq!(header.cid, key.cid());
        assert_eq!(header.body_len, frame.len() - HEADER_LEN);
        assert_eq!(header.encode(), frame[..HEADER_LEN]);
        assert_eq!(Message::decode(&frame[HEADER_LEN..]), Ok(message));

        let check = BodyCheck::Sender(BodyPrefix::new(uid, channel));
        let found = scan(&frame, MAX_BODY_LEN, &check);
        let len = frame.len();
        assert_eq!(found.run, Run { len, frames: 1 });
        assert_eq!(found.stop, Stop::End);
    }
}

#[test]
fn resync() {
    let all: Value = serde_json::from_str(FILE).unwrap();
    let body = Bytes::from(unhex(text(&all["resync"], "cbor_hex")));
    let nested: Vec<_> = vectors(FILE, "frames")
        .iter()
        .map(|frame| NestedFrame {
            frame: unhex(text(frame, "frame_hex")).into(),
            seq: None,
        })
        .collect();
    assert_eq!(
        nested.len() as u64,
        all["resync"]["frames"].as_u64().unwrap()
    );

    let limits = ResyncLimits {
        max_frames: nested.len(),
        max_body: MAX_BODY_LEN,
    };
    assert!(is_resync(&body));
    let encoded = encode_resync(&nested, None, MAX_BODY_LEN);
    assert_eq!(encoded, Some((body.to_vec(), 0)));
    let together: Vec<_> = nested.iter().flat_map(|n| n.frame.to_vec()).collect();
    assert!(frames(&together).eq(nested.iter().map(|n| &n.frame[..])));
    let resync = Resync {
        frames: nested,
        link: None,
    };
    assert_eq!(decode_resync(&body, limits), Ok(resync));
}
