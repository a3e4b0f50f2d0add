//! Where the tokens come from that a client shows.

use std::fmt;
use std::sync::Arc;

use super::error::Error;

/// A failure to get a token.
type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A function that returns the token to show. It is called for each connection.
#[derive(Clone)]
pub(super) struct TokenSource(Arc<dyn Fn() -> Result<String, Fault> + Send + Sync>);

impl TokenSource {
    pub(super) fn new(source: impl Fn() -> Result<String, Fault> + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Returns a token.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] when it cannot be had.
    pub(super) fn token(&self) -> Result<String, Error> {
        (self.0)().map_err(|fault| Error::Token(fault.to_string()))
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}
