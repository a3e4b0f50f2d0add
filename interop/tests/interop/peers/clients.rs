//! What clients see of our server when it is a peer, of a root of either kind.

use super::{CHANNEL, Chain, Ours, join, messages_until};
use crate::support::{
    ChatClient, Conn, Secrets, Server, ServerKind, ServerSpec, publish, subscribe,
};

on_each_server!(
    msgconn_joins_with_a_message,
    msgconn_gets_the_history_at_its_join,
    what_is_sent_before_the_link_is_up_is_received_above,
    what_is_sent_before_the_link_is_up_is_in_the_history_above,
    frames_arrive_as_they_were_sent,
    mles_client_talks_through_a_peer,
    our_programs_talk_through_a_peer,
);

fn root_and_peer(root: ServerKind) -> [Server; 2] {
    let chain = Chain::start(&[root, Ours], Secrets::NONE);
    chain.0.try_into().ok().unwrap()
}

fn msgconn_joins_with_a_message(kind: ServerKind) {
    let [root, peer] = root_and_peer(kind);
    let above = Conn::join(root.address(), "above", CHANNEL);
    let below = Conn::join_with(peer.address(), "below", CHANNEL, "joined with this");
    assert_eq!(above.receive().unwrap(), "joined with this");
    below.send("and then this");
    assert_eq!(above.receive().unwrap(), "and then this");
    above.send("from above");
    assert_eq!(below.receive().unwrap(), "from above");
}

fn msgconn_gets_the_history_at_its_join(kind: ServerKind) {
    let [root, peer] = root_and_peer(kind);
    let above = Conn::join_with(root.address(), "above", CHANNEL, "first");
    let observer = Conn::join(root.address(), "observer", CHANNEL);
    let mut sent = vec!["first".to_owned()];
    for n in 0..30 {
        sent.push(format!("message {n}"));
        above.send(&sent[n + 1]);
    }
    assert_eq!(observer.receive_many(sent.len()), sent);
    // The first to join has the link opened and gets the root's history, the next gets the peer's.
    for uid in ["first below", "second below"] {
        let below = Conn::join(peer.address(), uid, CHANNEL);
        assert_eq!(below.receive_many(sent.len()), sent);
        above.send(&format!("live for {uid}"));
        assert_eq!(below.receive().unwrap(), format!("live for {uid}"));
        sent.push(format!("live for {uid}"));
    }
}

/// More than a reference peer would pass on.
fn send_at_once(peer: &Server) -> Vec<String> {
    let sent: Vec<_> = (0..50).map(|n| format!("message {n}")).collect();
    let below = Conn::join_with(peer.address(), "below", CHANNEL, &sent[0]);
    sent[1..].iter().for_each(|text| below.send(text));
    below.close();
    sent
}

fn what_is_sent_before_the_link_is_up_is_received_above(kind: ServerKind) {
    let [root, peer] = root_and_peer(kind);
    let mut above = join(&root, "above");
    let sent = send_at_once(&peer);
    assert_eq!(messages_until(&mut above, "message 49"), sent);
}

fn what_is_sent_before_the_link_is_up_is_in_the_history_above(kind: ServerKind) {
    let [root, peer] = root_and_peer(kind);
    let sent = send_at_once(&peer);
    // The channel is new to the root: see what a reference root does with a resync.
    peer.wait_for_links(1);
    for uid in ["first", "second"] {
        let mut late = join(&root, uid);
        assert_eq!(messages_until(&mut late, "message 49"), sent);
    }
}

fn frames_arrive_as_they_were_sent(kind: ServerKind) {
    let [root, peer] = root_and_peer(kind);
    let mut above = join(&root, "above");
    above.send("the link is up");
    let mut below = join(&peer, "below");
    assert_eq!(below.receive_message().text(), "the link is up");
    // Key and CID mean nothing after the join.
    below.set_cid(0xDEAD_BEEF);
    above.set_cid(0xBAD_CAFE);
    for n in 1..100 {
        let text = "x".repeat(n * n);
        let sent = below.send(&text);
        assert_eq!(above.receive_message().bytes, sent);
        let sent = above.send(&text);
        assert_eq!(below.receive_message().bytes, sent);
    }
}

fn mles_client_talks_through_a_peer(kind: ServerKind) {
    if !ChatClient::is_installed() {
        return;
    }
    for secrets in [Secrets::NONE, Secrets::SHARED, Secrets::ADDRESS] {
        let spec = |kind| ServerSpec::new(kind).secrets(secrets).standard_port();
        let root = spec(kind).start();
        let peer = spec(Ours).peer(root.address()).start();
        let mut anna = ChatClient::join(&root, "anna", "chat");
        let mut bert = ChatClient::join(&peer, "bert", "chat");
        for round in 0..3 {
            anna.say(&format!("hello {round}"));
            bert.expect("anna", &format!("hello {round}"));
            bert.say(&format!("hei {round}"));
            anna.expect("bert", &format!("hei {round}"));
        }
        let late = ChatClient::join(&peer, "late", "chat");
        late.expect("bert", "hei 2");
        assert_eq!(
            late.shown(),
            [
                "anna:hello 0",
                "bert:hei 0",
                "anna:hello 1",
                "bert:hei 1",
                "anna:hello 2",
                "bert:hei 2"
            ]
        );
        assert_eq!(anna.shown(), ["bert:hei 0", "bert:hei 1", "bert:hei 2"]);
        assert_eq!(
            bert.shown(),
            ["anna:hello 0", "anna:hello 1", "anna:hello 2"]
        );
    }
}

/// `mles pub` leaves before the link for its channel is up: the message goes up nevertheless.
fn our_programs_talk_through_a_peer(kind: ServerKind) {
    for secrets in [Secrets::NONE, Secrets::SHARED, Secrets::ADDRESS] {
        let chain = Chain::start(&[kind, Ours], secrets);
        let [root, peer] = &chain.0[..] else {
            unreachable!()
        };
        for (from, to, channel) in [(peer, root, "up"), (root, peer, "down")] {
            let subscriber = subscribe(to, "reader", channel, 1);
            publish(from, "writer", channel, "a message");
            let lines = subscriber.lines();
            assert!(lines[0].contains("a message"), "{lines:?}");
        }
    }
}
