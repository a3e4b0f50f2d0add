//! Faults of tokens.

use thiserror::Error;

use crate::protocol::MAX_TOKEN_LEN;

/// Reason for which a token is not accepted. It follows "the token", and quotes nothing from it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum TokenError {
    /// It is over [`MAX_TOKEN_LEN`].
    #[error("is longer than {MAX_TOKEN_LEN} bytes")]
    TooLong,
    /// It is no JWT in the compact form, or what it has is no JSON.
    #[error("is not a signed JWT")]
    Malformed,
    /// No key here could be for that algorithm.
    #[error("is not signed with HS256, RS256, ES256 or EdDSA")]
    Algorithm,
    /// Its header names extensions.
    #[error("has a header with crit, which is not supported")]
    Critical,
    /// No key verifies it, whatever the reason: which keys there are is nobody's business.
    #[error("is not signed with a key of this server")]
    Signature,
    /// A claim is missing, or makes no sense.
    #[error("has no {claim}, or one that is not {expected}")]
    Claim {
        /// Its name.
        claim: &'static str,
        /// The kind of value that the claim must have.
        expected: &'static str,
    },
    /// A claim is there twice, or something is no claim at all.
    #[error("has claims that are not a JSON object with each claim once")]
    Claims,
    /// Its time is up.
    #[error("has expired")]
    Expired,
    /// Its time has not come.
    #[error("is not valid yet (nbf, iat): are the clocks right?")]
    NotYet,
    /// It is from somebody else.
    #[error("is not from the issuer that this server expects (iss)")]
    Issuer,
    /// It is for somebody else.
    #[error("is for another audience (aud)")]
    Audience,
    /// Its client wants to be somebody else.
    #[error("is for another uid (sub)")]
    Subject,
}
