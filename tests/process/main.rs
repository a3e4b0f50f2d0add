//! A broker in a process of its own: its memory, its file descriptors, its network.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod bounds;
#[cfg(target_os = "linux")]
mod cable;
mod child;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod dead_peer;
#[cfg(target_os = "linux")]
mod ipv6;
mod memory;
mod websocket_memory;
