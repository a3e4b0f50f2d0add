//! Grants: what clients have proved, and who they are by that.

use std::fmt;

use super::token::Claims;
use crate::protocol::Keyring;

/// Key or token that the client of a session has proved. The session keeps it, so that a reload can tell whether it still
/// counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// It knows a key.
    Key(KeyGrant),
    /// It has a token.
    Token(Claims),
}

/// A key that a client knows.
pub(crate) struct KeyGrant {
    name: Box<str>,
    keyring: Keyring,
}

/// Identity of a client by the key or token that it has proved. Sessions of one subject may replace each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Subject<'a> {
    /// Whoever knows the key of that name.
    Key(&'a str),
    /// Whoever has a token for that uid.
    Token(&'a str),
}

impl Grant {
    /// Returns the name of the key that was shown, if it was one.
    pub(crate) fn key_name(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(key.name()),
            Self::Token(_) => None,
        }
    }

    /// Returns who its client is.
    pub(crate) fn subject(&self) -> Subject<'_> {
        match self {
            Self::Key(key) => Subject::Key(&key.name),
            Self::Token(claims) => Subject::Token(claims.subject()),
        }
    }
}

impl KeyGrant {
    pub(super) fn new(name: &str, keyring: Keyring) -> Self {
        Self {
            name: name.into(),
            keyring,
        }
    }

    /// Returns the name of the key.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl PartialEq for KeyGrant {
    /// Compares name and secret. Both are the server's own: what a client shows is not compared here.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.keyring.is_same(&other.keyring)
    }
}

impl Eq for KeyGrant {}

impl fmt::Debug for KeyGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyGrant").field(&self.name).finish()
    }
}
