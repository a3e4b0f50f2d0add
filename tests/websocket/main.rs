//! A broker and its clients over WebSocket.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod access;
mod api;
mod api_access;
mod api_clients;
mod api_members;
mod api_positions;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod drain;
mod events;
mod events_access;
mod events_end;
mod fairness;
mod held;
mod hostile;
mod http;
mod keep_alive;
mod members;
mod metrics;
mod order;
mod protocol_case;
mod proxies;
mod resume;
mod resume_v1;
mod resuming;
mod slow_member;
#[cfg(feature = "store")]
mod store;
mod tls;
mod utf8;
mod v1;
mod v2;
