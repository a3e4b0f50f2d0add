//! The resync message: a history sent upstream as the first body of a session.
use super::error::ResyncError;
use bytes::Bytes;

/// Limits on a resync message.
#[derive(Clone, Copy, Debug)]
pub struct ResyncLimits {
    /// Most nested frames.
    pub max_frames: usize,
    /// Most body bytes of one nested frame.
    pub max_body: usize,
}

/// Whether a body looks like a resync message (its first key), without checking the rest.
#[must_use]
pub fn is_resync(body: &[u8]) -> bool {
    let _ = body;
    todo!()
}

/// Decodes a resync body and checks every nested frame: magic, exact length, CBOR, one channel throughout.
/// The frames are slices of `body`, in order; at least one.
///
/// # Errors
/// See [`ResyncError`]; the index of the offending frame is told.
pub fn decode_resync(body: &Bytes, limits: ResyncLimits) -> Result<Vec<Bytes>, ResyncError> {
    let _ = (body, limits);
    todo!()
}

/// Encodes `frames` as a resync body; the newest that fit into [`super::MAX_BODY_LEN`] are kept, and how many
/// of the oldest were left out is told.
#[must_use]
pub fn encode_resync(frames: &[Bytes]) -> (Vec<u8>, usize) {
    let _ = frames;
    todo!()
}
