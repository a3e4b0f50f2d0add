//! Listeners and what happens to a connection before it has a seat in a channel.
//!
//! Invariants: a connection is counted by the limiter from `accept` until its socket is closed; what
//! it may cost before it has proved that it may join is bounded in time, in number, and in memory;
//! who a client is, is what the connection says, or a proxy that is trusted by the settings;
//! and a failure to accept is never the end of a listener.
//!
//! It must not know what a channel does with a session: it ends with the shard's `route`,
//! `serve_in_place` or `serve_websocket`.

mod accept;
pub(crate) mod acceptor;
mod join;
mod listen;
pub(crate) mod proxy;

pub(crate) use accept::accept_forever;
pub(crate) use acceptor::Acceptor;
pub use listen::ListenError;
pub(crate) use listen::{Listeners, bind};
#[cfg(feature = "cli")]
pub(crate) use listen::{check_address, overlap};
