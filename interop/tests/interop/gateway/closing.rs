//! How connections are closed, as Python's `websockets` and Node's `ws` are told.

use super::{member, server_with, spec, with_each_library};
use crate::support::{Event, Library, Secrets, Server, Visit, WsClient, hello};

with_each_library!(
    a_close_is_answered_with_its_code,
    a_second_session_with_the_same_uid_is_closed,
    a_wrong_key_is_told,
    what_is_not_mles_is_told,
    what_is_too_large_is_told,
    a_stop_is_told,
    a_restarted_server_takes_them_back,
);

const CHANNEL: &str = "room";

fn open(library: Library, server: &Server) -> WsClient {
    WsClient::open(library, &server.ws_url(), Visit::default())
}

fn a_close_is_answered_with_its_code(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut observer = member(&server, "observer", CHANNEL);
    for code in [1000, 3000, 4999] {
        let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
        anna.text("goodbye");
        anna.close(code, "done");
        assert_eq!(observer.receive_message().text(), "goodbye");
        // History, from those before.
        let mut event = anna.next();
        while matches!(event, Event::Text(_)) {
            event = anna.next();
        }
        assert_eq!(event, Event::Closed(code, String::new()));
    }
}

fn a_second_session_with_the_same_uid_is_closed(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut again = open(library, &server);
    again.text(&hello(None, "anna", CHANNEL));
    again.expect_closed(4409);
    // Neither the uid elsewhere nor another here is in its way.
    let _elsewhere = WsClient::join_v2(library, &server, "anna", "other");
    let mut bert = WsClient::join_v2(library, &server, "bert", CHANNEL);
    bert.text("hello");
    anna.expect_text("hello");
    // The seat is free as soon as the first has left.
    anna.close(1000, "");
    anna.expect_closed(1000);
    let mut again = WsClient::join_v2(library, &server, "anna", CHANNEL);
    again.expect_text("hello");
}

fn a_wrong_key_is_told(library: Library) {
    let server = server_with(Secrets::SHARED);
    for shared in [None, Some("other secret")] {
        let mut v2 = open(library, &server);
        v2.text(&hello(shared, "anna", CHANNEL));
        v2.expect_closed(4401);
    }
    let mut v1 = open(library, &server);
    v1.body("anna", CHANNEL, b"hello");
    v1.expect_closed(4401);
    // The hash is of other names.
    let shared = server.secrets().shared;
    let mut other = open(library, &server);
    other.text(&hello(shared, "anna", CHANNEL).replace("anna", "eve"));
    other.expect_closed(4401);
    let visit = Visit {
        authorization: Some("Bearer nonsense"),
        ..Visit::default()
    };
    let mut refused = WsClient::start(library, &server.ws_url(), visit);
    assert_eq!(refused.next(), Event::Refused(401));
    // Nothing of all that has got in.
    let mut late = WsClient::join_v2(library, &server, "late", CHANNEL);
    let mut tcp = member(&server, "dora", CHANNEL);
    tcp.send("first");
    late.expect_text("first");
}

fn what_is_not_mles_is_told(library: Library) {
    let server = server_with(Secrets::NONE);
    let greetings = [
        "hello",
        "[]",
        "{}",
        r#"{"uid": "anna"}"#,
        r#"{"uid": "", "channel": "c"}"#,
    ];
    for greeting in greetings {
        let mut client = open(library, &server);
        client.text(greeting);
        client.expect_closed(1008);
    }
    let mut client = open(library, &server);
    client.binary(b"no CBOR");
    client.expect_closed(1007);
    let mut client = WsClient::join_v1(library, &server, "anna", CHANNEL);
    client.text("text among bodies");
    client.expect_closed(1003);
    let mut client = WsClient::join_v1(library, &server, "anna", CHANNEL);
    client.binary(&[0xA0]);
    client.expect_closed(1007);
}

fn what_is_too_large_is_told(library: Library) {
    let server = spec().options(&["--ws-max-message", "1000"]).start();
    let mut observer = member(&server, "observer", CHANNEL);
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    anna.text(&"a".repeat(1000));
    anna.text(&"a".repeat(1001));
    anna.expect_closed(1009);
    assert_eq!(observer.receive_message().text(), "a".repeat(1000));
    let mut bert = WsClient::join_v2(library, &server, "bert", CHANNEL);
    bert.expect_text(&"a".repeat(1000));
    bert.fragments("binary", &[&[0; 600], &[0; 600]]);
    bert.expect_closed(1009);
}

fn a_stop_is_told(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut v2 = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut v1 = WsClient::join_v1(library, &server, "bert", CHANNEL);
    v2.text("the last");
    v1.expect_body("anna", "the last");
    server.stop();
    v2.expect_closed(1001);
    v1.expect_closed(1001);
}

fn a_restarted_server_takes_them_back(library: Library) {
    let mut server = server_with(Secrets::SHARED);
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    anna.text("before");
    anna.sync();
    server.restart();
    // Nobody was there to say goodbye.
    anna.expect_closed(1006);
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut bert = WsClient::join_v1(library, &server, "bert", CHANNEL);
    anna.text("after");
    bert.expect_body("anna", "after");
}
