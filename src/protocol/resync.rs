//! The resync message: a history sent upstream as the first body of a session.
//!
//! In v1 it is a map of the one key `resync_message`: an array of maps, each of the one key
//! `encoded_msg`, a byte string that holds a whole frame. Servers of this project add two keys,
//! which others ignore:
//!
//! * `link` in the outer map, behind `resync_message`: see [`LinkHello`].
//! * `seq` in a nested map, behind `encoded_msg`: the frame did not come from the upstream; it is
//!   the frame with that number, from 1, that the link has offered. Frames with an empty message
//!   have no number. It needs `link`, rises from frame to frame, and is never on the first frame,
//!   which stands for the join.
//!
//! Any further key is refused.

mod decode;
mod encode;
mod late;

use bytes::Bytes;

use super::link::LinkHello;
use super::reader::CborReader;
pub use decode::{CheckedFrame, ResyncDecoder, decode_resync, resync_join, resync_link};
pub use encode::encode_resync;
pub use late::{decode_late, encode_late};

const RESYNC_MESSAGE: &str = "resync_message";
const LINK: &str = "link";
const ENCODED_MSG: &str = "encoded_msg";
const SEQ: &str = "seq";

/// A frame inside a resync message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NestedFrame {
    /// The whole frame, header included.
    pub frame: Bytes,
    /// Its number among the frames that the link has offered, if it did not come from the upstream.
    pub seq: Option<u64>,
}

/// A resync message, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resync {
    /// The frames in order; at least one.
    pub frames: Vec<NestedFrame>,
    /// Introduction of the server, if it is one of this project.
    pub link: Option<LinkHello>,
}

/// Limits on a resync message; its own length is limited by the frame it comes in.
#[derive(Clone, Copy, Debug)]
pub struct ResyncLimits {
    /// Most nested frames.
    pub max_frames: usize,
    /// Most body bytes of one nested frame.
    pub max_body: usize,
}

/// Returns `true` if a body looks like a resync message by its first key. The rest is not checked.
#[must_use]
pub fn is_resync(body: &[u8]) -> bool {
    let mut reader = CborReader::new(body);
    reader.map().is_ok() && reader.key() == Ok(RESYNC_MESSAGE.as_bytes())
}
