//! The `mles-client` 2.2.0 program, which encrypts what it sends for those who know the passphrase.

use super::{member, server_with, spec};
use crate::support::{ChatV2, ProxyV2, Secrets, Server, publish};

const PASSPHRASE: &str = "correct horse";

/// What encryption adds to a message: a nonce of 24 bytes in front, and a tag of 16 behind.
const SEAL: usize = 24 + 16;
/// What the client puts in front of a message of `anna` before it is encrypted.
const PREFIX: &str = "2000-01-01T00:00:00Z anna: ";

fn join(server: &Server, uid: &str) -> ChatV2 {
    ChatV2::start(server, uid, "chat", PASSPHRASE)
}

#[test]
fn two_of_them_talk() {
    if !ChatV2::is_installed() {
        return;
    }
    for secrets in [Secrets::NONE, Secrets::SHARED] {
        let server = server_with(secrets);
        let mut anna = join(&server, "anna");
        let mut bert = join(&server, "bert");
        for round in 0..3 {
            anna.say(&format!("hello {round}"));
            bert.expect("anna", &format!("hello {round}"));
            bert.say(&format!("hei {round}"));
            anna.expect("bert", &format!("hei {round}"));
        }
        // It draws its own messages a little later.
        bert.expect("bert", "hei 2");
        let all = [
            "anna: hello 0",
            "bert: hei 0",
            "anna: hello 1",
            "bert: hei 1",
            "anna: hello 2",
            "bert: hei 2",
        ];
        assert_eq!(anna.shown(), all);
        assert_eq!(bert.shown(), all);
    }
}

#[test]
fn a_late_one_sees_the_history() {
    if !ChatV2::is_installed() {
        return;
    }
    let server = server_with(Secrets::NONE);
    let mut observer = member(&server, "observer", "chat");
    let mut anna = join(&server, "anna");
    for text in ["one", "two"] {
        anna.say(text);
        observer.receive_message();
    }
    let late = join(&server, "late");
    late.expect("anna", "two");
    anna.say("three");
    late.expect("anna", "three");
    assert_eq!(late.shown(), ["anna: one", "anna: two", "anna: three"]);
}

#[test]
fn a_second_one_with_the_same_uid_is_let_go() {
    if !ChatV2::is_installed() {
        return;
    }
    let server = server_with(Secrets::NONE);
    let mut observer = member(&server, "observer", "chat");
    let mut anna = join(&server, "anna");
    anna.say("first");
    observer.receive_message();
    join(&server, "anna").wait_for_end();
    anna.say("still here");
    observer.receive_message();
}

#[test]
fn one_with_a_wrong_key_is_let_go() {
    if !ChatV2::is_installed() {
        return;
    }
    let server = server_with(Secrets::SHARED);
    for secrets in [
        Secrets::NONE,
        Secrets {
            shared: Some("other"),
            address: None,
        },
    ] {
        ChatV2::start_with(&server, secrets, "anna", "chat", PASSPHRASE).wait_for_end();
    }
}

/// To members that do not know the passphrase their messages are bytes like any others.
#[test]
fn a_v1_member_sees_sealed_messages() {
    if !ChatV2::is_installed() {
        return;
    }
    let server = server_with(Secrets::SHARED);
    let mut observer = member(&server, "observer", "chat");
    let mut anna = join(&server, "anna");
    let mut texts = vec!["hello".to_owned(), "h".repeat(3000)];
    for text in &texts {
        anna.say(text);
        let frame = observer.receive_message();
        assert_eq!(frame.uid, "anna");
        assert_eq!(frame.message.len(), SEAL + PREFIX.len() + text.len());
        assert!(std::str::from_utf8(&frame.message).is_err(), "it is sealed");
    }
    // What is not sealed is of no use to it, and does no harm.
    observer.send("plain text over TCP");
    publish(&server, "carl", "chat", "more of it");
    let bert = join(&server, "bert");
    texts.push("still here".to_owned());
    anna.say("still here");
    bert.expect("anna", "still here");
    anna.expect("anna", "still here");
    let shown: Vec<_> = texts.iter().map(|text| format!("anna: {text}")).collect();
    assert_eq!(bert.shown(), shown);
    assert_eq!(anna.shown(), shown);
}

#[test]
fn one_with_another_passphrase_sees_nothing() {
    if !ChatV2::is_installed() {
        return;
    }
    let server = server_with(Secrets::NONE);
    let mut observer = member(&server, "observer", "chat");
    let mut anna = join(&server, "anna");
    let mut eve = ChatV2::start(&server, "eve", "chat", "wrong horse");
    let bert = join(&server, "bert");
    anna.say("secret");
    bert.expect("anna", "secret");
    observer.receive_message();
    // Eve has been served what came before her own message.
    eve.say("what?");
    observer.receive_message();
    anna.say("nothing");
    bert.expect("anna", "nothing");
    eve.expect("eve", "what?");
    assert_eq!(eve.shown(), ["eve: what?"]);
    assert_eq!(bert.shown(), ["anna: secret", "anna: nothing"]);
}

#[test]
fn they_end_with_the_server_and_come_back() {
    if !ChatV2::is_installed() {
        return;
    }
    let mut server = server_with(Secrets::SHARED);
    let mut anna = join(&server, "anna");
    let bert = join(&server, "bert");
    anna.say("before");
    bert.expect("anna", "before");
    server.restart();
    anna.wait_for_end();
    bert.wait_for_end();
    let mut anna = join(&server, "anna");
    let bert = join(&server, "bert");
    anna.say("after");
    bert.expect("anna", "after");
    // The history was in the memory of the server that is gone.
    assert_eq!(bert.shown(), ["anna: after"]);
}

/// Its proxy mode, between two brokers.
#[test]
fn one_forwards_between_two_servers() {
    if !ChatV2::is_installed() {
        return;
    }
    let servers = [spec().start(), spec().start()];
    let mut anna = join(&servers[0], "anna");
    let mut bert = join(&servers[1], "bert");
    // What it gets as history it forwards too, so it may join before or after them.
    let _proxy = ProxyV2::start([&servers[0], &servers[1]], "proxy", "chat");
    for round in 0..3 {
        anna.say(&format!("hello {round}"));
        bert.expect("anna", &format!("hello {round}"));
        bert.say(&format!("hei {round}"));
        anna.expect("bert", &format!("hei {round}"));
    }
    assert_eq!(anna.shown().len(), 6);
}
