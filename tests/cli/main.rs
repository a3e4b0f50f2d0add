//! The client library, and the program as its users run it.
#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test program: it says where it cannot go on"
)]

mod cli_admin;
mod cli_arguments;
mod cli_client;
mod cli_config;
mod cli_dev_cert;
mod cli_end;
mod cli_fleet;
mod cli_history_on_disk;
mod cli_input;
mod cli_keys;
mod cli_leaving;
mod cli_output;
mod cli_packages;
mod cli_peer;
mod cli_positions;
mod cli_proxies;
mod cli_pub;
mod cli_rights;
mod cli_serve;
mod cli_service;
mod cli_store;
mod cli_sub;
mod cli_tls;
mod client_blocking;
mod client_positions;
mod client_reconnect;
mod client_resume;
mod client_session;
mod client_tls;
mod client_token;
#[path = "../common/mod.rs"]
mod common;
mod cutting_proxy;
mod docs;
mod fake_server;
mod independent_client;
mod program;
