//! Servers that are linked, and what passes over their links.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod chain;
#[path = "../common/mod.rs"]
mod common;
mod downlink;
mod downstream;
mod drain;
mod faults;
mod late_frames;
mod linked_servers;
mod links;
mod loops;
mod positions;
mod proxy_faults;
mod resync;
mod slow_links;
mod tls;
