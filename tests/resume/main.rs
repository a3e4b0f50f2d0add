//! Positions over a network that cuts connections at any byte, on all transports at once, with a server that is
//! stopped and started again in between: one with its histories in memory, or one with its histories on disk, which is
//! killed.
//!
//! Each run is made from a seed (see [`scenario`]), which a run that fails tells. The actors are small clients of
//! their own against the wire, and write down what they see in one log; [`oracle`] judges it by the promises of
//! `docs/ARCHITECTURE.md` alone.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

#[path = "../common/mod.rs"]
mod common;
mod counter;
mod http;
mod log;
mod notice;
mod oracle;
mod oracle_finds;
mod oracle_finds_later;
mod payload;
mod place;
mod plain;
mod proxy;
mod proxy_cuts;
mod publisher;
mod reader;
mod report;
mod right;
mod scenario;
mod seeds;
mod server;
mod session;
mod shared;
mod store;
mod wire;
mod world;
