//! `MsgConn` as sender and as receiver. It cannot be given a secret, so these servers have none,
//! and it is admitted by the hash of its own address.

use crate::support::{Conn, Secrets, ServerKind, ServerSpec, large_text};

on_each_server!(
    two_of_them_talk_both_ways,
    late_joiner_gets_history_then_live,
    the_join_frame_may_be_a_message,
    large_message_each_way,
    receivers_see_one_order,
    a_server_with_a_secret_refuses_it,
    it_can_come_back_to_a_restarted_server,
);

/// The payload that the first publication about Mles measured with.
const LARGE: usize = 1_600_000;

fn two_of_them_talk_both_ways(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let anna = Conn::join(server.address(), "anna", "talk");
    let bert = Conn::join(server.address(), "bert", "talk");
    for round in 0..20 {
        anna.send(&format!("from anna {round}"));
        assert_eq!(bert.receive().unwrap(), format!("from anna {round}"));
        bert.send(&format!("from bert {round}"));
        assert_eq!(anna.receive().unwrap(), format!("from bert {round}"));
    }
}

fn late_joiner_gets_history_then_live(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let sent: Vec<String> = (0..30).map(|n| format!("message {n}")).collect();
    let sender = Conn::join(server.address(), "sender", "news");
    let early = Conn::join(server.address(), "early", "news");
    for message in &sent {
        sender.send(message);
    }
    assert_eq!(early.receive_many(sent.len()), sent);

    let late = Conn::join(server.address(), "late", "news");
    assert_eq!(late.receive_many(sent.len()), sent);
    sender.send("live");
    assert_eq!(late.receive().unwrap(), "live");
    assert_eq!(early.receive().unwrap(), "live");

    // The history outlives its sender.
    sender.close();
    let later = Conn::join(server.address(), "later", "news");
    assert_eq!(later.receive_many(sent.len()), sent);
    assert_eq!(later.receive().unwrap(), "live");
}

fn the_join_frame_may_be_a_message(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let listener = Conn::join(server.address(), "listener", "first");
    let sender = Conn::join_with(server.address(), "sender", "first", "joined with this");
    assert_eq!(listener.receive().unwrap(), "joined with this");
    sender.send("and then this");
    assert_eq!(listener.receive().unwrap(), "and then this");
    let late = Conn::join(server.address(), "late", "first");
    assert_eq!(late.receive_many(2), ["joined with this", "and then this"]);
}

fn large_message_each_way(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let text = large_text(LARGE);
    let anna = Conn::join(server.address(), "anna", "large");
    let bert = Conn::join(server.address(), "bert", "large");
    anna.send(&text);
    assert!(
        bert.receive().unwrap() == text,
        "bert got something else than anna sent"
    );
    bert.send(&text);
    assert!(
        anna.receive().unwrap() == text,
        "anna got something else than bert sent"
    );
    let late = Conn::join(server.address(), "late", "large");
    assert!(
        late.receive_many(2) == [text.clone(), text],
        "the history is something else"
    );
}

fn receivers_see_one_order(kind: ServerKind) {
    const EACH: usize = 300;
    let server = ServerSpec::new(kind).history_limit(4 * EACH).start();
    let receivers = ["carl", "dora"].map(|uid| Conn::join(server.address(), uid, "order"));
    let senders = ["anna", "bert"].map(|uid| (uid, Conn::join(server.address(), uid, "order")));
    for n in 0..EACH {
        for (uid, sender) in &senders {
            sender.send(&format!("{uid} {n}"));
        }
    }
    let [carl, dora] = receivers.map(|receiver| receiver.receive_many(2 * EACH));
    assert_eq!(carl, dora);
    for (uid, _) in &senders {
        let from: Vec<_> = carl
            .iter()
            .filter(|text| text.starts_with(uid))
            .cloned()
            .collect();
        let sent: Vec<_> = (0..EACH).map(|n| format!("{uid} {n}")).collect();
        assert_eq!(from, sent);
    }
}

fn a_server_with_a_secret_refuses_it(kind: ServerKind) {
    for secrets in [Secrets::SHARED, Secrets::ADDRESS, Secrets::BOTH] {
        let server = ServerSpec::new(kind).secrets(secrets).start();
        let conn = Conn::join(server.address(), "anna", "secret");
        assert_eq!(conn.receive(), None, "let in by a server with {secrets:?}");
    }
}

fn it_can_come_back_to_a_restarted_server(kind: ServerKind) {
    let mut server = ServerSpec::new(kind).start();
    let before = Conn::join(server.address(), "anna", "restart");
    let other = Conn::join_with(server.address(), "bert", "restart", "before the restart");
    assert_eq!(before.receive().unwrap(), "before the restart");
    server.restart();
    assert_eq!(before.receive(), None);
    assert_eq!(other.receive(), None);
    let anna = Conn::join(server.address(), "anna", "restart");
    let bert = Conn::join(server.address(), "bert", "restart");
    anna.send("after the restart");
    assert_eq!(bert.receive().unwrap(), "after the restart");
}
