//! A broker and its clients, over TCP and TLS.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod admin;
mod admin_views;
mod announce;
#[path = "../common/mod.rs"]
mod common;
mod delivery;
mod drain;
mod drain_over;
mod half_close;
mod hostile;
mod idle;
mod incomplete;
mod join;
mod keys;
mod limits;
mod listening;
mod make_room;
mod metrics;
mod order;
mod presence;
mod proxy_header;
mod rates;
mod reload;
mod reload_transports;
mod resume;
mod resume_publishers;
mod resume_slow;
mod rights;
mod rights_lost;
mod rights_session;
mod silent_connections;
mod slow_member;
#[cfg(feature = "store")]
mod store;
#[cfg(feature = "store")]
mod store_full;
mod takeover;
mod tls;
mod tls_hostile;
mod token_refresh;
mod token_refused;
mod token_session;
