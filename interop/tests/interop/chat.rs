//! The `mles-client` 1.1.7 program chatting through a server.

use crate::support::{
    ChatClient, Conn, Secrets, Server, ServerKind, ServerSpec, publish, subscribe,
};

on_each_server!(
    two_of_them_talk,
    one_talks_with_msgconn,
    one_talks_with_our_client,
    a_late_one_sees_the_history,
    one_with_a_wrong_key_is_let_go,
);

fn server_with(kind: ServerKind, secrets: Secrets) -> Server {
    ServerSpec::new(kind)
        .secrets(secrets)
        .standard_port()
        .start()
}

fn two_of_them_talk(kind: ServerKind) {
    if !ChatClient::is_installed() {
        return;
    }
    for secrets in [
        Secrets::NONE,
        Secrets::SHARED,
        Secrets::ADDRESS,
        Secrets::BOTH,
    ] {
        let server = server_with(kind, secrets);
        let mut anna = ChatClient::join(&server, "anna", "chat");
        let mut bert = ChatClient::join(&server, "bert", "chat");
        for round in 0..3 {
            anna.say(&format!("hello {round}"));
            bert.expect("anna", &format!("hello {round}"));
            bert.say(&format!("hei {round}"));
            anna.expect("bert", &format!("hei {round}"));
        }
        assert_eq!(anna.shown(), ["bert:hei 0", "bert:hei 1", "bert:hei 2"]);
        assert_eq!(
            bert.shown(),
            ["anna:hello 0", "anna:hello 1", "anna:hello 2"]
        );
    }
}

fn one_talks_with_msgconn(kind: ServerKind) {
    if !ChatClient::is_installed() {
        return;
    }
    let server = server_with(kind, Secrets::NONE);
    let mut anna = ChatClient::join(&server, "anna", "chat");
    let bert = Conn::join(server.address(), "bert", "chat");
    anna.say("hello");
    assert_eq!(bert.receive().unwrap(), "hello\n");
    bert.send("hei\n");
    anna.expect("bert", "hei");
}

fn one_talks_with_our_client(kind: ServerKind) {
    if !ChatClient::is_installed() {
        return;
    }
    for secrets in [Secrets::NONE, Secrets::SHARED, Secrets::ADDRESS] {
        let server = server_with(kind, secrets);
        let mut anna = ChatClient::join(&server, "anna", "chat");
        let subscriber = subscribe(&server, "bert", "chat", 1);
        anna.say("hello");
        let lines = subscriber.lines();
        assert!(lines.iter().any(|line| line.contains("hello")), "{lines:?}");
        // It shows a message once its line is complete; `mles pub` sends none of its own.
        publish(&server, "bert", "chat", "hei\n");
        anna.expect("bert", "hei");
    }
}

fn a_late_one_sees_the_history(kind: ServerKind) {
    if !ChatClient::is_installed() {
        return;
    }
    let server = server_with(kind, Secrets::NONE);
    let anna = Conn::join_with(server.address(), "anna", "chat", "one\n");
    let observer = Conn::join(server.address(), "observer", "chat");
    anna.send("two\n");
    assert_eq!(observer.receive_many(2), ["one\n", "two\n"]);
    let late = ChatClient::join(&server, "late", "chat");
    late.expect("anna", "two");
    anna.send("three\n");
    late.expect("anna", "three");
    assert_eq!(late.shown(), ["anna:one", "anna:two", "anna:three"]);
}

fn one_with_a_wrong_key_is_let_go(kind: ServerKind) {
    if !ChatClient::is_installed() {
        return;
    }
    let server = server_with(kind, Secrets::SHARED);
    ChatClient::join_and_end(&server, Secrets::NONE, "stranger", "chat");
}
