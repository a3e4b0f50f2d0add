//! Connections that close without a byte, as port scans and health checks do, are nobody's refusal.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use mles::{Broker, ListenerKind, Settings};

use crate::common::tls_proxy::Authority;
use crate::common::{reset, settings, start, wait_until};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A listener of every kind.
fn all_kinds(authority: &Authority) -> Settings {
    let pair = authority.localhost();
    let mut settings = settings();
    settings.websocket.listen = vec![ANY];
    settings.websocket.tls_listen = vec![ANY];
    settings.tls.listen = vec![ANY];
    settings.tls.cert = Some(pair.cert.clone());
    settings.tls.key = Some(pair.key.clone());
    settings
}

/// Closes a connection to each listener, in order and not, and waits until the broker has seen it.
fn scan(broker: &Broker) {
    let connect = |at: SocketAddr| TcpStream::connect(at).unwrap();
    for &(_, at) in broker.listeners() {
        drop(connect(at));
        reset(connect(at));
    }
    let all = 2 * broker.listeners().len() as u64;
    wait_until("all are seen", || {
        let stats = broker.stats();
        stats.accepted + stats.accept_errors >= all && stats.connections == 0
    });
}

#[test]
fn who_closes_without_a_byte_is_refused_nowhere() {
    let authority = Authority::new();
    let broker = start(all_kinds(&authority));
    assert_eq!(broker.listeners().len(), 4);
    scan(&broker);
    assert_eq!(broker.stats().refused, 0);
}

#[test]
fn nor_where_a_proxy_should_have_said_more() {
    let authority = Authority::new();
    let mut settings = all_kinds(&authority);
    settings.proxies.trusted = vec!["127.0.0.0/8".parse().unwrap()];
    settings.proxies.protocol = vec![
        ListenerKind::Mles,
        ListenerKind::MlesTls,
        ListenerKind::WebSocket,
        ListenerKind::WebSocketTls,
    ];
    let broker = start(settings);
    scan(&broker);
    assert_eq!(broker.stats().refused, 0);
}
