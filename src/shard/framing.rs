//! The layer that a gateway puts between the sessions of a connection and its bytes.

use bytes::Bytes;

use super::ended::Ended;
use super::labels::Transport;
use crate::channel::Encoding;

/// Encoding in which a gateway carries sessions. The shard does not know what its bytes mean.
#[derive(Debug)]
pub(crate) struct Framing {
    /// Transport that counters name, without TLS.
    pub(crate) transport: Transport,
    /// The encoding of the queues of all sessions.
    pub(crate) encoding: &'static Encoding,
    /// Makes a message that every client answers at once; `None` if there is no such message.
    pub(crate) ping: Option<fn() -> Bytes>,
    /// Makes the message that closes a connection whose session has ended; `None` if the client does not
    /// need to be told why.
    pub(crate) close: fn(&Ended) -> Option<Bytes>,
}
