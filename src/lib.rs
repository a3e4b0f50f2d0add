//! Mles: a thread-per-core publish/subscribe broker, and the client for it.
//!
//! # Layers
//!
//! Dependencies point one way:
//!
//! ```text
//! main, cli → config → broker → net → shard → channel → protocol
//!                       client ─────────────────────────→ protocol
//! ```
//!
//! `protocol` and `channel` are pure: no I/O, no clock, no runtime. They are what is left of the
//! library without features. `server` adds the broker, `client` the clients, `cli` the `mles`
//! program.

pub mod channel;
#[cfg(feature = "client")]
pub mod client;
pub mod protocol;
#[cfg(feature = "server")]
mod settings;

#[cfg(feature = "server")]
pub use settings::{Limits, NameCheck, Settings};
