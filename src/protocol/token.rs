//! The frame by which a client shows a new token, in the place of the one that it has joined with.
//!
//! It begins with `'N'` as notices do, and its connection id and key are zero. Its body is a map with the pair `token`
//! (text). Keys that are not known are ignored.

use bytes::Bytes;
use serde::Serialize;

use super::cbor;
use super::error::BodyError;
use super::header::HEADER_LEN;
use super::notice::NOTICE_MAGIC;
use super::reader::{CborReader, vacant};

/// Longest token, in bytes.
pub const MAX_TOKEN_LEN: usize = 8192;
/// Longest body of such a frame, in bytes: there may be keys that are not known.
pub(super) const MAX_TOKEN_BODY: usize = 2 * MAX_TOKEN_LEN;

#[derive(Serialize)]
struct EncodedToken<'a> {
    token: &'a str,
}

/// Encodes the frame that shows `token`.
///
/// # Errors
///
/// [`BodyError::TooLong`] when it is longer than [`MAX_TOKEN_LEN`].
pub fn encode_token(token: &str) -> Result<Bytes, BodyError> {
    if token.len() > MAX_TOKEN_LEN {
        return Err(BodyError::TooLong {
            len: token.len(),
            limit: MAX_TOKEN_LEN,
        });
    }
    let mut frame = vec![0; HEADER_LEN];
    cbor::append(&mut frame, &EncodedToken { token });
    let body_len = frame.len() - HEADER_LEN;
    let start = (u32::from(NOTICE_MAGIC) << 24) | u32::try_from(body_len).unwrap_or(0);
    frame[..4].copy_from_slice(&start.to_be_bytes());
    Ok(frame.into())
}

/// Returns `true` if a whole frame shows a token.
#[must_use]
pub fn is_token_frame(frame: &[u8]) -> bool {
    frame.first() == Some(&NOTICE_MAGIC)
}

/// Returns the token that a whole frame shows; `None` if it shows none, but says what a later version knows.
///
/// # Errors
///
/// Its body is not as it has to be.
pub fn decode_token(frame: &[u8]) -> Result<Option<&str>, BodyError> {
    let mut reader = CborReader::new(frame.get(HEADER_LEN..).unwrap_or_default());
    let mut token = None;
    for _ in 0..reader.map()? {
        let at = reader.at();
        match reader.key()? {
            b"token" => *vacant(&mut token, "token", at)? = Some(reader.text()?),
            _ => reader.skip()?,
        }
    }
    reader.end()?;
    Ok(token)
}
