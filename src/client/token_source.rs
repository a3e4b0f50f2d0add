//! Where the tokens come from that a client shows.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use super::error::Error;

/// A failure to get a token.
pub(super) type TokenFault = Box<dyn std::error::Error + Send + Sync>;

/// A token on its way.
pub(super) type TokenFuture = Pin<Box<dyn Future<Output = Result<String, Error>> + Send>>;

/// A function that returns the token to show. It is called for each connection, and before a token expires.
#[derive(Clone)]
pub(super) struct TokenSource(Arc<dyn Fn() -> TokenFuture + Send + Sync>);

impl TokenSource {
    pub(super) fn new<F>(source: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<String, TokenFault>> + Send + 'static,
    {
        Self(Arc::new(move || {
            let token = source();
            Box::pin(async { token.await.map_err(|fault| Error::Token(fault.to_string())) })
        }))
    }

    /// Gets a token.
    ///
    /// # Errors
    ///
    /// [`Error::Token`] when it cannot be had.
    pub(super) fn token(&self) -> TokenFuture {
        (self.0)()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}
