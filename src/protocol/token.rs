//! Tokens that a client shows after its join, in the place of the one that it has joined with.
//!
//! Such a frame begins with `'N'`, as notices of a server do, its connection id and key are zero, and its body is a map
//! of one pair, `token` (text). It is for the server alone, and is never passed on.

use serde::Serialize;

use super::cbor;
use super::error::BodyError;
use super::header::{HEADER_LEN, MAX_BODY_LEN};
use super::notice::NOTICE_MAGIC;
use super::reader::{CborReader, vacant};

/// A frame's body, as it is encoded.
#[derive(Serialize)]
struct EncodedToken<'a> {
    token: &'a str,
}

/// Encodes the whole frame with which a client shows a token.
///
/// # Errors
///
/// [`BodyError::TooLong`] when the body would be over [`MAX_BODY_LEN`].
pub fn encode_token(token: &str) -> Result<Vec<u8>, BodyError> {
    let mut frame = vec![0; HEADER_LEN];
    cbor::append(&mut frame, &EncodedToken { token });
    let body_len = frame.len() - HEADER_LEN;
    let too_long = BodyError::TooLong {
        len: body_len,
        limit: MAX_BODY_LEN,
    };
    let len = u32::try_from(body_len).ok();
    let len = len.filter(|_| body_len <= MAX_BODY_LEN).ok_or(too_long)?;
    let start = (u32::from(NOTICE_MAGIC) << 24) | len;
    frame[..4].copy_from_slice(&start.to_be_bytes());
    Ok(frame)
}

/// Decodes the body of a frame with which a client shows a token.
///
/// # Errors
///
/// It is no map of one pair, `token`.
pub fn decode_token(body: &[u8]) -> Result<&str, BodyError> {
    let mut reader = CborReader::new(body);
    let pairs = reader.map()?;
    let mut token = None;
    for _ in 0..pairs {
        let at = reader.at();
        match reader.key()? {
            b"token" => *vacant(&mut token, "token", at)? = Some(reader.text()?),
            _ => return Err(BodyError::UnknownKey { at }),
        }
    }
    let at = reader.at();
    reader.end()?;
    token.ok_or(BodyError::MissingKey { key: "token", at })
}
