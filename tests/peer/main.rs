//! Servers that are linked, and what passes over their links.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod below;
mod chain;
#[path = "../common/mod.rs"]
mod common;
mod downlink;
mod faults;
mod late;
mod links;
mod loops;
mod peer_world;
mod resync;
mod slow_links;
mod tcp_proxy;
mod tls;
