//! What `mles serve` says when it is up, and when it is done.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tracing::Level;

use crate::broker::Broker;
use crate::config::{DEFAULT_PORT, LogFormat};
use crate::settings::Settings;
use crate::shard::stats::Stats;

/// Who may join, in words.
pub(super) fn access(settings: &Settings) -> &'static str {
    if settings.keyring.is_secret() {
        "a key is set"
    } else if settings.allow_anonymous {
        "no key is set: anyone who can reach it may join"
    } else {
        "no key is set: anyone on this machine may join"
    }
}

/// Where channels are linked to, in words to follow the rest; nothing without an upstream.
pub(super) fn upstreams(settings: &Settings) -> String {
    let names = settings.peer.upstreams.iter().map(ToString::to_string);
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; links to {}", names.join(", else "))
    }
}

/// Says that the broker is up: to a person in two lines that stand out, in JSON as an event. As
/// information, it is left out where the log level leaves that out.
pub(super) fn announce(broker: &Broker, access: &str, upstreams: &str, format: LogFormat) {
    let addresses = list(broker.local_addrs());
    let shards = broker.shards();
    match format {
        LogFormat::Json => tracing::info!(addresses, shards, access, upstreams, "listening"),
        LogFormat::Human if tracing::enabled!(Level::INFO) => {
            let plural = if shards == 1 { "" } else { "s" };
            let version = env!("CARGO_PKG_VERSION");
            eprintln!(
                "mles {version} listens on {addresses} with {shards} shard{plural}; \
                 {access}{upstreams}"
            );
            let server = broker
                .local_addrs()
                .first()
                .map_or_else(String::new, server);
            eprintln!(
                "Try `mles sub{server} room` in one terminal and `mles pub{server} room hello` in \
                 another; Ctrl-C ends the broker"
            );
        }
        LogFormat::Human => {}
    }
}

/// Says what the broker has done in all.
pub(super) fn farewell(stats: &Stats) {
    tracing::info!("stopped: {stats}");
}

fn list(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    addresses.join(", ")
}

/// The option that a client on this machine needs to find `address`; none for the default.
fn server(address: &SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    if address == SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)) {
        String::new()
    } else {
        format!(" --server {address}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_to_try_names_the_server_only_if_needed() {
        let option = |address: &str| server(&address.parse().unwrap());
        assert_eq!(option("127.0.0.1:8077"), "");
        assert_eq!(option("0.0.0.0:8077"), "");
        assert_eq!(option("0.0.0.0:9000"), " --server 127.0.0.1:9000");
        assert_eq!(option("[::]:8077"), " --server [::1]:8077");
    }
}
