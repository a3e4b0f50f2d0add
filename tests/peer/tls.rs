//! Links over TLS: what they carry, and whom they trust.

use std::net::SocketAddr;

use mles::client::ClientTlsOptions;
use mles::{Broker, LinkState, ListenerKind, Settings, TlsSettings};

use crate::common::tls_proxy::{Authority, Pair, long_ago};
use crate::common::{free_address, start, wait_until};
use crate::linked_servers::{
    Publisher, Recorder, all_sent, expect_history, link, peer_settings, start_at, wait_for_link,
};

/// Settings for a root that takes links over TLS at `address`.
fn root_settings(pair: &Pair, address: SocketAddr) -> Settings {
    Settings {
        tls: TlsSettings {
            listen: vec![address],
            cert: Some(pair.cert.clone()),
            key: Some(pair.key.clone()),
            client_ca: None,
        },
        ..peer_settings(&[])
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Starts a server whose upstream is the TLS listener of `root`.
fn start_below(root: &Broker, tls: ClientTlsOptions) -> Broker {
    let listeners = root.listeners();
    let tls_port = listeners
        .iter()
        .find(|(kind, _)| *kind == ListenerKind::MlesTls)
        .map(|(_, address)| address.port())
        .unwrap();
    let mut settings = peer_settings(&[]);
    settings.peer.upstreams = vec![format!("tls://localhost:{tls_port}").parse().unwrap()];
    settings.peer.tls = tls;
    start(settings)
}

#[test]
fn a_link_carries_both_directions_and_comes_back() {
    let authority = Authority::new();
    let pair = authority.localhost();
    let (plain, tls) = (free_address(), free_address());
    let root = start_at(plain, root_settings(&pair, tls));
    let peer = start_below(&root, authority.trusted());
    let mut below = Publisher::join(&peer, "below", 1);
    let listener = Recorder::join(&peer, "listener", 2);
    wait_for_link(&peer);
    let mut above = Publisher::join(&root, "above", 3);
    for _ in 0..100 {
        below.publish();
        above.publish();
    }
    let sent = all_sent([&below, &above]);
    listener.expect(&sent);
    expect_history(&root, 4, &sent);

    // The root comes back empty and is told what there was.
    drop(root);
    wait_until("the link is down", || {
        link(&peer).is_some_and(|link| link.state != LinkState::Up)
    });
    below.publish();
    let root = start_at(plain, root_settings(&pair, tls));
    wait_for_link(&peer);
    let sent = all_sent([&below, &above]);
    expect_history(&root, 5, &sent);
    expect_history(&peer, 6, &sent);
}

/// Why a link to `root` does not come up.
fn failure(root: &Broker, tls: ClientTlsOptions) -> String {
    let peer = start_below(root, tls);
    let _member = Recorder::join(&peer, "member", 1);
    wait_until("the link has failed", || {
        link(&peer).is_some_and(|link| link.last_failure.is_some())
    });
    let link = link(&peer).unwrap();
    assert_eq!(link.counts.connects, 0, "{link}");
    link.last_failure.unwrap()
}

#[test]
fn upstreams_that_are_not_trusted_get_nothing() {
    let (ours, other) = (Authority::new(), Authority::new());
    let root = start(root_settings(&ours.localhost(), any_port()));
    let said = failure(&root, other.trusted());
    assert!(
        said.contains("not from an authority that is trusted"),
        "{said}"
    );
    let named = start(root_settings(&ours.sign("a.example", |_| {}), any_port()));
    let said = failure(&named, ours.trusted());
    assert!(
        said.contains("not for this name, but for a.example"),
        "{said}"
    );
    let old = start(root_settings(&ours.sign("localhost", long_ago), any_port()));
    let said = failure(&old, ours.trusted());
    assert!(said.contains("has expired"), "{said}");
    for root in [root, named, old] {
        assert_eq!(root.stats().joined, 0);
    }
}

#[test]
fn an_upstream_that_asks_for_a_certificate_is_shown_one() {
    let authority = Authority::new();
    let mut settings = root_settings(&authority.localhost(), any_port());
    settings.tls.client_ca = Some(authority.ca());
    let root = start(settings);
    let pair = authority.localhost();
    let with = || authority.trusted().identity(&pair.cert, &pair.key);
    let peer = start_below(&root, with());
    let _member = Recorder::join(&peer, "member", 1);
    wait_for_link(&peer);
    assert_eq!(root.stats().joined, 1);

    let without = start_below(&root, authority.trusted());
    let _other = Recorder::join(&without, "other", 2);
    wait_until("the link has failed", || {
        link(&without).is_some_and(|link| link.last_failure.is_some())
    });
    // One that comes later is the next that has joined.
    let later = start_below(&root, with());
    let _third = Recorder::join(&later, "third", 3);
    wait_for_link(&later);
    assert_eq!(root.stats().joined, 2);
}
