//! Links that do not keep up: whatever the channel's policy is and whatever the link is spoken over, it is
//! closed and opened again, as only a resync closes a gap.

use std::net::SocketAddr;
use std::time::Duration;

use mles::channel::SlowPolicy;
use mles::{Broker, ListenerKind, Settings, TlsSettings};

use crate::common::tls_proxy::Authority;
use crate::common::{Client, Server as _, start, wait_until};
use crate::downstream::open;
use crate::linked_servers::proxy::{Mode, Proxy};
use crate::linked_servers::{CHANNEL, Recorder, count, peer_settings, wait_for_link};

const POLICIES: [SlowPolicy; 3] = [
    SlowPolicy::Disconnect,
    SlowPolicy::DropOldest,
    SlowPolicy::Backpressure,
];
/// More than any socket buffers hold.
const MESSAGES: usize = 1500;
const SIZE: usize = 12_000;

fn text(n: usize) -> String {
    format!("{n} {}", "x".repeat(SIZE))
}

/// Settings under which only the length of a queue makes a member slow.
fn settings(policy: SlowPolicy, shards: usize) -> Settings {
    let mut settings = peer_settings(&[]);
    settings.shards = Some(shards);
    let channel = &mut settings.channels.default;
    channel.slow_policy = policy;
    channel.queue_bytes = 256 << 10;
    channel.write_deadline = Duration::from_secs(3600);
    settings.limits.tcp_timeout = Duration::from_secs(3600);
    settings
}

/// Publishes on the root and returns when all has its place there.
fn publish(root: &Broker) -> Vec<String> {
    let mut publisher = Client::join_and_wait(root, "publisher", CHANNEL);
    let before = root.stats().frames_in;
    let sent: Vec<_> = (0..MESSAGES).map(text).collect();
    for text in &sent {
        publisher.send(text.as_bytes());
    }
    wait_until("nothing holds the publisher", || {
        root.stats().frames_in == before + MESSAGES as u64
    });
    sent
}

/// The link stalls, breaks, and comes back: what was published meanwhile comes once and in order.
fn a_stalled_link_catches_up(root: &Broker, upstream: &str, proxy: &Proxy, peer: Settings) {
    let mut peer = peer;
    peer.peer.upstreams = vec![upstream.parse().unwrap()];
    let peer = start(peer);
    let recorder = Recorder::join(&peer, "below", 1);
    wait_for_link(&peer);
    proxy.set(Mode::Stall);
    let sent = publish(root);
    assert_eq!(root.stats().slow_disconnects, 1, "the link alone");
    proxy.set(Mode::Pass);
    recorder.expect(&count(&sent));
    assert_eq!(recorder.got(), sent);
}

#[test]
fn a_stalled_link_catches_up_under_every_policy() {
    for policy in POLICIES {
        // Where the link stays on the shard that accepts it, and where it may move.
        for shards in [1, 3] {
            let root = start(settings(policy, shards));
            let proxy = Proxy::to(root.address());
            let upstream = proxy.address.to_string();
            a_stalled_link_catches_up(&root, &upstream, &proxy, peer_settings(&[]));
        }
    }
}

#[test]
fn a_stalled_link_over_tls_catches_up_under_every_policy() {
    let authority = Authority::new();
    let pair = authority.localhost();
    for policy in POLICIES {
        let root = start(Settings {
            tls: TlsSettings {
                listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
                cert: Some(pair.cert.clone()),
                key: Some(pair.key.clone()),
                client_ca: None,
            },
            ..settings(policy, 2)
        });
        let mut listeners = root.listeners().iter();
        let tls = listeners.find(|(kind, _)| *kind == ListenerKind::MlesTls);
        let proxy = Proxy::to(tls.unwrap().1);
        let upstream = format!("tls://localhost:{}", proxy.address.port());
        let mut peer = peer_settings(&[]);
        peer.peer.tls = authority.trusted();
        a_stalled_link_catches_up(&root, &upstream, &proxy, peer);
    }
}

/// A v1 server cannot say that it is one. But only servers send a resync.
#[test]
fn a_link_of_a_v1_server_that_brought_a_history_is_no_different() {
    for policy in POLICIES {
        let root = start(settings(policy, 2));
        let mut below = open(&root, "below").has(&[("old", None)]).join();
        wait_until("it is merged", || root.stats().resync_frames == 1);
        publish(&root);
        assert_eq!(root.stats().slow_disconnects, 1);
        let mut n = 0;
        while let Ok(Some(received)) = below.try_receive(Duration::from_secs(5)) {
            if !received.message.is_empty() {
                assert_eq!(
                    received.message,
                    text(n).as_bytes(),
                    "no gap before the end"
                );
                n += 1;
            }
        }
        assert!(n < MESSAGES);
    }
}

/// What a plain member gets is the channel's policy, as before.
#[test]
fn a_server_that_sends_a_plain_join_is_a_member_like_any_other() {
    let root = start(settings(SlowPolicy::DropOldest, 2));
    let _slow = Client::join_and_wait(&root, "slow", CHANNEL);
    publish(&root);
    wait_until("frames are dropped", || root.stats().dropped_frames > 0);
    assert_eq!(root.stats().slow_disconnects, 0);
}
