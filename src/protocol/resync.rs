//! The resync message: a history sent upstream as the first body of a session.

use bytes::Bytes;

use super::body::Message;
use super::cbor;
use super::error::{BodyError, FrameError, ResyncError};
use super::header::{FrameHeader, HEADER_LEN, MAX_BODY_LEN};
use super::reader::Reader;

const RESYNC_MESSAGE: &str = "resync_message";
const ENCODED_MSG: &str = "encoded_msg";

/// Limits on a resync message; its own length is limited by the frame it comes in.
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
    let mut reader = Reader::new(body);
    reader.map().is_ok() && reader.key() == Ok(RESYNC_MESSAGE.as_bytes())
}

/// Decodes a resync body and checks every nested frame: magic, exact length, CBOR, and one channel
/// throughout.
///
/// The frames are slices of `body`, in its order; there is at least one. Their keys are not
/// checked.
///
/// # Errors
///
/// See [`ResyncError`]; it names the first offending frame.
pub fn decode_resync(body: &Bytes, limits: ResyncLimits) -> Result<Vec<Bytes>, ResyncError> {
    let mut reader = Reader::new(body);
    let frames = only_pair(&mut reader, RESYNC_MESSAGE, |reader| {
        let count = frame_count(reader, limits.max_frames)?;
        // Grows with the frames that are there, not by the announced count.
        let mut frames = Vec::new();
        let mut channel = None;
        for index in 0..count {
            let (at, frame) = only_pair(reader, ENCODED_MSG, |reader| {
                let frame = reader.bytes()?;
                Ok((reader.at() - frame.len(), frame))
            })?;
            let message = check_nested(frame, index, at, limits.max_body)?;
            if *channel.get_or_insert(message.channel) != message.channel {
                let error = FrameError::OtherChannel { at: HEADER_LEN };
                return Err(ResyncError::Frame { index, at, error });
            }
            frames.push(body.slice_ref(frame));
        }
        Ok(frames)
    })?;
    reader.end()?;
    Ok(frames)
}

/// Reads a map of the one pair `key` and what `value` reads.
fn only_pair<'a, T>(
    reader: &mut Reader<'a>,
    key: &'static str,
    value: impl FnOnce(&mut Reader<'a>) -> Result<T, ResyncError>,
) -> Result<T, ResyncError> {
    let pairs = reader.map()?;
    let at = reader.at();
    if pairs == 0 {
        return Err(BodyError::MissingKey { key, at }.into());
    }
    if reader.key()? != key.as_bytes() {
        return Err(BodyError::UnknownKey { at }.into());
    }
    let value = value(reader)?;
    if pairs > 1 {
        let at = reader.at();
        let second = reader.key()?;
        return Err(if second == key.as_bytes() {
            BodyError::DuplicateKey { key, at }.into()
        } else {
            BodyError::UnknownKey { at }.into()
        });
    }
    Ok(value)
}

/// Reads the head of the array of nested frames: how many there are, at least one.
fn frame_count(reader: &mut Reader<'_>, limit: usize) -> Result<usize, ResyncError> {
    let at = reader.at();
    let count = reader.array()?;
    match usize::try_from(count) {
        Ok(0) => Err(ResyncError::Empty { at }),
        Ok(count) if count <= limit => Ok(count),
        _ => Err(ResyncError::TooMany { count, limit, at }),
    }
}

fn check_nested(
    frame: &[u8],
    index: usize,
    at: usize,
    max_body: usize,
) -> Result<Message<'_>, ResyncError> {
    let bad = |error| ResyncError::Frame { index, at, error };
    let header = FrameHeader::decode(frame).map_err(bad)?;
    let announced = HEADER_LEN + header.map_or(0, |header| header.body_len);
    if header.is_none() || announced != frame.len() {
        return Err(ResyncError::FrameLength {
            index,
            at,
            len: frame.len(),
            announced,
        });
    }
    let body = &frame[HEADER_LEN..];
    if body.len() > max_body {
        return Err(bad(FrameError::TooLong {
            len: body.len(),
            limit: max_body,
            at: 1,
        }));
    }
    Message::decode(body).map_err(|error| {
        bad(FrameError::Body {
            at: HEADER_LEN,
            error,
        })
    })
}

/// Encodes `frames`, oldest first, as a resync body of at most [`MAX_BODY_LEN`] bytes.
///
/// When not all fit, the newest are kept without a gap between them. Gives the body and how many
/// of the oldest were left out; `None` when not even the newest fits or there is no frame.
#[must_use]
pub fn encode_resync(frames: &[Bytes]) -> Option<(Vec<u8>, usize)> {
    // The count's head is taken as long as it gets for all frames.
    let outer =
        cbor::head_len(1) + cbor::string_len(RESYNC_MESSAGE.len()) + cbor::head_len(frames.len());
    let mut len = outer;
    let mut kept = 0;
    for frame in frames.iter().rev() {
        let longer = len
            + cbor::head_len(1)
            + cbor::string_len(ENCODED_MSG.len())
            + cbor::string_len(frame.len());
        if longer > MAX_BODY_LEN {
            break;
        }
        len = longer;
        kept += 1;
    }
    if kept == 0 {
        return None;
    }
    let left_out = frames.len() - kept;
    let mut body = Vec::with_capacity(len);
    cbor::append_resync(&mut body, &frames[left_out..]);
    Some((body, left_out))
}
