//! Encodes resync messages.

use serde::{Serialize, Serializer};

use super::{ENCODED_MSG, LINK, NestedFrame, RESYNC_MESSAGE, SEQ};
use crate::protocol::cbor::{self, ByteString};
use crate::protocol::header::MAX_BODY_LEN;
use crate::protocol::link::LinkHello;

/// Encodes `frames`, oldest first, as a resync body of at most `max_body` bytes, and of
/// [`MAX_BODY_LEN`] in any case.
///
/// The first frame, which authenticates, is always in it. If not all others fit, it has the newest of them
/// without a gap. Returns the body and the number of frames that were left out; `None` if not even the
/// first fits or there is none.
#[must_use]
pub fn encode_resync(
    frames: &[NestedFrame],
    link: Option<&LinkHello>,
    max_body: usize,
) -> Option<(Vec<u8>, usize)> {
    let max_body = max_body.min(MAX_BODY_LEN);
    let (first, rest) = frames.split_first()?;
    // The count's head is taken as long as it gets for all frames.
    let mut len = cbor::head_len(1)
        + cbor::string_len(RESYNC_MESSAGE.len())
        + cbor::head_len(frames.len())
        + link.map_or(0, link_len)
        + nested_len(first);
    if len > max_body {
        return None;
    }
    let mut taken = 0;
    for frame in rest.iter().rev() {
        let longer = len + nested_len(frame);
        if longer > max_body {
            break;
        }
        len = longer;
        taken += 1;
    }
    let left_out = rest.len() - taken;
    let mut body = Vec::with_capacity(len);
    let message = ResyncBody {
        resync_message: Nested(first, &rest[left_out..]),
        link: link.map(EncodedHello::from),
    };
    cbor::append(&mut body, &message);
    Some((body, left_out))
}

/// Returns the length in bytes of a nested frame with the map around it.
fn nested_len(nested: &NestedFrame) -> usize {
    let seq = nested.seq.map_or(0, |seq| {
        cbor::string_len(SEQ.len()) + cbor::unsigned_len(seq)
    });
    cbor::head_len(1)
        + cbor::string_len(ENCODED_MSG.len())
        + cbor::string_len(nested.frame.len())
        + seq
}

/// Returns the length in bytes of the pair `link`.
fn link_len(link: &LinkHello) -> usize {
    let pairs = [
        ("server", link.server),
        ("id", link.id),
        ("window", link.window),
        ("sent", link.sent),
        ("old", link.old),
    ];
    let len = |(key, n): (&str, u64)| cbor::string_len(key.len()) + cbor::unsigned_len(n);
    let pairs = pairs.map(len);
    let got = link.got.map_or(0, |got| len(("got", got)));
    cbor::string_len(LINK.len()) + cbor::head_len(6) + pairs.iter().sum::<usize>() + got
}

#[derive(Serialize)]
struct ResyncBody<'a> {
    resync_message: Nested<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<EncodedHello>,
}

#[derive(Serialize)]
struct EncodedFrame<'a> {
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

/// Serialized as an array of [`EncodedFrame`].
struct Nested<'a>(&'a NestedFrame, &'a [NestedFrame]);

impl Serialize for Nested<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let frames = std::iter::once(self.0).chain(self.1);
        serializer.collect_seq(frames.map(|nested| EncodedFrame {
            encoded_msg: ByteString(&nested.frame),
            seq: nested.seq,
        }))
    }
}
