//! Checks of the listeners, and of the settings that only they need.

use std::net::SocketAddr;

use super::error::Fault;
use super::model::{Config, LISTENERS};
use super::report::Report;
use crate::net::overlap;
use crate::settings::{Settings, WebSocketSettings};

/// Checks the listeners of a configuration.
pub(super) fn check_listeners(config: &Config, has_key: bool, report: &mut Report<'_>) {
    let settings = &config.settings;
    check_addresses(settings, report);
    check_admin(config, report);
    let is_open = !has_key && config.secrets.addr_key.is_none() && !settings.allow_anonymous;
    if is_open {
        let mut beyond = all(settings).filter(|(_, address)| is_beyond_loopback(*address));
        if let Some((name, address)) = beyond.next() {
            report.add(&[name], Fault::ListenWithoutKey(address));
        }
    }
    check_tls(settings, report);
    let proxies = &settings.proxies;
    if proxies.trusted.is_empty() && !proxies.protocol.is_empty() {
        report.add(&["proxy_protocol"], Fault::ProxyProtocolFromNobody);
    }
    // Without a key that has been reported already.
    let may_trust = settings.allow_anonymous || is_open;
    check_websocket(settings, may_trust, report);
}

/// Returns every listener for clients with the option that it comes from.
fn all(settings: &Settings) -> impl Iterator<Item = (&'static str, SocketAddr)> {
    let lists = [
        ("listen", &settings.listen),
        ("tls", &settings.tls.listen),
        ("tls_ws", &settings.websocket.tls_listen),
        ("ws", &settings.websocket.listen),
    ];
    lists
        .into_iter()
        .flat_map(|(name, list)| list.iter().map(move |&address| (name, address)))
}

fn is_beyond_loopback(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// Checks that not just anybody can reach the admin listener.
fn check_admin(config: &Config, report: &mut Report<'_>) {
    let mut addresses = config.settings.admin.listen.iter();
    let beyond = addresses.find(|address| is_beyond_loopback(**address));
    if let (Some(&address), None) = (beyond, &config.secrets.admin_token_file) {
        report.add(&["admin"], Fault::AdminWithoutToken(address));
    }
}

fn check_addresses(settings: &Settings, report: &mut Report<'_>) {
    let mut listeners: Vec<_> = all(settings).collect();
    if listeners.is_empty() {
        report.add(&LISTENERS, Fault::NoListener);
    }
    let admin = settings.admin.listen.iter();
    listeners.extend(admin.map(|&address| ("admin", address)));
    let addresses: Vec<_> = listeners.iter().map(|(_, address)| *address).collect();
    for (i, &(name, address)) in listeners.iter().enumerate() {
        let earlier = listeners[..i].iter();
        let overlaps = earlier
            .filter_map(|(other, first)| Some((*other, overlap(*first, address, &addresses)?)));
        let Some((other, (part, whole))) = overlaps.into_iter().next() else {
            continue;
        };
        let has_default = other == "listen" && !report.origins.is_set("listen");
        let fault = if part == whole {
            Fault::ListenTwice {
                address,
                has_default,
            }
        } else {
            Fault::ListenOverlap {
                part,
                whole,
                has_default,
            }
        };
        report.add(&[other, name], fault);
    }
}

fn check_tls(settings: &Settings, report: &mut Report<'_>) {
    let tls = &settings.tls;
    report.check_pair("tls", [("cert", &tls.cert), ("key", &tls.key)]);
    let needs_one = !tls.listen.is_empty() || !settings.websocket.tls_listen.is_empty();
    if needs_one && tls.cert.is_none() && tls.key.is_none() {
        report.add(&["tls", "tls_ws"], Fault::TlsWithoutCert);
    }
}

/// Checks the settings of WebSocket. With `may_trust`, joins without a key may come from anywhere.
fn check_websocket(settings: &Settings, may_trust: bool, report: &mut Report<'_>) {
    let WebSocketSettings {
        trust,
        max_message,
        ping_interval,
        ping_timeout,
        ..
    } = settings.websocket;
    if trust && !may_trust {
        let mut beyond = all(settings)
            .filter(|(name, address)| name.ends_with("ws") && is_beyond_loopback(*address));
        if let Some((name, address)) = beyond.next() {
            report.add(&["ws_trust", name], Fault::TrustBeyondLoopback(address));
        }
    }
    let frame = settings.limits.max_frame;
    if max_message > frame && report.origins.is_set("ws_max_message") {
        report.add(
            &["ws_max_message", "max_frame"],
            Fault::MessageOverFrame {
                message: max_message,
                frame,
            },
        );
    }
    if ping_timeout < ping_interval {
        report.add(
            &["ws_ping_interval", "ws_ping_timeout"],
            Fault::TimeoutBelowPing {
                timeout: ping_timeout,
                interval: ping_interval,
            },
        );
    }
}
