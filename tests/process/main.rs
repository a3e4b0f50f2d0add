//! A broker in a process of its own: its memory, its file descriptors, its network.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod broker_process;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod dead_peer;
#[cfg(target_os = "linux")]
mod ipv6;
mod memory;
mod memory_bounds;
#[cfg(target_os = "linux")]
mod network_namespace;
mod websocket_memory;
