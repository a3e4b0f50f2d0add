//! A node of a fleet: between the shards of this broker and the log that all nodes read.
//!
//! One thread does it. What shards propose ([`FleetHandle::propose`]) is packed into records and appended to the log,
//! one record at a time ([`append`]). The log is read back as a whole ([`follow`]); what `order` decides about each
//! record goes to all shards, in order ([`FleetEvent`]). Whether the node's own records come back is watched, and nothing
//! else decides whether the node serves ([`watch`]).
//!
//! ```text
//! shards ── propose ──► append ──► log ──► follow ──► shards
//!                          ▲                  │
//!                          └──── watch ◄──────┘  own records
//! ```
//!
//! Invariants:
//!
//! * A record that was appended, or may have been, is appended again until it comes back. The next one waits for that or
//!   for the answer of the log.
//! * A node never serves alone: what does not come back from the log was not published.
//! * What was read last is compared with the log each time that it is read anew.
//!
//! It must not know rooms or sessions, or any engine.

#[cfg(feature = "fleet")]
mod append;
#[cfg(feature = "fleet")]
mod follow;
mod handle;
#[cfg(feature = "fleet")]
mod node;
mod status;
#[cfg(all(test, feature = "client", feature = "fleet"))]
mod tests;
#[cfg(feature = "fleet")]
mod watch;

pub(crate) use handle::{FleetEvent, FleetHandle, OpenFleet, RoutedRecord};
#[cfg(feature = "fleet")]
pub(crate) use node::{FleetPatience, open};
pub(crate) use status::FleetPhase;
#[cfg(all(test, feature = "client", feature = "fleet"))]
use status::FleetStatus;
