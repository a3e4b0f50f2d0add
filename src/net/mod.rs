//! Listeners, and the way of a connection from `accept` to its join over TCP or TLS.
//!
//! Invariants:
//!
//! * A connection is counted by the limiter from `accept` until its socket is closed.
//! * Before it has proved that it may join, it is bounded in time, in number, and in memory.
//! * The client's address is that of the connection, or the one that a trusted proxy names.
//! * A failure to accept never ends a listener.
//!
//! It must not know what a channel does with a session: it ends with the shard's `route` or
//! `serve_in_place`, or with the gateway.

mod accept;
mod acceptor;
mod directory;
mod join;
mod listen;
mod proxy;

pub(crate) use accept::accept_until;
pub(crate) use acceptor::Acceptor;
pub(crate) use directory::ListenerDirectory;
pub use listen::ListenError;
pub(crate) use listen::{Listeners, bind, bind_beside, is_v6_only};
#[cfg(feature = "cli")]
pub(crate) use listen::{check_address, overlap};
