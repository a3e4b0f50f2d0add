//! Any protocol, over TLS instead of plain TCP.

use super::{Adapter, Head, Publication, Session, WireError};

/// An adapter whose bytes [`crate::fleet`] puts into TLS records.
pub(crate) struct OverTls<A>(pub(crate) A);

impl<A: Adapter> Adapter for OverTls<A> {
    fn hello(&self, session: &Session<'_>) -> Result<Vec<u8>, WireError> {
        self.0.hello(session)
    }

    fn publication(&self, session: &Session<'_>, payload: &[u8]) -> Result<Publication, WireError> {
        self.0.publication(session, payload)
    }

    fn head(&self, received: &[u8]) -> Result<Head, WireError> {
        self.0.head(received)
    }

    fn pong(&self) -> &'static [u8] {
        self.0.pong()
    }

    fn counts_positions(&self) -> bool {
        self.0.counts_positions()
    }

    fn is_base64(&self) -> bool {
        self.0.is_base64()
    }

    fn is_over_tls(&self) -> bool {
        true
    }
}
