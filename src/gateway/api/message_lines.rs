//! Many messages in one body: one JSON value a line (`application/x-ndjson`).
//!
//! A line is a string, which is a message of text, or an object with one key: `{"text": "…"}` or `{"base64": "…"}`,
//! which is a binary message. Lines with nothing but spaces are skipped, and counted as lines.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use thiserror::Error;

use crate::websocket::Kind;

/// A message of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LineMessage<'a> {
    pub(super) kind: Kind,
    pub(super) payload: Cow<'a, [u8]>,
}

/// Reason for which a line is no message.
#[derive(Debug, Error)]
pub(super) enum BadLine {
    #[error("not UTF-8")]
    NotUtf8,
    #[error("not a JSON string, nor an object with text or base64: {0}")]
    Json(String),
    #[error("base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("an empty message")]
    Empty,
}

/// A line that is a string.
#[derive(Deserialize)]
struct EncodedText<'a>(#[serde(borrow)] Cow<'a, str>);

/// A line that is an object: with one key, which says what it is.
#[derive(Deserialize)]
enum EncodedObject<'a> {
    #[serde(rename = "text", borrow)]
    Text(Cow<'a, str>),
    #[serde(rename = "base64", borrow)]
    Base64(Cow<'a, str>),
}

/// Returns the lines of a body that are not blank, each with its number from 1.
pub(super) fn lines(body: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    (1..).zip(lines).filter(|(_, line)| !line.is_empty())
}

impl From<serde_json::Error> for BadLine {
    /// Takes the column only: the line is another in the body.
    fn from(error: serde_json::Error) -> Self {
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or_default();
        Self::Json(format!("{what} at column {}", error.column()))
    }
}

impl<'a> LineMessage<'a> {
    /// Reads a line.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, BadLine> {
        let line = std::str::from_utf8(line).map_err(|_| BadLine::NotUtf8)?;
        let object = if line.starts_with('{') {
            serde_json::from_str(line)?
        } else {
            EncodedObject::Text(serde_json::from_str::<EncodedText<'_>>(line)?.0)
        };
        let (kind, payload) = match object {
            EncodedObject::Text(text) => (Kind::Text, into_bytes(text)),
            EncodedObject::Base64(text) => (Kind::Binary, STANDARD.decode(&*text)?.into()),
        };
        if payload.is_empty() {
            return Err(BadLine::Empty);
        }
        Ok(Self { kind, payload })
    }
}

fn into_bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn strings_and_objects_are_messages() {
        for (line, kind, payload) in [
            (r#""hello""#, Kind::Text, &b"hello"[..]),
            (r#""a \u00e9\n""#, Kind::Text, "a é\n".as_bytes()),
            (r#"{"text":"hello"}"#, Kind::Text, b"hello"),
            (r#"{ "text" : "{}" }"#, Kind::Text, b"{}"),
            (r#"{"base64":"AP8="}"#, Kind::Binary, b"\0\xFF"),
        ] {
            let message = LineMessage::parse(line.as_bytes()).unwrap();
            assert_eq!((message.kind, &*message.payload), (kind, payload), "{line}");
        }
    }

    #[test]
    fn other_lines_are_none() {
        for line in [
            "hello",
            "1",
            "null",
            "[]",
            r#"["a"]"#,
            "{}",
            r#"{"text":1}"#,
            r#"{"text":"a","base64":"AA=="}"#,
            r#"{"text":"a","x":1}"#,
            r#"{"x":"a"}"#,
            r#"{"base64":"A"}"#,
            r#"{"base64":"AA"}"#,
            r#"{"base64":"_w=="}"#,
            r#""""#,
            r#"{"text":""}"#,
            r#"{"base64":""}"#,
            r#""a" "b""#,
            r#""\ud800""#,
            "\"\u{1}\"",
        ] {
            assert!(LineMessage::parse(line.as_bytes()).is_err(), "{line}");
        }
        assert!(matches!(
            LineMessage::parse(b"\"\xFF\""),
            Err(BadLine::NotUtf8)
        ));
    }

    #[test]
    fn lines_are_numbered_and_blank_ones_skipped() {
        let found: Vec<_> = lines(b"\"a\"\r\n\n  \n\"b\"\n").collect();
        assert_eq!(found, [(1, &b"\"a\""[..]), (4, &b"\"b\""[..])]);
        assert_eq!(lines(b"").count(), 0);
    }
}
