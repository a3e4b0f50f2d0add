//! The extension of v1 by which a client asks for positions when it joins.
//!
//! The first body of its session has a fourth key, `resume`: a map in which every key may be missing, and in which
//! keys that are not known are ignored.
//!
//! | key | value |
//! | --- | --- |
//! | `since` | text: the position from which the client wants to go on |
//! | `publisher` | unsigned: a random number that names it as a publisher, the same after a reconnect |
//! | `members` | unsigned: it wants to know who is there, with at most so many names |
//!
//! The server takes the key out before anything of the frame is passed on or stored. It answers with a
//! [`Notice::Welcome`](super::Notice::Welcome). A server that does not know the extension ignores the key, and sends
//! no notice.

use std::borrow::Cow;

use serde::Serialize;

use super::body::Message;
use super::cbor::{self, ByteString};
use super::error::BodyError;
use super::header::{FrameHeader, HEADER_LEN, MAX_BODY_LEN};
use super::key::{Cid, Key};
use super::position::Position;
use super::reader::{CborReader, vacant};

/// A client's wish for positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeRequest {
    /// The position behind which it wants everything; `None` for the whole history.
    pub since: Option<Position>,
    /// Names it as a publisher: random, and the same after a reconnect. A secret of the client and the server, which
    /// never passes it on.
    pub publisher: Option<u64>,
    /// Set if it wants to know who is there: the largest number of names in the first answer.
    pub members: Option<u64>,
}

const RESUME: &str = "resume";

/// Takes the wish for positions out of a first body. Returns the body without it.
///
/// A body that has none is returned as it is, whatever else may be wrong with it.
///
/// # Errors
///
/// There is a key `resume`, and it or the body around it is not as it has to be.
pub fn take_resume(body: &[u8]) -> Result<(Cow<'_, [u8]>, Option<ResumeRequest>), BodyError> {
    let mut reader = CborReader::new(body);
    let Ok(pairs @ 4) = reader.map() else {
        return Ok((Cow::Borrowed(body), None));
    };
    let head = reader.at();
    let mut found = None;
    for _ in 0..pairs {
        let start = reader.at();
        match reader.key()? {
            b"uid" | b"channel" => drop(reader.text()?),
            b"message" => drop(reader.bytes()?),
            b"resume" => {
                let request = ResumeRequest::read(&mut reader)?;
                *vacant(&mut found, RESUME, start)? = Some((request, start..reader.at()));
            }
            _ => return Err(BodyError::UnknownKey { at: start }),
        }
    }
    reader.end()?;
    let Some((request, pair)) = found else {
        return Ok((Cow::Borrowed(body), None));
    };
    let rest = [&[0xA3], &body[head..pair.start], &body[pair.end..]].concat();
    Ok((Cow::Owned(rest), Some(request)))
}

impl ResumeRequest {
    fn read(reader: &mut CborReader<'_>) -> Result<Self, BodyError> {
        let (mut since, mut publisher, mut members) = (None, None, None);
        for _ in 0..reader.map()? {
            let at = reader.at();
            match reader.key()? {
                b"since" => {
                    let slot = vacant(&mut since, "since", at)?;
                    let at = reader.at();
                    let position = reader.text()?.parse();
                    *slot = Some(position.map_err(|_| BodyError::NoPosition { at })?);
                }
                b"publisher" => {
                    *vacant(&mut publisher, "publisher", at)? = Some(reader.unsigned()?);
                }
                b"members" => *vacant(&mut members, "members", at)? = Some(reader.unsigned()?),
                // Later clients may ask for more, and see from the answer that they do not get it.
                _ => reader.skip()?,
            }
        }
        Ok(Self {
            since,
            publisher,
            members,
        })
    }
}

/// Encodes the first frame of a client that asks for positions.
///
/// # Errors
///
/// [`BodyError::TooLong`] when the body would be over [`MAX_BODY_LEN`].
pub fn encode_resume_join(
    cid: Cid,
    key: Key,
    message: &Message<'_>,
    request: &ResumeRequest,
) -> Result<Vec<u8>, BodyError> {
    let body = EncodedJoin {
        uid: message.uid,
        channel: message.channel,
        message: ByteString(message.message),
        resume: EncodedRequest {
            since: request.since,
            publisher: request.publisher,
            members: request.members,
        },
    };
    let mut frame = vec![0; HEADER_LEN];
    cbor::append(&mut frame, &body);
    let body_len = frame.len() - HEADER_LEN;
    if body_len > MAX_BODY_LEN {
        return Err(BodyError::TooLong {
            len: body_len,
            limit: MAX_BODY_LEN,
        });
    }
    let header = FrameHeader { body_len, cid, key };
    frame[..HEADER_LEN].copy_from_slice(&header.encode());
    Ok(frame)
}

#[derive(Serialize)]
struct EncodedJoin<'a> {
    uid: &'a str,
    channel: &'a str,
    message: ByteString<'a>,
    resume: EncodedRequest,
}

#[derive(Serialize)]
struct EncodedRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publisher: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<u64>,
}
