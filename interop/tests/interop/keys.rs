//! Who is let in, with every combination of secrets, keys being computed by the reference's hash.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::support::{Secrets, ServerKind, ServerSpec, Session, has_ipv6};

on_each_server!(
    the_right_key_is_let_in,
    a_wrong_key_is_refused,
    the_shared_key_comes_before_the_address_key,
    an_ipv6_address_is_hashed_the_same_way,
);

fn the_right_key_is_let_in(kind: ServerKind) {
    for secrets in [
        Secrets::NONE,
        Secrets::SHARED,
        Secrets::ADDRESS,
        Secrets::BOTH,
    ] {
        let server = ServerSpec::new(kind).secrets(secrets).start();
        let mut anna = Session::join(server.address(), secrets, "anna", "keys");
        let mut bert = Session::join(server.address(), secrets, "bert", "keys");
        anna.send("from anna");
        assert_eq!(
            bert.receive_message().text(),
            "from anna",
            "with {secrets:?}"
        );
        bert.send("from bert");
        assert_eq!(
            anna.receive_message().text(),
            "from bert",
            "with {secrets:?}"
        );
        let mut late = Session::join(server.address(), secrets, "late", "keys");
        assert_eq!(
            late.receive_message().text(),
            "from anna",
            "with {secrets:?}"
        );
        assert_eq!(
            late.receive_message().text(),
            "from bert",
            "with {secrets:?}"
        );
    }
}

fn a_wrong_key_is_refused(kind: ServerKind) {
    let other_shared = Secrets {
        shared: Some("another secret"),
        address: None,
    };
    let other_address = Secrets {
        shared: None,
        address: Some("another secret"),
    };
    let cases = [
        (Secrets::SHARED, Secrets::NONE),
        (Secrets::SHARED, other_shared),
        (Secrets::ADDRESS, Secrets::NONE),
        (Secrets::ADDRESS, other_address),
        (Secrets::BOTH, Secrets::ADDRESS),
    ];
    for (of_server, of_client) in cases {
        let server = ServerSpec::new(kind).secrets(of_server).start();
        let mut member = Session::join(server.address(), of_server, "member", "keys");
        let mut stranger = Session::join(server.address(), of_client, "stranger", "keys");
        let context = format!("server {of_server:?}, client {of_client:?}");
        assert!(stranger.receive().is_none(), "let in: {context}");
        // The member is undisturbed and was told nothing of the stranger.
        let mut friend = Session::join(server.address(), of_server, "friend", "keys");
        friend.send("hello");
        let frames = member.frames_until("hello");
        assert!(
            frames.iter().all(|frame| frame.uid == "friend"),
            "{frames:?}, {context}"
        );
    }
}

fn the_shared_key_comes_before_the_address_key(kind: ServerKind) {
    let server = ServerSpec::new(kind).secrets(Secrets::BOTH).start();
    let mut anna = Session::join(server.address(), Secrets::SHARED, "anna", "keys");
    let mut bert = Session::join(server.address(), Secrets::BOTH, "bert", "keys");
    anna.send("the address key plays no part");
    assert_eq!(
        bert.receive_message().text(),
        "the address key plays no part"
    );
}

fn an_ipv6_address_is_hashed_the_same_way(kind: ServerKind) {
    if !has_ipv6() {
        return;
    }
    for secrets in [Secrets::NONE, Secrets::ADDRESS] {
        let spec = ServerSpec::new(kind).ip(IpAddr::V6(Ipv6Addr::LOCALHOST));
        let server = spec.secrets(secrets).start();
        let mut anna = Session::join(server.address(), secrets, "anna", "keys");
        let mut bert = Session::join(server.address(), secrets, "bert", "keys");
        anna.send("over IPv6");
        assert_eq!(bert.receive_message().text(), "over IPv6");
    }
}

/// The reference refuses these: without a secret it still wants the key of the address, which anybody can make.
#[test]
fn without_a_secret_any_key_is_let_in() {
    for secrets in [Secrets::SHARED, Secrets::ADDRESS, Secrets::BOTH] {
        let server = ServerSpec::new(ServerKind::Ours).start();
        let mut anna = Session::join(server.address(), secrets, "anna", "keys");
        let mut bert = Session::join(server.address(), Secrets::NONE, "bert", "keys");
        anna.send("with a key");
        assert_eq!(
            bert.receive_message().text(),
            "with a key",
            "with {secrets:?}"
        );
    }
}

/// The reference fails here: it hashes the mapped address, while its own client hashes the IPv4
/// address it sees.
#[test]
fn an_ipv4_client_of_an_ipv6_socket_is_hashed_as_ipv4() {
    if !has_ipv6() {
        return;
    }
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    let spec = ServerSpec::new(ServerKind::Ours).ip(IpAddr::V6(mapped));
    let server = spec.secrets(Secrets::ADDRESS).start();
    let address = (Ipv4Addr::LOCALHOST, server.address().port()).into();
    let mut anna = Session::join(address, Secrets::ADDRESS, "anna", "keys");
    let mut bert = Session::join(address, Secrets::ADDRESS, "bert", "keys");
    anna.send("over IPv4");
    assert_eq!(bert.receive_message().text(), "over IPv4");
}
