//! Mles: a thread-per-core publish/subscribe broker, and the client for it.
//!
//! # Layers
//!
//! Dependencies point one way:
//!
//! ```text
//! main, cli → config → broker → net → gateway → shard → access, channel, peer → protocol
//!                        broker → admin → shard, websocket
//!                               gateway, access → websocket ───────────────────→ protocol
//!                       client ────────────────────────────────────────────────→ protocol
//! ```
//!
//! `protocol`, `channel`, `peer`, `access` and `websocket` are pure: no I/O, no clock, no runtime. The
//! first two are what is left of the library without features. `server` adds the broker, `client` the clients,
//! `tls` TLS for them (the broker has it), `cli` the `mles` program.

#![warn(clippy::disallowed_macros)]

#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod admin;
#[cfg(any(feature = "client", feature = "server"))]
mod backoff;
#[cfg(feature = "server")]
mod broker;
pub mod channel;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "cli")]
mod config;
#[cfg(feature = "server")]
mod escape;
#[cfg(feature = "server")]
#[cfg_attr(
    not(feature = "fleet"),
    allow(
        dead_code,
        unused_imports,
        reason = "without the feature there are handles and no node"
    )
)]
mod fleet;
#[cfg(feature = "server")]
mod gateway;
#[cfg(feature = "server")]
mod hyper_io;
#[cfg(feature = "fleet")]
#[cfg_attr(
    not(feature = "cli"),
    allow(dead_code, reason = "only `mles fleet` makes logs and looks at them")
)]
mod log;
#[cfg(feature = "server")]
mod net;
#[cfg(feature = "server")]
mod network;
#[cfg(any(feature = "fuzzing", feature = "server"))]
#[cfg_attr(
    not(feature = "fleet"),
    allow(dead_code, reason = "without the feature there is no node")
)]
mod order;
#[cfg(feature = "server")]
mod peer;
pub mod protocol;
#[cfg(feature = "server")]
mod rate;
#[cfg(feature = "server")]
mod reload;
#[cfg(feature = "server")]
mod response;
#[cfg(any(feature = "client", feature = "server"))]
mod server_name;
#[cfg(feature = "server")]
mod settings;
#[cfg(feature = "server")]
mod shard;
#[cfg(feature = "server")]
mod static_files;
#[cfg(feature = "server")]
#[cfg_attr(
    not(feature = "store"),
    allow(
        dead_code,
        unused_imports,
        reason = "without the feature there are handles and no writer"
    )
)]
mod store;
#[cfg(any(feature = "client", feature = "server"))]
mod tcp_info;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "server")]
mod websocket;

#[cfg(feature = "server")]
pub use access::{
    AccessRule, BadKey, BadPattern, BadTokenKey, NamePattern, NamedKey, Permissions, RuleHolder,
    TokenKey,
};
#[cfg(feature = "server")]
pub use broker::{Broker, BrokerError, MAX_SHARDS, ReloadError, StartError, StopHandle};
#[cfg(feature = "server")]
pub use net::ListenError;
#[cfg(feature = "server")]
pub use network::{BadNetwork, Network};
#[cfg(feature = "server")]
pub use peer::{LinkCounts, LinkState, LinkStatus};
#[cfg(feature = "server")]
pub use rate::{BadRate, Rate};
#[cfg(feature = "server")]
pub use reload::ReloadReport;
#[cfg(any(feature = "client", feature = "server"))]
pub use server_name::{BadServerName, ServerName};
#[cfg(feature = "server")]
pub use settings::{
    AdminSettings, AdminToken, BadFleetName, BadFleetServer, BanSettings, DeniedPublish,
    FleetLogin, FleetName, FleetServer, FleetSettings, Limits, ListenerKind, NameCheck, OnDamage,
    OpenSockets, PeerSettings, ProxySettings, Settings, StoreSettings, StoreSync, TlsSettings,
    TokenSettings, WebSocketSettings,
};
#[cfg(feature = "server")]
pub use shard::stats::Stats;
#[cfg(feature = "store")]
pub use store::OpenStoreError;

/// Runs the programs that the README shows.
#[cfg(all(doctest, feature = "client", feature = "server"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// What fuzz targets reach besides the public API.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::order::encode_again;
}
