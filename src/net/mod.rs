//! Listeners and what happens to a connection before it has a seat in a channel.
//!
//! Invariants: a connection is counted by the gate from `accept` until its socket is closed; what
//! it may cost before it has proved that it may join is bounded in time, in number, and in memory;
//! and a failure to accept is never the end of a listener.
//!
//! It must not know what a channel does with a session: it ends with `Shard::route`.

mod accept;
mod join;
mod listen;
mod refusal;

pub(crate) use accept::accept_forever;
pub use listen::ListenError;
pub(crate) use listen::{Listeners, bind};
