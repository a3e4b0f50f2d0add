//! The first message of Mles v2, as JSON text: the names of the session, and the proof that it may join.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use super::close_code::CloseCode;
use crate::protocol::{BadPosition, ResumeRequest};

/// The first message of a v2 client.
#[derive(PartialEq, Eq)]
pub(crate) struct Greeting<'a> {
    /// Non-empty printable ASCII.
    pub(crate) uid: Cow<'a, str>,
    /// Non-empty printable ASCII.
    pub(crate) channel: Cow<'a, str>,
    /// A hash of both and the key, which shows that the client knows it.
    pub(crate) auth: Option<u64>,
    /// A token.
    pub(crate) token: Option<Cow<'a, str>>,
}

impl fmt::Debug for Greeting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, channel, .. } = self;
        write!(f, "Greeting of {uid:?} in {channel:?}")
    }
}

/// Reason for which a first message is refused.
#[derive(Debug, Error)]
pub(crate) enum GreetingError {
    /// It is no JSON object.
    #[error("the first message is not a JSON object")]
    NoObject,
    /// It is no JSON after all, has not the keys, or has them with other types.
    #[error("the first message is not a JSON object with uid and channel: {0}")]
    Json(#[from] serde_json::Error),
    /// A name that nobody can have.
    #[error("{name} must be non-empty printable ASCII")]
    Name {
        /// Which.
        name: &'static str,
    },
    /// `auth` is no number in hex.
    #[error("auth must be 1 to 16 hex digits")]
    Auth,
    /// `publisher` is no number in hex.
    #[error("publisher must be 1 to 16 hex digits")]
    Publisher,
    /// `since` is no position.
    #[error("since: {0}")]
    Since(#[from] BadPosition),
    /// The fields that ask for positions have other types.
    #[error("resume, since, publisher or members: {0}")]
    Resume(serde_json::Error),
}

impl GreetingError {
    /// Returns the code to close the connection with.
    pub(crate) const fn code(&self) -> CloseCode {
        match self {
            Self::Auth => CloseCode::AUTH,
            Self::NoObject
            | Self::Json(_)
            | Self::Name { .. }
            | Self::Publisher
            | Self::Since(_)
            | Self::Resume(_) => CloseCode::POLICY,
        }
    }
}

/// A greeting as it is encoded. Keys that are not known are ignored.
#[derive(Deserialize)]
struct EncodedGreeting<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    auth: Option<Cow<'a, str>>,
    #[serde(borrow)]
    token: Option<Cow<'a, str>>,
}

impl<'a> Greeting<'a> {
    /// Reads the first message. The caller bounds its length; JSON nested deeper than 128 levels
    /// is refused.
    ///
    /// # Errors
    ///
    /// See [`GreetingError`].
    pub(crate) fn parse(text: &'a str) -> Result<Self, GreetingError> {
        // An array would do for serde.
        if !text.trim_start().starts_with('{') {
            return Err(GreetingError::NoObject);
        }
        let EncodedGreeting {
            uid,
            channel,
            auth,
            token,
        } = serde_json::from_str(text)?;
        for (name, value) in [("uid", &uid), ("channel", &channel)] {
            if value.is_empty() || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(GreetingError::Name { name });
            }
        }
        let auth = auth.map(|auth| parse_hex(&auth).ok_or(GreetingError::Auth));
        Ok(Self {
            uid,
            channel,
            auth: auth.transpose()?,
            token,
        })
    }
}

/// The wish for positions in a greeting, as it is encoded.
#[derive(Deserialize)]
struct EncodedResume<'a> {
    /// Says no more than the subprotocol does, in whose greeting it stands.
    #[serde(rename = "resume")]
    _resume: Option<bool>,
    #[serde(borrow)]
    since: Option<Cow<'a, str>>,
    #[serde(borrow)]
    publisher: Option<Cow<'a, str>>,
    members: Option<u64>,
}

/// Reads the wish for positions in a greeting that was read before. Each key may be missing.
///
/// # Errors
///
/// See [`GreetingError`].
pub(crate) fn parse_resume(text: &str) -> Result<ResumeRequest, GreetingError> {
    let encoded: EncodedResume<'_> = serde_json::from_str(text).map_err(GreetingError::Resume)?;
    let publisher = encoded
        .publisher
        .map(|publisher| parse_hex(&publisher).ok_or(GreetingError::Publisher));
    Ok(ResumeRequest {
        since: encoded.since.map(|since| since.parse()).transpose()?,
        publisher: publisher.transpose()?,
        members: encoded.members,
    })
}

/// Parses a number in hex: 1–16 digits of either case.
pub(crate) fn parse_hex(hex: &str) -> Option<u64> {
    // Parsing alone would let a sign through.
    let is_hex = hex.len() <= 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::protocol::{Epoch, Position};

    fn error(text: &str) -> GreetingError {
        Greeting::parse(text).expect_err(text)
    }

    #[test]
    fn names_and_auth_are_read() {
        let hello = Greeting::parse(r#"{"uid":"al ice","channel":"r\u006fom","auth":"00fF"}"#);
        let expected = Greeting {
            uid: "al ice".into(),
            channel: "room".into(),
            auth: Some(255),
            token: None,
        };
        assert_eq!(hello.ok(), Some(expected));
    }

    #[test]
    fn auth_may_be_missing_and_more_may_be_said() {
        for text in [
            r#"{"channel":"c","uid":"u"}"#,
            r#"{"channel":"c","uid":"u","auth":null}"#,
            r#" {"channel":"c","more":{"of":["this"]},"uid":"u"} "#,
        ] {
            let hello = Greeting::parse(text).ok();
            assert_eq!(hello.map(|hello| hello.auth), Some(None), "{text}");
        }
    }

    #[test]
    fn what_is_not_the_object_is_refused() {
        for text in ["", "null", "[]", "nonsense", r#"["u","c","0"]"#] {
            assert!(matches!(error(text), GreetingError::NoObject), "{text}");
        }
        for text in [
            "{}",
            r#"{"uid":"u"}"#,
            r#"{"channel":"c"}"#,
            r#"{"uid":1,"channel":"c"}"#,
            r#"{"uid":"u","channel":["c"]}"#,
            r#"{"uid":"u","channel":"c","auth":7}"#,
            r#"{"uid":"u","uid":"u","channel":"c"}"#,
            r#"{"uid":"u","channel":"c"} x"#,
            r#"{"uid":"u","channel":"c""#,
        ] {
            assert!(matches!(error(text), GreetingError::Json(_)), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
        assert!(matches!(error(&deep), GreetingError::Json(_)));
    }

    #[test]
    fn names_are_printable_ascii() {
        for name in ["", "\\u0000", "a\\n", "\\u007f", "é", "\\ud83d\\ude00"] {
            let uid = format!(r#"{{"uid":"{name}","channel":"c"}}"#);
            assert!(matches!(error(&uid), GreetingError::Name { name: "uid" }));
            let channel = format!(r#"{{"uid":"u","channel":"{name}"}}"#);
            let found = error(&channel);
            assert!(matches!(found, GreetingError::Name { name: "channel" }));
        }
    }

    #[test]
    fn auth_is_hex() {
        assert_eq!(parse_hex("0"), Some(0));
        assert_eq!(parse_hex("FFFFffffFFFFffff"), Some(u64::MAX));
        for auth in ["", "g", "+1", "-1", "0x1", " 1", "1 ", "00000000000000001"] {
            assert_eq!(parse_hex(auth), None, "{auth}");
            let text = format!(r#"{{"uid":"u","channel":"c","auth":"{auth}"}}"#);
            let found = error(&text);
            assert!(matches!(found, GreetingError::Auth));
            assert_eq!(found.code(), CloseCode::AUTH);
        }
    }

    #[test]
    fn a_wish_for_positions_is_read() {
        let position = Position {
            epoch: Epoch(0xAB),
            offset: 7,
        };
        let since = r#""since":"00000000000000ab:7""#;
        for (text, expected) in [
            (String::new(), ResumeRequest::default()),
            (
                r#","resume":true,"more":1"#.to_owned(),
                ResumeRequest::default(),
            ),
            (
                format!(r#",{since},"publisher":"fF","members":9"#),
                ResumeRequest {
                    since: Some(position),
                    publisher: Some(255),
                    members: Some(9),
                },
            ),
        ] {
            let text = format!(r#"{{"uid":"u","channel":"c"{text}}}"#);
            assert!(Greeting::parse(&text).is_ok());
            assert_eq!(parse_resume(&text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_wish_for_positions_is_refused_in_words() {
        for (text, words) in [
            (r#""since":"x""#, "since: not a position"),
            (r#""since":"00000000000000ab:07""#, "since: not a position"),
            (
                r#""since":7"#,
                "resume, since, publisher or members: invalid type",
            ),
            (
                r#""publisher":"-1""#,
                "publisher must be 1 to 16 hex digits",
            ),
            (r#""publisher":1"#, "invalid type"),
            (r#""members":-1"#, "invalid value"),
            (r#""resume":"yes""#, "invalid type"),
        ] {
            let found = parse_resume(&format!("{{{text}}}")).expect_err(text);
            assert!(found.to_string().contains(words), "{found}");
            assert_eq!(found.code(), CloseCode::POLICY, "{text}");
        }
    }
}
