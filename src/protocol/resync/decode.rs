//! Decodes and checks resync messages.

use bytes::Bytes;

use super::{ENCODED_MSG, LINK, NestedFrame, RESYNC_MESSAGE, Resync, ResyncLimits, SEQ};
use crate::protocol::body::Message;
use crate::protocol::error::{BodyError, FrameError, ResyncError};
use crate::protocol::header::{FrameHeader, HEADER_LEN};
use crate::protocol::link::LinkHello;
use crate::protocol::message_kind::MessageKind;
use crate::protocol::reader::CborReader;

/// Decodes a resync body and checks every nested frame: magic, exact length, CBOR, and one channel
/// throughout.
///
/// The frames are slices of `body`, in its order. Their keys are not checked.
///
/// # Errors
///
/// See [`ResyncError`]; it names the first offending frame, or the last whose number is above those that
/// the link has sent.
pub fn decode_resync(body: &Bytes, limits: ResyncLimits) -> Result<Resync, ResyncError> {
    let mut decoder = ResyncDecoder::new(body, limits)?;
    // Grows with the frames that are there, not by the announced count.
    let mut frames = Vec::new();
    while let Some(nested) = decoder.next_frame()? {
        frames.push(NestedFrame {
            frame: body.slice_ref(nested.frame),
            seq: nested.seq,
        });
    }
    let link = decoder.finish()?;
    Ok(Resync { frames, link })
}

/// Decodes a resync body frame by frame: first [`ResyncDecoder::next_frame`] until there is none, then
/// [`ResyncDecoder::finish`]. Only then is all of it known to be good.
#[derive(Debug)]
pub struct ResyncDecoder<'a> {
    reader: CborReader<'a>,
    limits: ResyncLimits,
    /// Number of pairs in the outer map.
    pairs: u64,
    count: usize,
    index: usize,
    channel: Option<&'a str>,
    /// The last number, and the frame that has it.
    last: Option<(usize, u64)>,
}

/// A frame inside a resync message, checked.
#[derive(Clone, Copy, Debug)]
pub struct CheckedFrame<'a> {
    /// The whole frame, header included.
    pub frame: &'a [u8],
    /// See [`NestedFrame::seq`].
    pub seq: Option<u64>,
    /// The message in it.
    pub message: Message<'a>,
    /// Set if it is a hint of presence: see [`is_presence`](crate::protocol::is_presence).
    pub is_presence: bool,
}

impl<'a> ResyncDecoder<'a> {
    /// Reads what stands in front of the frames.
    ///
    /// # Errors
    ///
    /// See [`ResyncError`].
    pub fn new(body: &'a [u8], limits: ResyncLimits) -> Result<Self, ResyncError> {
        let mut reader = CborReader::new(body);
        let pairs = first_key(&mut reader, RESYNC_MESSAGE)?;
        let count = frame_count(&mut reader, limits.max_frames)?;
        Ok(Self {
            reader,
            limits,
            pairs,
            count,
            index: 0,
            channel: None,
            last: None,
        })
    }

    /// Reads and checks the next frame; `None` if there are no more.
    ///
    /// # Errors
    ///
    /// See [`ResyncError`].
    pub fn next_frame(&mut self) -> Result<Option<CheckedFrame<'a>>, ResyncError> {
        if self.index == self.count {
            return Ok(None);
        }
        let (reader, index) = (&mut self.reader, self.index);
        let pairs = first_key(reader, ENCODED_MSG)?;
        let frame = reader.bytes()?;
        let at = reader.at() - frame.len();
        let seq = second_pair(reader, pairs, (ENCODED_MSG, SEQ), CborReader::unsigned)?;
        let (message, kind) = check_nested(frame, index, at, self.limits.max_body)?;
        if *self.channel.get_or_insert(message.channel) != message.channel {
            let error = FrameError::OtherChannel { at: HEADER_LEN };
            return Err(ResyncError::Frame { index, at, error });
        }
        if let Some(seq) = seq {
            if index == 0 || seq <= self.last.map_or(0, |(_, last)| last) {
                return Err(ResyncError::Sequence { index, seq });
            }
            self.last = Some((index, seq));
        }
        self.index += 1;
        Ok(Some(CheckedFrame {
            frame,
            seq,
            message,
            is_presence: message.message.is_empty() && kind == MessageKind::None,
        }))
    }

    /// Reads what stands behind the frames.
    ///
    /// # Errors
    ///
    /// See [`ResyncError`].
    pub fn finish(mut self) -> Result<Option<LinkHello>, ResyncError> {
        let names = (RESYNC_MESSAGE, LINK);
        let link = second_pair(&mut self.reader, self.pairs, names, LinkHello::read)?;
        self.reader.end()?;
        let sent = link.map_or(0, |link| link.sent);
        match self.last {
            Some((index, seq)) if seq > sent => Err(ResyncError::Sequence { index, seq }),
            _ => Ok(link),
        }
    }
}

/// Returns the first frame of a resync body, which stands for the join, and checks nothing behind it.
/// It tells whether the rest is worth reading.
///
/// # Errors
///
/// See [`ResyncError`].
pub fn resync_join(body: &[u8], limits: ResyncLimits) -> Result<&[u8], ResyncError> {
    let mut reader = CborReader::new(body);
    first_key(&mut reader, RESYNC_MESSAGE)?;
    frame_count(&mut reader, limits.max_frames)?;
    first_key(&mut reader, ENCODED_MSG)?;
    let frame = reader.bytes()?;
    check_nested(frame, 0, reader.at() - frame.len(), limits.max_body)?;
    Ok(frame)
}

/// Returns the `link` at the end of a resync body that may be bad in any other way: the server to be told
/// so.
///
/// Only the end is read, so it costs little however long the body is. A body without a `link` whose
/// last frame ends like one is taken to have it: never rely on more than the wish to be told.
#[must_use]
pub fn resync_link(body: &[u8]) -> Option<LinkHello> {
    let tail = &body[body.len().saturating_sub(LINK.len() + LinkHello::MAX_LEN)..];
    let mut starts = tail.windows(LINK.len()).enumerate();
    starts.find_map(|(at, name)| {
        if name != LINK.as_bytes() {
            return None;
        }
        let mut reader = CborReader::new(&tail[at + LINK.len()..]);
        let hello = LinkHello::read(&mut reader).ok()?;
        reader.end().is_ok().then_some(hello)
    })
}

/// Reads the head of a map and its first key, which must be `key`. Returns the number of pairs.
fn first_key(reader: &mut CborReader<'_>, key: &'static str) -> Result<u64, BodyError> {
    let pairs = reader.map()?;
    if pairs == 0 {
        let at = reader.at();
        return Err(BodyError::MissingKey { key, at });
    }
    expect_key(reader, Some(key), &[])?;
    Ok(pairs)
}

/// Reads the pair `option` behind the first, if the map has more than that.
fn second_pair<'a, T>(
    reader: &mut CborReader<'a>,
    pairs: u64,
    (key, option): (&'static str, &'static str),
    value: impl FnOnce(&mut CborReader<'a>) -> Result<T, BodyError>,
) -> Result<Option<T>, BodyError> {
    if pairs == 1 {
        return Ok(None);
    }
    expect_key(reader, Some(option), &[key])?;
    let value = value(reader)?;
    if pairs > 2 {
        expect_key(reader, None, &[key, option])?;
    }
    Ok(Some(value))
}

/// Reads a key, which must be `expected`; the map has had the keys `seen` before.
fn expect_key(
    reader: &mut CborReader<'_>,
    expected: Option<&'static str>,
    seen: &[&'static str],
) -> Result<(), BodyError> {
    let at = reader.at();
    let found = reader.key()?;
    if expected.is_some_and(|key| key.as_bytes() == found) {
        return Ok(());
    }
    Err(match seen.iter().find(|key| key.as_bytes() == found) {
        Some(&key) => BodyError::DuplicateKey { key, at },
        None => BodyError::UnknownKey { at },
    })
}

/// Reads the head of the array of nested frames. Returns their number, at least one.
fn frame_count(reader: &mut CborReader<'_>, limit: usize) -> Result<usize, ResyncError> {
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
) -> Result<(Message<'_>, MessageKind), ResyncError> {
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
    Message::decode_with_kind(body).map_err(|error| {
        bad(FrameError::Body {
            at: HEADER_LEN,
            error,
        })
    })
}
