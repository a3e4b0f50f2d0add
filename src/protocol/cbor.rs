//! Encoding of bodies: the one module that knows serde_cbor.
//!
//! serde_cbor is unmaintained (RUSTSEC-2021-0127), so it only ever encodes: no byte from a peer
//! reaches it. Decoding is `reader`'s.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::body::Message;

/// Length in bytes of the shortest head that announces a length or count of `n`.
pub(super) const fn head_len(n: usize) -> usize {
    match n {
        0..=23 => 1,
        24..=0xFF => 2,
        0x100..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
}

/// Length in bytes of a string of `len` bytes, head included.
pub(super) const fn string_len(len: usize) -> usize {
    head_len(len) + len
}

/// Appends the body of an ordinary message to `out`.
pub(super) fn append_message(out: &mut Vec<u8>, message: &Message<'_>) {
    append(
        out,
        &MessageBody {
            uid: message.uid,
            channel: message.channel,
            message: ByteString(message.message),
        },
    );
}

/// Appends a resync body with `frames` to `out`.
pub(super) fn append_resync(out: &mut Vec<u8>, frames: &[Bytes]) {
    append(
        out,
        &ResyncBody {
            resync_message: Nested(frames),
        },
    );
}

fn append(out: &mut Vec<u8>, body: &impl Serialize) {
    let mut serializer = serde_cbor::Serializer::new(serde_cbor::ser::IoWrite::new(out));
    body.serialize(&mut serializer)
        .expect("writing to a Vec does not fail, and every length is known");
}

// The names and the order of the fields are those of the wire.

#[derive(Serialize)]
struct MessageBody<'a> {
    uid: &'a str,
    channel: &'a str,
    message: ByteString<'a>,
}

#[derive(Serialize)]
struct ResyncBody<'a> {
    resync_message: Nested<'a>,
}

#[derive(Serialize)]
struct NestedFrame<'a> {
    encoded_msg: ByteString<'a>,
}

/// Serialized as one byte string; serde would make a slice an array of numbers.
struct ByteString<'a>(&'a [u8]);

impl Serialize for ByteString<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Serialized as an array of [`NestedFrame`].
struct Nested<'a>(&'a [Bytes]);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|frame| NestedFrame {
            encoded_msg: ByteString(frame),
        }))
    }
}
