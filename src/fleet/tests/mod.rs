//! Nodes of a fleet in one process, over a log in memory, with clients.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod cut_off;
mod epochs;
mod http;
mod order;
mod publishers;
mod world;
