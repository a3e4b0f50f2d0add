//! What sessions and requests may do by the rights of their key, over all transports.

use std::collections::BTreeSet;

use mles::protocol::{Notice, ResumeRequest};
use mles::{DeniedPublish, Permissions};
use serde_json::json;

use crate::common::asker::{Asker, Event};
use crate::common::events::Events;
use crate::common::http::Http;
use crate::common::transports::Transport;
use crate::common::{Client, SILENCE, is_timeout, wait_until};
use crate::rights_session::{
    self, HISTORY, Member, NO_PUBLISH, PRESENCE, PUBLISH, ROOT, SUBSCRIBE, TRIED, asker, keyring,
    secret, since, world,
};

/// The sets of rights that are tried: each right alone, each missing, and all.
fn sets() -> Vec<Permissions> {
    let single = [PUBLISH, SUBSCRIBE, HISTORY, PRESENCE];
    let all = single
        .into_iter()
        .fold(Permissions::NONE, Permissions::with);
    let mut sets = single.to_vec();
    sets.extend(single.map(|one| all.without(one)));
    sets.push(all);
    sets
}

#[test]
fn sessions_do_what_their_rights_let_them_do_over_all_transports() {
    for shards in [1, 2] {
        for allow in sets() {
            let world = world(shards, allow, DeniedPublish::Disconnect);
            for (i, transport) in Transport::ALL.into_iter().enumerate() {
                eprintln!("{shards} {allow:?} {transport:?}");
                let channel = format!("c{i}");
                let (mut root, mut other) = world.channel(&channel);
                if !allow.contains(PUBLISH) && !allow.contains(SUBSCRIBE) {
                    let before = world.broker.stats().refused;
                    let mut member = world.ask(transport, &channel, b"");
                    member.assert_ended("no publish or subscribe right in this channel");
                    assert_eq!(world.broker.stats().refused, before + 1);
                    continue;
                }
                let mut member = world.join(transport, &channel);
                let may_read = allow.contains(SUBSCRIBE.with(HISTORY));
                let mut expected = Vec::new();
                expected.extend(may_read.then_some("old"));
                root.send(b"live");
                assert_eq!(other.text(), "live");
                expected.extend(allow.contains(SUBSCRIBE).then_some("live"));
                assert_eq!(member.texts(expected.len()), expected);
                if expected.is_empty() {
                    member.assert_silent();
                }

                let before = world.broker.stats();
                member.publish("mine");
                if allow.contains(PUBLISH) {
                    assert_eq!((root.text(), other.text()), ("mine".into(), "mine".into()));
                    continue;
                }
                member.assert_ended(NO_PUBLISH);
                let denied = world.broker.stats().publishes_denied;
                assert_eq!(denied, before.publishes_denied + 1);
                let ended = || world.broker.stats().denied_disconnects;
                wait_until("it is counted", || ended() == before.denied_disconnects + 1);
                root.send(b"after");
                assert_eq!(other.text(), "after");
            }
        }
    }
}

#[test]
fn messages_without_the_right_are_ignored_where_that_is_set() {
    for shards in [1, 2] {
        let allow = SUBSCRIBE.with(HISTORY);
        let world = world(shards, allow, DeniedPublish::Ignore);
        for (i, transport) in Transport::ALL.into_iter().enumerate() {
            eprintln!("{shards} {transport:?}");
            let channel = format!("c{i}");
            let (mut root, mut other) = world.channel(&channel);
            let mut member = world.join(transport, &channel);
            assert_eq!(member.texts(1), ["old"]);
            let before = world.broker.stats().publishes_denied;
            for message in ["a", "b", "c"] {
                member.publish(message);
            }
            let denied = || world.broker.stats().publishes_denied - before;
            wait_until("they are counted", || denied() == 3);
            root.send(b"live");
            assert_eq!(other.text(), "live");
            assert_eq!(member.texts(1), ["live"]);
            root.assert_silent();
        }
        assert_eq!(world.broker.stats().denied_disconnects, 0);
    }
}

#[test]
fn a_join_with_a_message_needs_the_right_to_publish() {
    for (reaction, shards) in [
        (DeniedPublish::Disconnect, 1),
        (DeniedPublish::Disconnect, 2),
        (DeniedPublish::Ignore, 1),
        (DeniedPublish::Ignore, 2),
    ] {
        let world = world(shards, SUBSCRIBE, reaction);
        let with_messages = Transport::ALL
            .into_iter()
            .filter(|t| t.joins_with_messages());
        for (i, transport) in with_messages.enumerate() {
            eprintln!("{reaction:?} {shards} {transport:?}");
            let channel = format!("c{i}");
            let (mut root, mut other) = world.channel(&channel);
            let before = world.broker.stats();
            let mut member = world.ask(transport, &channel, b"hello");
            let denied = || world.broker.stats().publishes_denied - before.publishes_denied;
            wait_until("it is counted", || denied() == 1);
            if reaction == DeniedPublish::Ignore {
                let stats = || world.broker.stats();
                wait_until("it has joined", || stats().joined > before.joined);
                root.send(b"live");
                assert_eq!(other.text(), "live");
                assert_eq!(member.texts(1), ["live"]);
            } else if transport.has_close() {
                member.assert_ended(NO_PUBLISH);
            } else if let Member::Frames(client) = &mut member {
                client.assert_closed();
            }
            root.assert_silent();
        }
        // With the right it is published, to members on all shards.
        let world = rights_session::world(shards, PUBLISH, reaction);
        let with_messages = Transport::ALL
            .into_iter()
            .filter(|t| t.joins_with_messages());
        for (i, transport) in with_messages.enumerate() {
            let (mut root, mut other) = world.channel(&format!("c{i}"));
            let _member = world.ask(transport, &format!("c{i}"), b"hello");
            assert_eq!(
                (root.text(), other.text()),
                ("hello".into(), "hello".into())
            );
        }
    }
}

#[test]
fn requests_do_what_their_rights_let_them_do() {
    for shards in [1, 2] {
        for allow in sets() {
            let world = world(shards, allow, DeniedPublish::Disconnect);
            let (mut root, mut other) = world.channel("room");
            let asked = [
                ("POST", "messages", PUBLISH, 201),
                ("GET", "messages", HISTORY, 200),
                ("GET", "members", PRESENCE, 200),
                ("HEAD", "events", SUBSCRIBE, 200),
                ("GET", "events?members=9", SUBSCRIBE.with(PRESENCE), 0),
            ];
            for (method, what, needed, status) in asked {
                eprintln!("{shards} {allow:?} {method} {what}");
                let may = allow.contains(needed);
                if method == "HEAD" {
                    let mut http = Http::connect(world.web());
                    let bearer = secret(TRIED);
                    http.send(format!(
                        "HEAD /channels/room/{what} HTTP/1.1\r\nHost: localhost\r\n\
                         Authorization: Bearer {bearer}\r\n\r\n"
                    ));
                    assert_eq!(http.head().status, if may { status } else { 403 });
                    continue;
                }
                if status == 0 && may {
                    continue;
                }
                let answer = world.http(
                    method,
                    "room",
                    what,
                    if method == "POST" { "hi" } else { "" },
                );
                if may {
                    assert_eq!(answer.status, status, "{}", answer.body);
                    continue;
                }
                assert_eq!(answer.status, 403, "{}", answer.body);
                let content_type = answer.header("content-type");
                assert_eq!(content_type, Some("application/problem+json"));
                let missing: BTreeSet<_> = needed
                    .names()
                    .filter(|name| !allow.contains(Permissions::named(name).unwrap()))
                    .collect();
                assert!(
                    missing.iter().any(|name| answer.body.contains(name)),
                    "{}",
                    answer.body
                );
            }
            root.send(b"after");
            if allow.contains(PUBLISH) {
                assert_eq!(other.text(), "hi");
            } else {
                assert_eq!(world.broker.stats().publishes_denied, 1);
            }
            assert_eq!(other.text(), "after");
        }
    }
}

#[test]
fn event_streams_have_history_if_their_key_has() {
    for shards in [1, 2] {
        for (allow, expected) in [
            (SUBSCRIBE, &["live"][..]),
            (SUBSCRIBE.with(HISTORY), &["old", "live"][..]),
        ] {
            let world = world(shards, allow, DeniedPublish::Disconnect);
            let (mut root, _other) = world.channel("room");
            let before = world.broker.stats().joined;
            let bearer = format!("Authorization: Bearer {}\r\n", secret(TRIED));
            let mut events = Events::open(world.web(), "/channels/room/events", &bearer);
            wait_until("it has joined", || world.broker.stats().joined > before);
            root.send(b"live");
            let welcome = events.data("welcome");
            assert_eq!(welcome["recovered"], true, "{welcome}");
            let (live, replay) = expected.split_last().unwrap();
            for text in replay {
                assert_eq!(events.text(), *text);
            }
            let allowed: Vec<_> = allow.names().collect();
            assert_eq!(events.data("rights")["allowed"], json!(allowed));
            assert_eq!(events.text(), *live);
        }
    }
}

#[test]
fn who_comes_back_without_the_right_to_history_is_told_that_it_is_missing() {
    for shards in [1, 2] {
        let world = world(shards, SUBSCRIBE, DeniedPublish::Disconnect);
        for i in 0..4 {
            let channel = format!("c{i}");
            let (mut root, mut other) = world.channel(&channel);
            let first = asker(&world, "first", &channel, since(None)).welcome;
            assert_eq!(
                (first.replay, first.recovered, first.missed),
                (0, true, Some(0))
            );
            root.send(b"missed");
            assert_eq!(other.text(), "missed");
            let mut back = asker(&world, "tried", &channel, since(Some(first.position)));
            let welcome = back.welcome;
            assert_eq!(
                (welcome.replay, welcome.recovered, welcome.missed),
                (0, false, Some(1))
            );
            assert_eq!(welcome.position.offset, first.position.offset + 1);
            // Who has missed nothing has all.
            let again = asker(&world, "again", &channel, since(Some(welcome.position))).welcome;
            assert_eq!(
                (again.replay, again.recovered, again.missed),
                (0, true, Some(0))
            );
            root.send(b"live");
            assert_eq!(back.rights(), "subscribe");
            assert_eq!(back.message().1, "live");
        }
    }
}

#[test]
fn who_only_publishes_gets_receipts_that_add_up_and_nothing_else() {
    for shards in [1, 2] {
        let world = world(shards, PUBLISH, DeniedPublish::Disconnect);
        for i in 0..4 {
            let channel = format!("c{i}");
            let (mut root, mut other) = world.channel(&channel);
            let mut publisher = asker(&world, "tried", &channel, since(None));
            assert_eq!(publisher.welcome.replay, 0);
            assert_eq!(publisher.rights(), "publish");
            for (round, others) in [0, 3, 1].into_iter().enumerate() {
                for _ in 0..others {
                    root.send(b"of others");
                    assert_eq!(other.text(), "of others");
                }
                publisher.client.send(b"mine");
                assert_eq!(other.text(), "mine");
                // The position in a receipt is what the asker has counted, with what was left out.
                let before = publisher.position.offset;
                let gap = publisher.left_out_before_receipt(1);
                assert_eq!(gap, others, "round {round}");
                assert_eq!(publisher.position.offset, before + others + 1);
            }
            publisher.client.assert_silent();
        }
    }
}

#[test]
fn who_may_not_know_who_is_there_is_listed_and_gets_no_news() {
    for shards in [1, 2] {
        let world = world(shards, SUBSCRIBE, DeniedPublish::Disconnect);
        let (_root, _other) = world.channel("room");
        let watching = ResumeRequest {
            members: Some(10),
            ..since(None)
        };
        let mut tried = asker(&world, "tried", "room", watching);
        assert_eq!(tried.rights(), "subscribe");
        let stream = Client::connect(&world.broker);
        let client = Client::on(stream, &keyring(ROOT), "watcher", "room", None);
        let mut root = Asker::on(client, b"", watching);
        let uids = match root.next() {
            Event::Members(Notice::Members { uids, .. }) => uids,
            // The history comes first.
            Event::Message(..) => match root.next() {
                Event::Members(Notice::Members { uids, .. }) => uids,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        };
        assert!(uids.iter().any(|uid| **uid == *"tried"), "{uids:?}");
        match tried.client.try_receive_raw(4 * SILENCE) {
            Err(error) => assert!(is_timeout(&error), "{error}"),
            // The announcement of the watcher's join.
            Ok(Some(frame)) => assert_ne!(frame[0], mles::protocol::NOTICE_MAGIC),
            Ok(None) => panic!("it has ended"),
        }
    }
}
