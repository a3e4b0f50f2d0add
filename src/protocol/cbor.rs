//! Encoding of bodies: the one module that knows serde_cbor.
//!
//! serde_cbor is unmaintained (RUSTSEC-2021-0127), so it only ever encodes: no byte from a peer
//! reaches it. Decoding is `reader`'s.

use serde::{Serialize, Serializer};

use super::body::Message;
use super::link::LinkHello;
use super::resync::NestedFrame;

/// Length in bytes of the shortest head that announces a length or count of `n`.
pub(super) const fn head_len(n: usize) -> usize {
    unsigned_len(n as u64)
}

/// Length in bytes of a string of `len` bytes, head included.
pub(super) const fn string_len(len: usize) -> usize {
    head_len(len) + len
}

/// Length in bytes of an unsigned integer.
pub(super) const fn unsigned_len(n: u64) -> usize {
    match n {
        0..=23 => 1,
        24..=0xFF => 2,
        0x100..=0xFFFF => 3,
        0x1_0000..=0xFFFF_FFFF => 5,
        _ => 9,
    }
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

/// Appends a resync body with the frames `first` and `rest` to `out`.
pub(super) fn append_resync(
    out: &mut Vec<u8>,
    first: &NestedFrame,
    rest: &[NestedFrame],
    link: Option<&LinkHello>,
) {
    append(
        out,
        &ResyncBody {
            resync_message: Nested(first, rest),
            link: link.map(EncodedHello::from),
        },
    );
}

/// Appends the body of the notice that a link has joined to `out`.
pub(super) fn append_welcome(
    out: &mut Vec<u8>,
    replay: u64,
    counted: bool,
    given: u64,
    path: &[u64],
) {
    let welcome = EncodedNotice::Welcome {
        replay,
        counted,
        given,
        path,
    };
    append(out, &welcome);
}

/// Appends the body of the notice of a path to `out`.
pub(super) fn append_path(out: &mut Vec<u8>, path: &[u64]) {
    append(out, &EncodedNotice::Path(path));
}

/// Appends the body of the notice that late frames have been compared to `out`.
pub(super) fn append_compared(out: &mut Vec<u8>, up_to: u64) {
    append(out, &EncodedNotice::Compared(up_to));
}

/// Appends the body of the notice that a link is refused to `out`.
pub(super) fn append_refused(out: &mut Vec<u8>, word: &str) {
    append(out, &EncodedNotice::Refused(word));
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
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<EncodedHello>,
}

#[derive(Serialize)]
struct Frame<'a> {
    encoded_msg: ByteString<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
}

#[derive(Serialize)]
struct EncodedHello {
    server: u64,
    id: u64,
    window: u64,
    sent: u64,
    old: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    got: Option<u64>,
}

/// A map of the one pair that the notice is.
#[derive(Serialize)]
enum EncodedNotice<'a> {
    #[serde(rename = "link_welcome")]
    Welcome {
        replay: u64,
        counted: bool,
        given: u64,
        path: &'a [u64],
    },
    #[serde(rename = "link_path")]
    Path(&'a [u64]),
    #[serde(rename = "link_compared")]
    Compared(u64),
    #[serde(rename = "link_refused")]
    Refused(&'a str),
}

impl From<&LinkHello> for EncodedHello {
    fn from(hello: &LinkHello) -> Self {
        let LinkHello {
            server,
            id,
            window,
            sent,
            old,
            got,
        } = *hello;
        Self {
            server,
            id,
            window,
            sent,
            old,
            got,
        }
    }
}

/// Serialized as one byte string; serde would make a slice an array of numbers.
struct ByteString<'a>(&'a [u8]);

impl Serialize for ByteString<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Serialized as an array of [`Frame`].
struct Nested<'a>(&'a NestedFrame, &'a [NestedFrame]);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let frames = std::iter::once(self.0).chain(self.1);
        serializer.collect_seq(frames.map(|nested| Frame {
            encoded_msg: ByteString(&nested.frame),
            seq: nested.seq,
        }))
    }
}
