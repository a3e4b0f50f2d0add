//! The claims of a token that was verified.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::Value;

use super::error::TokenError;
use super::key::TokenKey;
use crate::access::pattern::{NamePattern, Placeholders};
use crate::access::permissions::Permissions;

/// Times after this are taken for it, in seconds: the year 9999.
const END_OF_TIME: u64 = 253_402_300_799;
/// Permissions of a token that names none: all but those of servers.
const CLIENT: Permissions = Permissions::ALL.without(Permissions::PEER);

/// Claims of a token that was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    subject: Box<str>,
    expires: SystemTime,
    /// The later one of `nbf` and `iat`.
    begins: Option<SystemTime>,
    issuer: Option<Box<str>>,
    /// `None` if it does not say for whom it is.
    audience: Option<Box<[Box<str>]>>,
    channels: Option<Box<[ChannelClaim]>>,
    key: Arc<TokenKey>,
}

/// Channels that a token is for, and what its client may do there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ChannelClaim {
    /// Pattern of the channels' names.
    pattern: NamePattern,
    /// Permissions in these channels.
    permissions: Permissions,
}

/// Claims as they are encoded. Those that are not known are ignored, and of the others each may be there once.
#[derive(Deserialize)]
struct EncodedClaims {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
    channels: Option<Value>,
}

impl Claims {
    /// Reads the claims of a token that was signed with `key`.
    ///
    /// # Errors
    ///
    /// A claim that has to be there is not, or one makes no sense.
    pub(super) fn parse(json: &[u8], key: Arc<TokenKey>) -> Result<Self, TokenError> {
        // An array would do for serde.
        if json.trim_ascii_start().first() != Some(&b'{') {
            return Err(TokenError::Claims);
        }
        let encoded: EncodedClaims =
            serde_json::from_slice(json).map_err(|_| TokenError::Claims)?;
        let subject = encoded.sub.as_ref().and_then(text);
        let subject = subject.filter(|subject| !subject.is_empty());
        let expires = encoded.exp.ok_or(bad_time("exp"))?;
        let not_before = encoded.nbf.map(|nbf| time("nbf", &nbf)).transpose()?;
        let issued = encoded.iat.map(|iat| time("iat", &iat)).transpose()?;
        Ok(Self {
            subject: subject.ok_or(TokenError::Claim {
                claim: "sub",
                expected: "a string",
            })?,
            expires: time("exp", &expires)?,
            begins: not_before.max(issued),
            issuer: encoded.iss.map(|iss| issuer(&iss)).transpose()?,
            audience: encoded.aud.map(|aud| audience(&aud)).transpose()?,
            channels: encoded
                .channels
                .map(|channels| channels_of(&channels))
                .transpose()?,
            key,
        })
    }

    /// Returns the uid of the client.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// Returns what it permits in `channel`; `None` if it names no channels at all, and rules of the server decide.
    pub(crate) fn permissions(&self, channel: &str) -> Option<Permissions> {
        let asker = Placeholders {
            uid: &self.subject,
            key: None,
        };
        let claims = self.channels.as_deref()?.iter();
        let matching = claims.filter(|claim| claim.pattern.matches(channel, asker));
        Some(matching.fold(Permissions::NONE, |all, claim| all.with(claim.permissions)))
    }

    /// Returns when it expires, as it says.
    pub(crate) const fn expires(&self) -> SystemTime {
        self.expires
    }

    pub(super) fn is_signed_with(&self, key: &TokenKey) -> bool {
        self.key.is_same(key)
    }

    pub(super) fn check_time(&self, now: SystemTime, leeway: Duration) -> Result<(), TokenError> {
        if now >= self.expires + leeway {
            return Err(TokenError::Expired);
        }
        if self.begins.is_some_and(|begins| begins > now + leeway) {
            return Err(TokenError::NotYet);
        }
        Ok(())
    }

    pub(super) fn check_issuer(&self, expected: Option<&str>) -> Result<(), TokenError> {
        match expected {
            Some(_) if self.issuer.as_deref() != expected => Err(TokenError::Issuer),
            _ => Ok(()),
        }
    }

    /// Checks that the token is for this server. One that names an audience is not for a server that has no such name.
    pub(super) fn check_audience(&self, expected: Option<&str>) -> Result<(), TokenError> {
        let is_right = match (&self.audience, expected) {
            (None, None) => true,
            (Some(audience), Some(expected)) => audience.iter().any(|name| **name == *expected),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_right {
            Ok(())
        } else {
            Err(TokenError::Audience)
        }
    }
}

fn text(value: &Value) -> Option<Box<str>> {
    value.as_str().map(Into::into)
}

const fn bad_time(claim: &'static str) -> TokenError {
    let expected = "a number of seconds since 1970";
    TokenError::Claim { claim, expected }
}

fn time(claim: &'static str, value: &Value) -> Result<SystemTime, TokenError> {
    let seconds = value.as_f64().filter(|&seconds| seconds >= 0.0);
    let seconds = seconds.ok_or(bad_time(claim))?;
    // The year 9999 is far from where a double has no more whole seconds.
    let since = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    Ok(SystemTime::UNIX_EPOCH + since.min(Duration::from_secs(END_OF_TIME)))
}

fn issuer(value: &Value) -> Result<Box<str>, TokenError> {
    text(value).ok_or(TokenError::Claim {
        claim: "iss",
        expected: "a string",
    })
}

fn audience(value: &Value) -> Result<Box<[Box<str>]>, TokenError> {
    let names = match value {
        Value::String(name) => Some([name.as_str().into()].into()),
        Value::Array(names) => names.iter().map(text).collect(),
        _ => None,
    };
    names.ok_or(TokenError::Claim {
        claim: "aud",
        expected: "a string or an array of strings",
    })
}

/// Reads `channels`: patterns, or objects with a pattern and what is allowed there.
fn channels_of(value: &Value) -> Result<Box<[ChannelClaim]>, TokenError> {
    let channels = value.as_array();
    let channels = channels.and_then(|channels| channels.iter().map(channel).collect());
    channels.ok_or(TokenError::Claim {
        claim: "channels",
        expected: "an array of patterns, or of objects with channel and allow",
    })
}

fn channel(value: &Value) -> Option<ChannelClaim> {
    if let Some(pattern) = value.as_str() {
        return Some(ChannelClaim {
            pattern: pattern.parse().ok()?,
            permissions: CLIENT,
        });
    }
    let object = value.as_object()?;
    let pattern = object.get("channel")?.as_str()?.parse().ok()?;
    let permissions = match object.get("allow") {
        None => CLIENT,
        Some(allow) => {
            let mut words = allow.as_array()?.iter();
            words.try_fold(Permissions::NONE, |all, word| {
                Some(all.with(Permissions::named(word.as_str()?)?))
            })?
        }
    };
    Some(ChannelClaim {
        pattern,
        permissions,
    })
}
