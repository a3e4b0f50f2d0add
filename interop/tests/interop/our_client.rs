//! Our `mles pub` and `mles sub` with the reference's server and clients.

use crate::support::{
    Conn, Secrets, ServerKind, ServerSpec, Session, exit_code_with, large_text, publish,
    publish_lines, subscribe,
};

on_each_server!(
    pub_reaches_msgconn,
    sub_hears_msgconn,
    secrets_work_both_ways,
    a_refused_join_has_an_exit_code,
    sub_gets_history,
    large_message_each_way,
    pub_into_a_channel_with_much_history,
);

/// A few bytes below 1.6 MB.
const LARGE: usize = 1_599_999;

fn pub_reaches_msgconn(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let receiver = Conn::join(server.address(), "receiver", "cli");
    publish(&server, "anna", "cli", "an argument");
    assert_eq!(receiver.receive().unwrap(), "an argument");
    let lines: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
    publish_lines(&server, "anna", "cli", lines.iter().map(String::as_str));
    assert_eq!(receiver.receive_many(lines.len()), lines);
}

fn sub_hears_msgconn(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let subscriber = subscribe(&server, "subscriber", "cli", 50);
    let sender = Conn::join(server.address(), "sender", "cli");
    let sent: Vec<String> = (0..50).map(|n| format!("<message {n}>")).collect();
    for message in &sent {
        sender.send(message);
    }
    assert_shows(&subscriber.lines(), &sent);
}

fn secrets_work_both_ways(kind: ServerKind) {
    for secrets in [Secrets::SHARED, Secrets::ADDRESS, Secrets::BOTH] {
        let server = ServerSpec::new(kind).secrets(secrets).start();
        let mut peer = Session::join(server.address(), secrets, "peer", "cli");
        publish(&server, "anna", "cli", "from ours");
        assert_eq!(
            peer.receive_message().text(),
            "from ours",
            "with {secrets:?}"
        );
        // It gets both, whether it joins before the second is sent or after.
        let subscriber = subscribe(&server, "bert", "cli", 2);
        peer.send("from the reference");
        assert_shows(&subscriber.lines(), &["from ours", "from the reference"]);
    }
}

fn a_refused_join_has_an_exit_code(kind: ServerKind) {
    const REFUSED: i32 = 3;
    let server = ServerSpec::new(kind).secrets(Secrets::SHARED).start();
    for subcommand in ["sub", "pub"] {
        let code = exit_code_with(Secrets::ADDRESS, subcommand, &server);
        assert_eq!(code, Some(REFUSED), "mles {subcommand}");
    }
}

fn sub_gets_history(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let sender = Conn::join(server.address(), "sender", "cli");
    let observer = Conn::join(server.address(), "observer", "cli");
    let sent: Vec<String> = (0..40).map(|n| format!("<message {n}>")).collect();
    for message in &sent {
        sender.send(message);
    }
    assert_eq!(observer.receive_many(sent.len()), sent);
    sender.close();
    assert_shows(
        &subscribe(&server, "late", "cli", sent.len()).lines(),
        &sent,
    );
}

fn large_message_each_way(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let text = large_text(LARGE);
    let conn = Conn::join(server.address(), "conn", "cli");
    publish_lines(&server, "anna", "cli", [text.as_str()]);
    assert!(
        conn.receive().unwrap() == text,
        "`MsgConn` got something else"
    );
    let other = ServerSpec::new(kind).start();
    let subscriber = subscribe(&other, "bert", "cli", 1);
    // It stays: one that closes with an unread announcement may take back what it sent.
    let sender = Conn::join(other.address(), "conn", "cli");
    sender.send(&text);
    let lines = subscriber.lines();
    assert!(
        lines.iter().any(|line| line.contains(&text)),
        "`mles sub` printed something else"
    );
}

/// A publisher that closes while history it never read lies in its socket resets the connection,
/// and the server may lose what it published: `mles pub` must not.
fn pub_into_a_channel_with_much_history(kind: ServerKind) {
    let server = ServerSpec::new(kind).start();
    let filler = Conn::join(server.address(), "filler", "cli");
    let receiver = Conn::join(server.address(), "receiver", "cli");
    let text = large_text(100_000);
    for _ in 0..60 {
        filler.send(&text);
        assert!(receiver.receive().unwrap() == text);
    }
    for n in 0..10 {
        publish(&server, "anna", "cli", &format!("message {n}"));
        assert_eq!(receiver.receive().unwrap(), format!("message {n}"));
    }
}

/// Each message stands in a line of its own, in order; how a line is laid out is not asserted.
fn assert_shows(lines: &[String], messages: &[impl AsRef<str>]) {
    assert_eq!(lines.len(), messages.len(), "{lines:?}");
    for (line, message) in lines.iter().zip(messages) {
        assert!(
            line.contains(message.as_ref()),
            "{line:?} does not show {:?}",
            message.as_ref()
        );
    }
}
