//! Members that use Python's `websockets` or Node's `ws`, over both versions of Mles, with each
//! other and with members over TCP.

use super::{member, server_with, spec, texts_until, with_each_library};
use crate::support::{Event, Library, PROTOCOL, Secrets, Visit, WsClient, body, key, large_text};

with_each_library!(
    text_and_binary_stay_what_they_are,
    v1_bodies_are_those_of_the_reference,
    one_v1_connection_is_many_members,
    a_late_member_gets_the_history_first,
    all_see_one_order,
    a_key_is_proved_in_the_greeting_the_query_or_a_header,
    large_messages_come_whole,
    fragments_become_one_message,
    pings_are_answered_both_ways,
    compression_is_offered_and_declined,
    the_subprotocol_is_found_in_any_list,
);

const CHANNEL: &str = "room";

fn text_and_binary_stay_what_they_are(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut bert = WsClient::join_v2(library, &server, "bert", CHANNEL);
    let mut carl = WsClient::join_v1(library, &server, "carl", CHANNEL);
    let mut dora = member(&server, "dora", CHANNEL);
    let text = "grüße, 世界 ✓";
    anna.text(text);
    // Both as it is no UTF-8 and as it is.
    anna.binary(&[0, 0xFF, 0x80]);
    anna.binary(b"bytes that are text");
    anna.text("");
    anna.binary(&[]);
    anna.text("end");
    bert.expect_text(text);
    assert_eq!(bert.next(), Event::Binary(vec![0, 0xFF, 0x80]));
    assert_eq!(bert.next(), Event::Binary(b"bytes that are text".to_vec()));
    bert.expect_text("");
    assert_eq!(bert.next(), Event::Binary(Vec::new()));
    bert.expect_text("end");
    let bytes: [&[u8]; 4] = [
        text.as_bytes(),
        &[0, 0xFF, 0x80],
        b"bytes that are text",
        b"end",
    ];
    for message in bytes {
        assert_eq!(carl.next_body(), ("anna".to_owned(), message.to_vec()));
        let frame = dora.receive_message();
        assert_eq!((&*frame.uid, &*frame.message), ("anna", message));
    }
    // And back: what is UTF-8 comes as text.
    carl.body("carl", CHANNEL, b"from v1");
    bert.expect_text("from v1");
    dora.send("from TCP");
    bert.expect_text("from TCP");
    // The first that Anna gets is from others.
    anna.expect_text("from v1");
}

fn v1_bodies_are_those_of_the_reference(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut anna = WsClient::join_v1(library, &server, "anna", CHANNEL);
    let mut dora = member(&server, "dora", CHANNEL);
    let mut bert = WsClient::join_v1(library, &server, "bert", CHANNEL);
    let sent = body("anna", CHANNEL, b"hello");
    anna.binary(&sent);
    let frame = dora.receive_message();
    assert_eq!(frame.bytes[16..], sent, "the body as it came");
    while let Event::Binary(received) = bert.next() {
        if received == sent {
            break;
        }
        // A hint of presence.
        assert!(received.ends_with(&[0x40]), "{received:x?}");
    }
    let frame = dora.send("hei");
    bert.expect_body("dora", "hei");
    anna.expect_body("dora", "hei");
    assert!(frame.ends_with(&body("dora", CHANNEL, b"hei")));
}

fn one_v1_connection_is_many_members(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut north = member(&server, "dora", "north");
    let mut south = member(&server, "emil", "south");
    let mut many = WsClient::join_v1(library, &server, "anna", "north");
    // The first message of a pair joins it.
    many.body("anna", "south", b"to the south");
    many.body("bert", "north", b"to the north");
    many.sync();
    assert_eq!(south.receive_message().text(), "to the south");
    let frame = north.receive_message();
    assert_eq!((&*frame.uid, frame.text()), ("bert", "to the north"));
    // Anna, in the north, gets what Bert has said over the same connection.
    many.expect_body("bert", "to the north");
    south.send("from the south");
    many.expect_body("emil", "from the south");
    // Two members in the north: it comes twice.
    north.send("from the north");
    many.expect_body("dora", "from the north");
    many.expect_body("dora", "from the north");
}

fn a_late_member_gets_the_history_first(library: Library) {
    let server = spec().history_limit(3).start();
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    for text in ["one", "two", "three"] {
        anna.text(text);
    }
    anna.binary(b"four");
    anna.sync();
    let mut v2 = WsClient::join_v2(library, &server, "bert", CHANNEL);
    let mut v1 = WsClient::join_v1(library, &server, "carl", CHANNEL);
    anna.text("live");
    v2.expect_text("two");
    v2.expect_text("three");
    assert_eq!(v2.next(), Event::Binary(b"four".to_vec()));
    v2.expect_text("live");
    for message in ["two", "three", "four", "live"] {
        v1.expect_body("anna", message);
    }
}

fn all_see_one_order(library: Library) {
    const EACH: usize = 200;
    let server = server_with(Secrets::NONE);
    let mut readers: Vec<_> = (0..2)
        .map(|n| WsClient::join_v2(library, &server, &format!("reader {n}"), CHANNEL))
        .collect();
    let mut tcp = member(&server, "reader over TCP", CHANNEL);
    let mut writer = WsClient::join_v2(library, &server, "writer", CHANNEL);
    let mut other = WsClient::join_v1(library, &server, "other", CHANNEL);
    for n in 0..EACH {
        writer.text(&format!("writer {n}"));
        other.body("other", CHANNEL, format!("other {n}").as_bytes());
    }
    writer.sync();
    other.sync();
    let mut last = WsClient::join_v2(library, &server, "last", CHANNEL);
    last.text("end");
    let order = texts_until(&mut readers[0], "end");
    assert_eq!(order.len(), 2 * EACH + 1);
    assert_eq!(texts_until(&mut readers[1], "end"), order);
    let mut over_tcp = tcp.texts_until("end");
    over_tcp.retain(|text| !text.is_empty());
    assert_eq!(over_tcp, order);
    for name in ["writer ", "other "] {
        let of_one = order.iter().filter_map(|text| text.strip_prefix(name));
        assert!(of_one.eq((0..EACH).map(|n| n.to_string())), "{name}");
    }
}

fn a_key_is_proved_in_the_greeting_the_query_or_a_header(library: Library) {
    let server = server_with(Secrets::SHARED);
    let shared = server.secrets().shared.unwrap();
    let mut tcp = member(&server, "dora", CHANNEL);
    // The greeting and, for v1, the query.
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut bert = WsClient::join_v1(library, &server, "bert", CHANNEL);
    // The query for v2, which then says nothing in its greeting.
    let url = format!(
        "{}/?auth=1,{:x}",
        server.ws_url(),
        key(shared, "carl", CHANNEL)
    );
    let mut carl = WsClient::open(library, &url, Visit::default());
    carl.greet(None, "carl", CHANNEL);
    // The secret itself, for any names.
    let bearer = format!("Bearer {shared}");
    let visit = Visit {
        authorization: Some(&bearer),
        ..Visit::default()
    };
    let mut emil = WsClient::open(library, &server.ws_url(), visit);
    emil.body("emil", CHANNEL, b"");
    emil.sync();
    tcp.send("all are in");
    anna.expect_text("all are in");
    bert.expect_body("dora", "all are in");
    carl.expect_text("all are in");
    emil.expect_body("dora", "all are in");
}

fn large_messages_come_whole(library: Library) {
    const MEGABYTE: usize = 1024 * 1024;
    let server = server_with(Secrets::NONE);
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut bert = WsClient::join_v2(library, &server, "bert", CHANNEL);
    let mut carl = WsClient::join_v1(library, &server, "carl", CHANNEL);
    let text = large_text(MEGABYTE);
    let bytes: Vec<u8> = text.bytes().map(|byte| byte ^ 0xA5).collect();
    anna.text(&text);
    anna.binary(&bytes);
    // Not `assert_eq`: nobody wants to read that.
    assert!(bert.next() == Event::Text(text.clone()));
    assert!(bert.next() == Event::Binary(bytes.clone()));
    assert!(carl.next_body().1 == text.as_bytes());
    assert!(carl.next_body().1 == bytes);
    carl.body("carl", CHANNEL, &bytes);
    assert!(bert.next() == Event::Binary(bytes));
}

fn fragments_become_one_message(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut bert = WsClient::join_v2(library, &server, "bert", CHANNEL);
    // Cut inside of a character.
    anna.fragments("text", &[b"gr\xC3", b"\xBC\xC3", b"\x9Fe"]);
    anna.fragments("binary", &[b"\xFF\x00", b"", b"\x01"]);
    bert.expect_text("grüße");
    assert_eq!(bert.next(), Event::Binary(vec![0xFF, 0, 1]));
    let mut carl = WsClient::open(library, &server.ws_url(), Visit::default());
    let whole = body("carl", CHANNEL, b"in two");
    carl.fragments("binary", &[&whole[..7], &whole[7..]]);
    bert.expect_text("in two");
}

fn pings_are_answered_both_ways(library: Library) {
    // Who does not answer is gone long before the pings that are waited for have come.
    let server = spec()
        .options(&["--ws-ping-interval", "500ms", "--ws-ping-timeout", "2s"])
        .start();
    let mut anna = WsClient::join_v2(library, &server, "anna", CHANNEL);
    let mut bert = WsClient::join_v1(library, &server, "bert", CHANNEL);
    anna.wait_for_pings(7);
    bert.wait_for_pings(7);
    // Pings of the client were answered when it joined, and are still.
    anna.sync();
    bert.sync();
    anna.text("alive");
    bert.expect_body("anna", "alive");
}

fn compression_is_offered_and_declined(library: Library) {
    let server = server_with(Secrets::NONE);
    let mut client = WsClient::start(library, &server.ws_url(), Visit::default());
    let Event::Open {
        offered_extensions,
        extensions,
        ..
    } = client.next()
    else {
        panic!("not open");
    };
    assert!(
        offered_extensions.starts_with("permessage-deflate"),
        "{offered_extensions}"
    );
    assert_eq!(extensions, "-");
    // So a message that is worth it goes as it is.
    client.greet(None, "anna", CHANNEL);
    client.text(&"a".repeat(10_000));
    let mut tcp = member(&server, "dora", CHANNEL);
    assert_eq!(tcp.receive_message().text(), "a".repeat(10_000));
}

fn the_subprotocol_is_found_in_any_list(library: Library) {
    let server = server_with(Secrets::NONE);
    let open = |protocols| {
        let visit = Visit {
            protocols,
            ..Visit::default()
        };
        WsClient::start(library, &server.ws_url(), visit).next()
    };
    for protocols in [
        PROTOCOL,
        "chat,mles-websocket",
        "mles-websocket,chat",
        "chat,mles-websocket,mles-websocket.v9",
    ] {
        let event = open(protocols);
        assert!(
            matches!(&event, Event::Open { protocol, .. } if protocol == PROTOCOL),
            "{protocols}: {event:?}"
        );
    }
    // Who asks for nothing gets no name, and is served.
    let event = open("");
    assert!(
        matches!(&event, Event::Open { protocol, .. } if protocol == "-"),
        "{event:?}"
    );
    assert_eq!(open("chat,mqtt"), Event::Refused(400));
    assert_eq!(open("Mles-WebSocket"), Event::Refused(400));
}
