//! The first message of Mles v2, as JSON text: the names of the session, and the proof that it may join.

use std::borrow::Cow;

use serde::Deserialize;
use thiserror::Error;

use super::close_code::CloseCode;

/// The first message of a v2 client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Greeting<'a> {
    /// Non-empty printable ASCII.
    pub(crate) uid: Cow<'a, str>,
    /// Non-empty printable ASCII.
    pub(crate) channel: Cow<'a, str>,
    /// A hash of both and the key, which shows that the client knows it.
    pub(crate) auth: Option<u64>,
}

/// Why a first message is refused.
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
}

impl GreetingError {
    /// Returns the code to close the connection with.
    pub(crate) const fn code(&self) -> CloseCode {
        match self {
            Self::NoObject | Self::Json(_) | Self::Name { .. } => CloseCode::POLICY,
            Self::Auth => CloseCode::AUTH,
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
        let EncodedGreeting { uid, channel, auth } = serde_json::from_str(text)?;
        for (name, value) in [("uid", &uid), ("channel", &channel)] {
            if value.is_empty() || !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(GreetingError::Name { name });
            }
        }
        let auth = auth.map(|auth| parse_auth(&auth).ok_or(GreetingError::Auth));
        Ok(Self {
            uid,
            channel,
            auth: auth.transpose()?,
        })
    }
}

/// Parses a key in hex: 1–16 digits of either case.
pub(crate) fn parse_auth(hex: &str) -> Option<u64> {
    // Parsing alone would let a sign through.
    let is_hex = hex.len() <= 16 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u64::from_str_radix(hex, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(parse_auth("0"), Some(0));
        assert_eq!(parse_auth("FFFFffffFFFFffff"), Some(u64::MAX));
        for auth in ["", "g", "+1", "-1", "0x1", " 1", "1 ", "00000000000000001"] {
            assert_eq!(parse_auth(auth), None, "{auth}");
            let text = format!(r#"{{"uid":"u","channel":"c","auth":"{auth}"}}"#);
            assert!(matches!(error(&text), GreetingError::Auth));
        }
    }
}
