//! The admin listener: health, metrics, views in JSON, actions and the dashboard, for whoever runs the broker.
//!
//! It has a thread and a runtime of its own, so that a question costs shards only what they are asked for, and is
//! answered while a shard is not. What shards know, they are asked for by messages ([`crate::shard::inspect`]); counters
//! are read where they are.
//!
//! Invariants:
//!
//! * The message path never waits for it, and knows nothing of it.
//! * Connections, the time that each may take, and the length of every answer are bounded. A connection that waits or
//!   does not go on makes room for a new one, so nobody can keep others out.
//! * Without a token it listens on loopback only, and is asked by addresses and by `localhost` only: a page of somebody
//!   else reads nothing here and changes nothing.
//! * No key and no token is in an answer.
//!
//! It must not decide what a channel or a session does: it asks the shards, or [`crate::broker`].

mod access;
mod act;
mod ask;
mod connection;
mod files;
mod health;
mod io;
mod metrics;
mod problem;
mod process;
mod query;
mod route;
mod server;
mod slots;
mod view;

pub(crate) use server::{AdminServer, AdminState};
