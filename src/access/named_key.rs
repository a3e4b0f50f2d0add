//! Keys with names, as the settings have them.

use std::fmt;

use thiserror::Error;

use crate::protocol::Keyring;

/// Name of the key that `key` or `key_file` sets, or `addr_key`.
pub(crate) const DEFAULT_KEY: &str = "default";
/// Names that rules have for others than those who know a key.
pub(crate) const ANONYMOUS: &str = "anonymous";
pub(crate) const TOKEN: &str = "token";

/// Longest name in bytes.
const MAX_NAME: usize = 64;

/// A key with a name: a secret that clients of one kind share.
///
/// `Debug` never shows the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedKey {
    name: String,
    secret: String,
}

/// The reason that a key is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadKey {
    /// The name is empty or too long, or has other characters.
    #[error("the name of a key has 1 to 64 letters, digits, `-`, `_` and `.`")]
    Name,
    /// The name means something else.
    #[error("`default`, `anonymous` and `token` mean something else: choose another name")]
    Reserved,
    /// The secret is empty.
    #[error("the secret is empty")]
    Empty,
}

impl NamedKey {
    /// Creates a key. Its name is for rules and for the log.
    ///
    /// # Errors
    ///
    /// See [`BadKey`].
    pub fn new(name: impl Into<String>, secret: impl Into<String>) -> Result<Self, BadKey> {
        let (name, secret) = (name.into(), secret.into());
        check_key_name(&name)?;
        if secret.is_empty() {
            return Err(BadKey::Empty);
        }
        Ok(Self { name, secret })
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what session keys are made from with it.
    pub(crate) fn keyring(&self) -> Keyring {
        Keyring::new(Some(self.secret.clone()), None)
    }
}

/// Checks the name of a key.
pub(crate) fn check_key_name(name: &str) -> Result<(), BadKey> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.chars().all(is_plain) {
        return Err(BadKey::Name);
    }
    if [DEFAULT_KEY, ANONYMOUS, TOKEN].contains(&name) {
        return Err(BadKey::Reserved);
    }
    Ok(())
}

impl fmt::Debug for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NamedKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
