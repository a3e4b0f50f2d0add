//! The first and last lines of `mles serve`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tracing::Level;

use super::logging::Log;
use crate::broker::Broker;
use crate::config::{DEFAULT_PORT, LogFormat};
use crate::settings::{ListenerKind, Settings};
use crate::shard::stats::Stats;

/// Says who may join.
pub(super) fn access(settings: &Settings) -> &'static str {
    let has_key = settings.keyring.is_secret() || !settings.keys.is_empty();
    let has_tokens = !settings.tokens.keys.is_empty();
    match (has_key, has_tokens, settings.rules.is_empty()) {
        (true, false, true) => "a key is set",
        (true, false, false) => "a key is set, and rules say what it allows",
        (true, true, true) => "a key is set, and tokens are accepted",
        (true, true, false) => "a key is set, tokens are accepted, and rules say what they allow",
        (false, true, true) => "a token is needed",
        (false, true, false) => "a token is needed, and rules say what it allows",
        (false, false, _) if settings.allow_anonymous => {
            "no key is set: anyone who can reach it may join"
        }
        (false, false, _) => "no key is set: anyone on this machine may join",
    }
}

/// Says where channels are linked to, to follow the rest; nothing without an upstream.
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
pub(super) fn announce(broker: &Broker, access: &str, upstreams: &str, log: &Log) {
    let addresses = list(broker.listeners());
    let (shards, admin) = (broker.shards(), admin(broker));
    match log.format() {
        LogFormat::Json => tracing::info!(addresses, shards, access, upstreams, admin, "listening"),
        LogFormat::Human if tracing::enabled!(Level::INFO) => {
            let plural = if shards == 1 { "" } else { "s" };
            let version = env!("CARGO_PKG_VERSION");
            log.line(format_args!(
                "mles {version} listens on {addresses} with {shards} shard{plural}; \
                 {access}{upstreams}{admin}"
            ));
            log.line(to_try(broker.listeners()));
        }
        LogFormat::Human => {}
    }
}

/// Says what to try first, with the listeners that there are.
fn to_try(listeners: &[(ListenerKind, SocketAddr)]) -> String {
    let first = |wanted| {
        let found = listeners.iter().find(|(kind, _)| *kind == wanted);
        found.map(|(_, address)| *address)
    };
    let plain = first(ListenerKind::Mles).map(|address| server(&address));
    let tls = || {
        first(ListenerKind::MlesTls).map(|address| format!(" --server tls://{}", here(&address)))
    };
    let page = first(ListenerKind::WebSocket)
        .map(|address| format!("http://{}", here(&address)))
        .or_else(|| {
            Some(format!(
                "https://{}",
                here(&first(ListenerKind::WebSocketTls)?)
            ))
        });
    let commands = plain.or_else(tls).map(|server| {
        format!(
            "`mles sub{server} room` in one terminal and `mles pub{server} room hello` in another"
        )
    });
    let page = page.map(|page| format!("{page} in a browser"));
    let ways: Vec<_> = commands.into_iter().chain(page).collect();
    format!("Try {}; Ctrl-C ends the broker", ways.join(", or "))
}

/// Says where the admin listeners are; nothing without one.
fn admin(broker: &Broker) -> String {
    let names = broker
        .admin_addrs()
        .iter()
        .map(|address| format!("http://{}", here(address)));
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; admin at {}", names.join(", "))
    }
}

/// Logs the broker's counters at its end.
pub(super) fn farewell(stats: &Stats) {
    tracing::info!("stopped: {stats}");
}

fn list(listeners: &[(ListenerKind, SocketAddr)]) -> String {
    let kind = |kind| match kind {
        ListenerKind::Mles => "",
        ListenerKind::MlesTls => " (TLS)",
        ListenerKind::WebSocket => " (WebSocket)",
        ListenerKind::WebSocketTls => " (WebSocket over TLS)",
    };
    let names = listeners
        .iter()
        .map(|(k, address)| format!("{address}{}", kind(*k)));
    names.collect::<Vec<_>>().join(", ")
}

/// Returns the option that a client on this machine needs to find `address`; none for the default.
fn server(address: &SocketAddr) -> String {
    let address = here(address);
    if address == SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT)) {
        String::new()
    } else {
        format!(" --server {address}")
    }
}

/// Returns `address` as a client on this machine can reach it.
fn here(address: &SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
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

    #[test]
    fn what_to_try_is_made_of_the_listeners_that_there_are() {
        let at = |kind, address: &str| (kind, address.parse().unwrap());
        let all = [
            at(ListenerKind::Mles, "0.0.0.0:8077"),
            at(ListenerKind::MlesTls, "[::]:8443"),
            at(ListenerKind::WebSocket, "127.0.0.1:8076"),
            at(ListenerKind::WebSocketTls, "127.0.0.1:443"),
        ];
        assert_eq!(
            list(&all),
            "0.0.0.0:8077, [::]:8443 (TLS), 127.0.0.1:8076 (WebSocket), \
             127.0.0.1:443 (WebSocket over TLS)"
        );
        assert_eq!(
            to_try(&all),
            "Try `mles sub room` in one terminal and `mles pub room hello` in another, or \
             http://127.0.0.1:8076 in a browser; Ctrl-C ends the broker"
        );
        let tls = to_try(&all[1..2]);
        assert!(
            tls.contains("`mles sub --server tls://[::1]:8443 room`"),
            "{tls}"
        );
        assert!(!tls.contains("browser"), "{tls}");
        assert_eq!(
            to_try(&all[3..]),
            "Try https://127.0.0.1:443 in a browser; Ctrl-C ends the broker"
        );
    }
}
