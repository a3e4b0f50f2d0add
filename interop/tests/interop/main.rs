//! The published reference crates, version 1.1.7, as live peers of this broker and its client; and
//! in `gateway` the clients of others that come over WebSocket and TLS.
//!
//! Every scenario about Mles over TCP that is about a server runs twice, against our broker (`ours`) and against the
//! reference server (`reference`): both must give the same result, and where the reference is
//! known to differ the scenario says how. Synchronisation never relies on sleeping: a frame sent
//! before another session's join reaches it through the history, one sent after it reaches it live.

// These are tests: a failed `unwrap` is a failed test, with the place in its message.
#![allow(clippy::unwrap_used)]

#[macro_use]
mod support;

mod chat;
mod frames;
mod gateway;
mod keys;
mod msgconn;
mod our_client;
mod peers;
mod positions;
