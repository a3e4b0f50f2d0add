//! Late frames: frames that may be old, in the middle of a link's session.
//!
//! A server sends the frames of a server below in this form if it did not know that one. The upper
//! server compares them with all that it remembers, but for those in [`LinkHello::window`], and answers
//! with [`LinkNotice::Compared`](crate::protocol::LinkNotice::Compared).
//!
//! They are one message of the channel that only the upper server of a link understands: its key is the
//! id of the link, and it contains a resync body whose first frame stands for nothing but the names.

use bytes::Bytes;

use super::{LINK, NestedFrame, Resync, ResyncLimits, decode_resync, encode_resync};
use crate::protocol::body::{Message, encode_frame};
use crate::protocol::error::{BodyError, ResyncError};
use crate::protocol::header::{HEADER_LEN, MAX_BODY_LEN};
use crate::protocol::key::{Cid, Key};
use crate::protocol::link::LinkHello;

/// Encodes late frames of the link that `hello` introduces; `None` if they do not fit.
#[must_use]
pub fn encode_late(
    hello: &LinkHello,
    cid: Cid,
    (uid, channel): (&str, &str),
    frames: &[NestedFrame],
) -> Option<Bytes> {
    let names = Message {
        uid,
        channel,
        message: &[],
    };
    let first = NestedFrame {
        frame: encode_frame(cid, Key(0), &names).ok()?,
        seq: None,
    };
    let nested: Vec<_> = std::iter::once(first)
        .chain(frames.iter().cloned())
        .collect();
    let (body, left_out) = encode_resync(&nested, Some(hello), MAX_BODY_LEN)?;
    let late = Message {
        message: &body,
        ..names
    };
    let frame = encode_frame(cid, Key(hello.id), &late).ok()?;
    (left_out == 0).then_some(frame)
}

/// Decodes late frames of the link with the id `link`, as [`encode_late`] makes them.
///
/// # Errors
///
/// See [`ResyncError`]: the frame has the link's key, and is nothing else that may have it.
pub fn decode_late(frame: &Bytes, link: u64, limits: ResyncLimits) -> Result<Resync, ResyncError> {
    let message = Message::decode(frame.get(HEADER_LEN..).unwrap_or_default())?;
    let mut late = decode_resync(&frame.slice_ref(message.message), limits)?;
    if late.link.is_none_or(|hello| hello.id != link) {
        return Err(BodyError::MissingKey { key: LINK, at: 0 }.into());
    }
    late.frames.remove(0);
    Ok(late)
}
