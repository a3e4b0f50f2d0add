//! The trait behind which brokers' client libraries are: they are what a program takes that does not write
//! its own wire format.
//!
//! The lean adapters of [`crate::adapter`] are what brokers are compared with: a library costs
//! more than most brokers, and would be what is measured. With `--client library` the same load goes
//! through the libraries instead, for all brokers alike, and the report names them.
//!
//! Libraries are used as their documentation has it for many messages that may be lost: no
//! acknowledgements, nothing durable, `TCP_NODELAY`. Nothing here counts or checks; that is the
//! scenario's.

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use mles::protocol::Keyring;
use thiserror::Error;

/// A library failed, or the broker at its other end.
#[derive(Debug, Error)]
#[error("{library}: {source}")]
pub(crate) struct LibraryError {
    library: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

/// Everything that a library needs to open one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientSession<'a> {
    /// Where the broker listens.
    pub(crate) broker: SocketAddr,
    /// The channel, subject or topic.
    pub(crate) channel: &'a str,
    /// Unlike that of every other connection of this program's run.
    pub(crate) number: u32,
    /// Bytes of each message.
    pub(crate) payload: usize,
    /// The source of keys for sessions of Mles.
    pub(crate) keyring: &'a Keyring,
}

/// Something to do through a client library, once it is known which.
pub(crate) trait Job {
    /// Returned at its end.
    type Output;

    /// Does it, within a local set of a runtime of one thread.
    async fn through<L: Library>(self) -> Self::Output;
}

/// A broker's client library.
pub(crate) trait Library {
    /// The name of its crate.
    const NAME: &'static str;
    /// A connection that sends.
    type Publisher: LibraryPublisher;
    /// A connection that receives.
    type Subscriber: LibrarySubscriber + 'static;

    /// Returns the error for what this library says.
    fn failed(source: impl Into<Box<dyn Error + Send + Sync>>) -> LibraryError {
        LibraryError {
            library: Self::NAME,
            source: source.into(),
        }
    }

    /// Connects a publisher; called within a local set of a runtime of one thread.
    ///
    /// # Errors
    /// The broker cannot be reached, or says no.
    async fn publisher(session: ClientSession<'_>) -> Result<Self::Publisher, LibraryError>;

    /// Connects a subscriber. Its subscription may come into force only later.
    ///
    /// # Errors
    /// The broker cannot be reached, or says no.
    async fn subscriber(session: ClientSession<'_>) -> Result<Self::Subscriber, LibraryError>;
}

/// A connection that sends.
pub(crate) trait LibraryPublisher {
    /// Hands messages to the library, to be sent without further calls. Not cancel safe: some of
    /// them may have been handed over.
    ///
    /// # Errors
    /// The connection is gone.
    async fn publish(&mut self, batch: Vec<Bytes>) -> Result<(), LibraryError>;
}

/// A connection that receives.
pub(crate) trait LibrarySubscriber {
    /// Waits for the next message and has a look at its payload.
    ///
    /// # Errors
    /// The connection is gone.
    async fn next<R>(&mut self, look: impl FnOnce(&[u8]) -> R) -> Result<R, LibraryError>;
}

/// The connection ended although nobody asked for it.
pub(crate) const ENDED: &str = "the connection ended";
