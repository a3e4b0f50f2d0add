//! A broker and its clients over WebSocket.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod access;
mod case;
#[path = "../common/mod.rs"]
mod common;
mod conformance;
mod drain;
mod hostile;
mod http;
mod order;
mod proxies;
mod slow;
mod tls;
mod turns;
mod utf8;
mod v1;
mod v2;
