//! Extensions of v1: what the first body of a session says beside its message, for the server alone.
//!
//! | key | value |
//! | --- | --- |
//! | `resume` | map: the client asks for positions, see [`ResumeRequest`] |
//! | `token` | text: a token that says who the client is and what it may do |
//!
//! The server takes these keys out before anything of the frame is passed on or stored.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use super::body::Message;
use super::cbor::{self, ByteString};
use super::error::BodyError;
use super::header::{FrameHeader, HEADER_LEN, MAX_BODY_LEN};
use super::key::{Cid, Key};
use super::reader::{CborReader, vacant};
use super::resume::{EncodedRequest, ResumeRequest};

/// Longest token, in bytes.
pub const MAX_TOKEN_LEN: usize = 8192;

/// Extensions of a first body, beside its message.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct JoinExtensions<'a> {
    /// The wish for positions.
    pub resume: Option<ResumeRequest>,
    /// A token. [`fmt::Debug`] does not show it.
    pub token: Option<&'a str>,
}

impl JoinExtensions<'_> {
    /// Returns `true` if there is nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.resume.is_none() && self.token.is_none()
    }
}

impl From<ResumeRequest> for JoinExtensions<'_> {
    fn from(request: ResumeRequest) -> Self {
        Self {
            resume: Some(request),
            token: None,
        }
    }
}

impl fmt::Debug for JoinExtensions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinExtensions")
            .field("resume", &self.resume)
            .field("token", &self.token.map(|_| "<set>"))
            .finish()
    }
}

/// Takes the extensions out of a first body. Returns the body without them.
///
/// A body that has none is returned as it is, whatever else may be wrong with it.
///
/// # Errors
///
/// There is one, and it or the body around it is not as it has to be.
pub fn take_extensions(body: &[u8]) -> Result<(Cow<'_, [u8]>, JoinExtensions<'_>), BodyError> {
    let mut reader = CborReader::new(body);
    let Ok(pairs @ 4..=5) = reader.map() else {
        return Ok((Cow::Borrowed(body), JoinExtensions::default()));
    };
    let (mut resume, mut token) = (None, None);
    let mut rest = vec![0xA3];
    for _ in 0..pairs {
        let start = reader.at();
        match reader.key()? {
            b"uid" | b"channel" => drop(reader.text()?),
            b"message" => drop(reader.bytes()?),
            b"resume" => {
                let request = ResumeRequest::read(&mut reader)?;
                *vacant(&mut resume, "resume", start)? = Some(request);
                continue;
            }
            b"token" => {
                *vacant(&mut token, "token", start)? = Some(reader.text()?);
                continue;
            }
            _ => return Err(BodyError::UnknownKey { at: start }),
        }
        rest.extend_from_slice(&body[start..reader.at()]);
    }
    reader.end()?;
    let found = JoinExtensions { resume, token };
    if found.is_empty() {
        return Ok((Cow::Borrowed(body), found));
    }
    Ok((Cow::Owned(rest), found))
}

/// Encodes the first frame of a client that says more than its message.
///
/// # Errors
///
/// [`BodyError::TooLong`] when the body would be over [`MAX_BODY_LEN`].
pub fn encode_join(
    cid: Cid,
    key: Key,
    message: &Message<'_>,
    extensions: &JoinExtensions<'_>,
) -> Result<Vec<u8>, BodyError> {
    let body = EncodedJoin {
        uid: message.uid,
        channel: message.channel,
        message: ByteString(message.message),
        resume: extensions.resume.as_ref().map(Into::into),
        token: extensions.token,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    resume: Option<EncodedRequest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}
