//! Tokens: JWTs, signed by somebody whom this server trusts, that say who a client is and what it may do.
//!
//! [`TokenVerifier`] holds the keys and the rules of the settings. It checks a token and returns its [`Claims`].
//!
//! Invariants:
//!
//! * A key is used with one algorithm only, its own: the header of a token chooses among keys, never how one is used.
//! * Nothing in a token but its header is looked at before its signature is verified.
//! * No error quotes from a token.

mod claims;
mod error;
mod key;
#[cfg(feature = "cli")]
mod signing_key;
#[cfg(all(test, feature = "cli"))]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

pub(crate) use self::claims::Claims;
pub(crate) use self::error::TokenError;
pub use self::key::{BadTokenKey, TokenKey};
#[cfg(feature = "cli")]
pub(crate) use self::signing_key::{BadSigningKey, SigningKey};
use crate::protocol::MAX_TOKEN_LEN;
use crate::settings::TokenSettings;

/// The keys that tokens are verified with, and what their claims have to be.
#[derive(Clone, Debug)]
pub(crate) struct TokenVerifier {
    keys: Vec<Arc<TokenKey>>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
}

/// The header of a token. What else it has is not needed.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Names extensions that a reader has to know: it knows none.
    crit: Option<serde::de::IgnoredAny>,
}

/// A token, taken apart.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    /// The signed part: header and claims.
    signed: &'a str,
    signature: &'a str,
}

impl TokenVerifier {
    pub(crate) fn new(settings: &TokenSettings) -> Self {
        Self {
            keys: settings.keys.iter().cloned().map(Arc::new).collect(),
            issuer: settings.issuer.clone(),
            audience: settings.audience.clone(),
            leeway: settings.leeway,
        }
    }

    /// Returns `true` if there is a key, without which no token is good.
    pub(crate) const fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Verifies a token, and returns what it claims.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub(crate) fn verify(&self, token: &str, now: SystemTime) -> Result<Claims, TokenError> {
        let parts = Parts::of(token)?;
        let header = parts.header()?;
        let algorithm = key::algorithm(&header.alg).ok_or(TokenError::Algorithm)?;
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.fits(algorithm, header.kid.as_deref()));
        let key = fitting
            .find(|key| key.verifies(parts.signed, parts.signature))
            .ok_or(TokenError::Signature)?;
        let claims = decode(parts.claims)?;
        let claims = Claims::parse(&claims, key.clone())?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    /// Checks a token again that was verified before: its time may be up, and its key or what is asked of it may have
    /// changed since.
    ///
    /// # Errors
    ///
    /// See [`TokenError`].
    pub(crate) fn recheck(&self, claims: &Claims, now: SystemTime) -> Result<(), TokenError> {
        if !self.keys.iter().any(|key| claims.is_signed_with(key)) {
            return Err(TokenError::Signature);
        }
        self.check(claims, now)
    }

    fn check(&self, claims: &Claims, now: SystemTime) -> Result<(), TokenError> {
        claims.check_time(now, self.leeway)?;
        claims.check_issuer(self.issuer.as_deref())?;
        claims.check_audience(self.audience.as_deref())
    }

    /// Returns when a token is no longer accepted, and sessions that have joined with it end.
    pub(crate) fn expiry(&self, claims: &Claims) -> SystemTime {
        claims.expires() + self.leeway
    }
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::TooLong);
        }
        let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
            let (header, claims) = signed.split_once('.')?;
            let parts = Self {
                header,
                claims,
                signed,
                signature,
            };
            (!claims.contains('.')).then_some(parts)
        });
        parts.ok_or(TokenError::Malformed)
    }

    fn header(&self) -> Result<Header, TokenError> {
        let header: Header =
            serde_json::from_slice(&decode(self.header)?).map_err(|_| TokenError::Malformed)?;
        if header.crit.is_some() {
            return Err(TokenError::Critical);
        }
        Ok(header)
    }
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenError::Malformed)
}

/// Returns the header and the claims of a token as JSON. Nothing is verified.
///
/// # Errors
///
/// It is no token.
#[cfg(feature = "cli")]
pub(crate) fn read_unverified(
    token: &str,
) -> Result<(serde_json::Value, serde_json::Value), TokenError> {
    let parts = Parts::of(token)?;
    let json = |part: &str| {
        let value = serde_json::from_slice(&decode(part)?);
        value.map_err(|_| TokenError::Malformed)
    };
    Ok((json(parts.header)?, json(parts.claims)?))
}
