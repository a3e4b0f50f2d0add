//! The reference server as a peer: to the root server it is one more client for each channel.

use crate::support::{Secrets, Server, ServerKind, ServerSpec, Session};

on_each_server!(
    a_reference_peer_links_both_ways,
    a_reference_peer_hands_out_the_history_of_its_root,
    a_secret_admits_a_reference_peer,
);

fn join(server: &Server, uid: &str) -> Session {
    Session::join(server.address(), server.secrets(), uid, "peers")
}

/// Sends from below once something has come from above: what a reference peer is sent before its
/// link is up, it may not pass on.
fn talk_across(root: &Server, peer: &Server) {
    let mut above = join(root, "above");
    let mut below = join(peer, "below");
    above.send("from above");
    assert_eq!(below.receive_message().text(), "from above");
    below.send("from below");
    assert_eq!(above.receive_message().text(), "from below");
    above.send("and again");
    assert_eq!(below.receive_message().text(), "and again");
}

fn a_reference_peer_links_both_ways(kind: ServerKind) {
    let root = ServerSpec::new(kind).start();
    let peer = ServerSpec::new(ServerKind::Reference)
        .peer(root.address())
        .start();
    talk_across(&root, &peer);
}

fn a_reference_peer_hands_out_the_history_of_its_root(kind: ServerKind) {
    let root = ServerSpec::new(kind).start();
    let mut above = join(&root, "above");
    let mut observer = join(&root, "observer");
    for n in 0..20 {
        above.send(&format!("message {n}"));
    }
    observer.texts_until("message 19");
    let peer = ServerSpec::new(ServerKind::Reference)
        .peer(root.address())
        .start();
    for uid in ["first below", "second below"] {
        let mut below = join(&peer, uid);
        for n in 0..20 {
            assert_eq!(below.receive_message().text(), format!("message {n}"));
        }
    }
}

fn a_secret_admits_a_reference_peer(kind: ServerKind) {
    for secrets in [Secrets::SHARED, Secrets::ADDRESS, Secrets::BOTH] {
        let root = ServerSpec::new(kind).secrets(secrets).start();
        let peer = ServerSpec::new(ServerKind::Reference)
            .secrets(secrets)
            .peer(root.address())
            .start();
        talk_across(&root, &peer);
    }
}
