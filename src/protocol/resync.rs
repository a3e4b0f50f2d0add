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

use bytes::Bytes;

use super::body::{Message, encode_frame};
use super::cbor;
use super::error::{BodyError, FrameError, ResyncError};
use super::header::{FrameHeader, HEADER_LEN, MAX_BODY_LEN};
use super::key::{Cid, Key};
use super::link::LinkHello;
use super::message_kind::MessageKind;
use super::reader::CborReader;

const RESYNC_MESSAGE: &str = "resync_message";
const LINK: &str = "link";
const ENCODED_MSG: &str = "encoded_msg";
const SEQ: &str = "seq";

/// A frame inside a resync message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NestedFrame {
    /// The whole frame, header included.
    pub frame: Bytes,
    /// Which of the frames that the link has offered it is, if it did not come from the upstream.
    pub seq: Option<u64>,
}

/// A resync message, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resync {
    /// The frames in order; at least one.
    pub frames: Vec<NestedFrame>,
    /// What the server has said of itself, if it is one of this project.
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

/// Whether a body looks like a resync message (its first key), without checking the rest.
#[must_use]
pub fn is_resync(body: &[u8]) -> bool {
    let mut reader = CborReader::new(body);
    reader.map().is_ok() && reader.key() == Ok(RESYNC_MESSAGE.as_bytes())
}

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
    /// How many pairs the outer map has.
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
    /// What it says.
    pub message: Message<'a>,
    /// Whether it only tells that somebody is present: see [`is_presence`](super::is_presence).
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

/// Returns the first frame of a resync body, which stands for the join, and checks nothing behind it:
/// what is needed to find out whether the rest is worth reading.
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

/// Returns the `link` at the end of a resync body that may be bad in any other way: whom to tell so.
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

/// Reads the head of a map and its first key, which must be `key`. Returns how many pairs there are.
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

/// Reads the head of the array of nested frames: how many there are, at least one.
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

/// Encodes `frames`, oldest first, as a resync body of at most `max_body` bytes, and of
/// [`MAX_BODY_LEN`] in any case.
///
/// The first frame, which authenticates, is always kept. When not all fit, the newest of the others
/// are kept without a gap between them. Gives the body and how many were left out; `None` when not
/// even the first fits or there is none.
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
    let mut kept = 0;
    for frame in rest.iter().rev() {
        let longer = len + nested_len(frame);
        if longer > max_body {
            break;
        }
        len = longer;
        kept += 1;
    }
    let left_out = rest.len() - kept;
    let mut body = Vec::with_capacity(len);
    cbor::append_resync(&mut body, first, &rest[left_out..], link);
    Some((body, left_out))
}

/// Encodes late frames: a frame that only the upper server of a link understands, in the middle of its
/// session. It is a message of the channel whose key is the id of the link, and which holds a resync body
/// in which the first frame stands for nothing but the names.
///
/// A server sends the frames of a server below in this form if it did not know that one: they may be
/// old, and the upper server compares them with all that it remembers. See [`LinkHello::window`]
/// for what it leaves out; [`LinkNotice::Compared`](super::LinkNotice::Compared) is the answer.
///
/// `None` if they do not fit.
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

/// Decodes late frames of the link with the id `link`: what [`encode_late`] makes, without the first.
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

/// Length in bytes of a nested frame with the map around it.
fn nested_len(nested: &NestedFrame) -> usize {
    let seq = nested.seq.map_or(0, |seq| {
        cbor::string_len(SEQ.len()) + cbor::unsigned_len(seq)
    });
    cbor::head_len(1)
        + cbor::string_len(ENCODED_MSG.len())
        + cbor::string_len(nested.frame.len())
        + seq
}

/// Length in bytes of the pair `link`.
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
