//! Tokens that do not take the place of the one that a session has joined with.

use std::time::Duration;

use mles::DeniedPublish;
use mles::protocol::{Cid, JoinExtensions, Key, Message, encode_join, encode_token};
use serde_json::json;

use crate::common::token::{FOREVER, expired, foreign, lasting, token};
use crate::common::transports::Transport;
use crate::common::wait_until;
use crate::token_session::{within_lifetime, world};

/// Tokens that are not taken for alice, with what she is told.
fn bad_tokens() -> Vec<(String, &'static str)> {
    vec![
        (lasting("bob"), "the token is for another uid (sub)"),
        (expired("alice"), "the token has expired"),
        (
            foreign("alice"),
            "the token is not signed with a key of this server",
        ),
        ("garbage".to_owned(), "the token is not a signed JWT"),
        (String::new(), "the token is not a signed JWT"),
        ("x".repeat(8193), "the token is longer than 8192 bytes"),
        ("x".repeat(1 << 20), "the token is longer than 8192 bytes"),
        (
            token("alice", FOREVER, &json!(["elsewhere"])),
            "no right at all in this channel",
        ),
    ]
}

#[test]
fn what_is_refused_is_told_and_changes_nothing() {
    for shards in [1, 2] {
        let world = world(shards, DeniedPublish::Disconnect);
        for (at, transport) in Transport::ALL.into_iter().enumerate() {
            let channel = format!("room-{at}");
            let mut other = world.other("other", &channel);
            let mut alice = world.join_by_token(transport, ("alice", &channel), &lasting("alice"));
            let before = world.broker.stats();
            let bad = bad_tokens();
            for (token, reason) in &bad {
                alice.show(token);
                let told = alice.notice("token");
                assert_eq!(told["refused"], *reason, "{transport:?}");
                let ttl = Duration::from_millis(told["ttl"].as_u64().unwrap());
                assert!(ttl > FOREVER / 2, "{told}");
            }
            alice.show_junk();
            assert_eq!(alice.refusal(), "the token is not a signed JWT");
            alice.send("still");
            assert_eq!(other.text(), "still");
            other.send(b"there");
            assert_eq!(alice.text(), "there");
            let stats = world.broker.stats();
            let refused = stats.token_refreshes_refused - before.token_refreshes_refused;
            assert_eq!(refused, bad.len() as u64 + 1);
            assert_eq!(stats.tokens_refreshed, 0);
        }
    }
}

#[test]
fn the_token_before_stays_in_force_until_it_expires() {
    let world = world(2, DeniedPublish::Disconnect);
    let mut members = within_lifetime(|lifetime| {
        Transport::ALL.map(|transport| {
            let uid = format!("{transport:?}-{}", lifetime.as_secs());
            let token = token(&uid, lifetime, &json!(["*"]));
            let mut member = world.join_by_token(transport, (&uid, "room"), &token);
            member.show(&expired(&uid));
            assert_eq!(member.refusal(), "the token has expired");
            (transport, member)
        })
    });
    for (transport, member) in &mut members {
        let why = member.end();
        assert!(why == Some((4401, "the token has expired".to_owned())) || !transport.has_close());
    }
}

#[test]
fn a_session_that_cannot_be_told_ends() {
    for shards in [1, 2] {
        let world = world(shards, DeniedPublish::Disconnect);
        let mut ended = 0;
        for transport in Transport::ALL_OF_V1 {
            for (token, reason) in bad_tokens() {
                let mut alice =
                    world.join(transport, ("alice", "room"), Some(&lasting("alice")), false);
                // One that is good is taken without a word.
                alice.show(&lasting("alice"));
                alice.show(&token);
                let why = alice.end();
                if transport.has_close() {
                    let code = if reason.contains("right") { 4403 } else { 4401 };
                    assert_eq!(why, Some((code, reason.to_owned())), "{transport:?}");
                }
                ended += 1;
                wait_until("it is over", || {
                    let stats = world.broker.stats();
                    stats.denied_disconnects + stats.tokens_expired == ended
                });
            }
        }
    }
}

#[test]
fn a_session_without_a_token_cannot_show_one() {
    let world = world(2, DeniedPublish::Disconnect);
    for (at, transport) in Transport::ALL.into_iter().enumerate() {
        let uid = format!("alice-{at}");
        let mut other = world.other("other", &uid);
        for asks in [true, false] {
            let mut alice = world.join(transport, (&uid, &uid), None, asks);
            alice.send("before");
            assert_eq!(other.text(), "before");
            alice.show(&lasting(&uid));
            match transport {
                Transport::Tcp | Transport::Tls => assert_eq!(alice.end(), None),
                Transport::V1 | Transport::V1OverTls => {
                    let (code, why) = alice.end().unwrap();
                    assert_eq!(code, 1003, "{why}");
                }
                Transport::V2 | Transport::V2OverTls => {
                    alice.notice("welcome");
                    let told = alice.notice("token");
                    let why = "the session has not joined with a token, so none can take its place";
                    assert_eq!(told, json!({ "refused": why }));
                    alice.send("after");
                    assert_eq!(other.text(), "after");
                    break;
                }
            }
        }
    }
}

/// Nobody has joined yet who could show one in the place of another.
#[test]
fn a_token_is_no_join() {
    let world = world(2, DeniedPublish::Disconnect);
    let mut other = world.other("other", "room");
    let mut stranger = std::net::TcpStream::connect(world.broker.local_addrs()[0]).unwrap();
    std::io::Write::write_all(&mut stranger, &encode_token(&lasting("a")).unwrap()[..4]).unwrap();
    crate::common::assert_closes(&mut stranger);
    // Right behind the join it is in time.
    for (shown, is_taken) in [(Some(lasting("alice")), true), (None, false)] {
        let extensions = JoinExtensions {
            resume: Some(mles::protocol::ResumeRequest::default()),
            token: shown.as_deref(),
        };
        let message = Message {
            uid: "alice",
            channel: "room",
            message: b"",
        };
        let key = match &shown {
            Some(_) => Key(0),
            None => Key::from_parts(["the key of others", "alice", "room"]),
        };
        let join = encode_join(Cid(7), key, &message, &extensions).unwrap();
        let second = mles::protocol::encode_frame(
            Cid(7),
            key,
            &Message {
                message: b"behind",
                ..message
            },
        );
        let all = [
            join,
            encode_token(&lasting("alice")).unwrap(),
            second.unwrap().to_vec(),
        ];
        let mut member = world.connect();
        member.raw(&all.concat());
        if is_taken {
            member.notice("welcome");
            member.ttl();
            member.ttl();
            assert_eq!(other.text(), "behind");
        } else {
            member.end();
            other.assert_silent();
        }
    }
}

/// With marks on both sides, what has none means nothing.
#[test]
fn a_message_without_a_mark_is_refused() {
    let world = world(2, DeniedPublish::Disconnect);
    for (first, payload) in [
        (0x81, &b"hello"[..]),
        (0x81, b""),
        (0x82, b""),
        (0x82, b"!{\"token\":\"x\"}"),
        (0x82, b"\xFF"),
    ] {
        let mut member = world.join_by_token(Transport::V2, ("alice", "room"), &lasting("alice"));
        member.web().send(first, payload);
        let (code, why) = member.end().unwrap();
        assert_eq!(code, 1007, "{why}");
        wait_until("it has left", || {
            let stats = world.broker.stats();
            stats.sessions == 0
        });
    }
}
