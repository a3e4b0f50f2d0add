//! Encodes resync messages.

use super::{ENCODED_MSG, LINK, NestedFrame, RESYNC_MESSAGE, SEQ};
use crate::protocol::cbor;
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
    cbor::append_resync(&mut body, first, &rest[left_out..], link);
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
