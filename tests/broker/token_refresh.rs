//! Tokens that take the place of the one that a session has joined with.

use std::time::Duration;

use mles::DeniedPublish;
use mles::protocol::encode_token;
use serde_json::json;

use crate::common::events::Events;
use crate::common::http::Http;
use crate::common::token::{FOREVER, lasting, token};
use crate::common::transports::Transport;
use crate::common::wait_until;
use crate::token_session::{Event, Member, within_lifetime, world, world_with_history};

const EXPIRED: &str = "the token has expired";

#[test]
fn a_session_lasts_beyond_its_first_token_once_it_has_shown_another() {
    for shards in [1, 2] {
        let world = world(shards, DeniedPublish::Disconnect);
        let mut other = world.other("other", "room");
        let set_up = |lifetime| {
            let all = json!(["*"]);
            let mut members = Vec::new();
            for (at, transport) in Transport::ALL.into_iter().enumerate() {
                // Of several, so that some of them are not where their channel is.
                for copy in 0..2 {
                    let uid = format!("{at}-{copy}-{}", lifetime_of(lifetime));
                    let first = token(&uid, lifetime, &all);
                    let mut member = world.join_by_token(transport, (&uid, "room"), &first);
                    member.show(&lasting(&uid));
                    assert!(member.ttl() > FOREVER / 2);
                    members.push((member, uid));
                }
            }
            // The last to join is the last to end.
            let uid = format!("last-{}", lifetime_of(lifetime));
            let first = token(&uid, lifetime, &all);
            let last = world.join_by_token(Transport::V1, (&uid, "room"), &first);
            (members, last)
        };
        let (mut members, mut last) = within_lifetime(set_up);
        assert_eq!(last.end(), Some((4401, EXPIRED.to_owned())));
        other.send(b"still there?");
        for (member, _) in &mut members {
            assert_eq!(member.text(), "still there?");
        }
        for (member, uid) in &mut members {
            member.send(uid);
            assert_eq!(other.text(), *uid);
        }
        let stats = world.broker.stats();
        assert!(stats.tokens_refreshed >= 12, "{stats}");
        assert!(stats.tokens_expired >= 1, "{stats}");
        assert_eq!(
            (stats.token_refreshes_refused, stats.denied_disconnects),
            (0, 0)
        );
    }
}

fn lifetime_of(lifetime: Duration) -> u64 {
    lifetime.as_secs()
}

#[test]
fn a_token_that_expires_ends_its_session() {
    for shards in [1, 2] {
        let world = world(shards, DeniedPublish::Disconnect);
        let lifetime = Duration::from_secs(1);
        let mut members = Transport::ALL.map(|transport| {
            let uid = format!("{transport:?}");
            let token = token(&uid, lifetime, &json!(["*"]));
            let joined = world.join(transport, (&uid, "room"), Some(&token), true);
            (transport, joined)
        });
        for (transport, member) in &mut members {
            let why = member.end();
            if transport.has_close() {
                assert_eq!(why, Some((4401, EXPIRED.to_owned())), "{transport:?}");
            }
        }
        wait_until("they are counted", || {
            world.broker.stats().tokens_expired == Transport::ALL.len() as u64
        });
    }
}

/// What has no way back is told how long it lasts as well, and asks anew.
#[test]
fn an_event_stream_is_told_when_it_ends_and_comes_back() {
    let world = world_with_history(2, DeniedPublish::Disconnect, 10);
    let mut other = world.other("other", "room");
    let open = |token: &str, since: &str| {
        let headers = format!("Authorization: Bearer {token}\r\n{since}");
        Events::open(world.web(), "/channels/room/events?uid=reader", &headers)
    };
    let mut events = within_lifetime(|lifetime| {
        let mut events = open(&token("reader", lifetime, &json!(["*"])), "");
        events.data("welcome");
        let ttl = events.data("token")["ttl"].as_u64().unwrap();
        assert!(Duration::from_millis(ttl) <= lifetime);
        events
    });
    other.send(b"one");
    let one = events.next();
    assert_eq!(one.data["text"], "one");
    assert_eq!(events.data("close"), json!({"reason": EXPIRED}));
    events.assert_end();
    other.send(b"two");
    let since = format!("Last-Event-ID: {}\r\n", one.id.unwrap());
    let mut events = open(&lasting("reader"), &since);
    assert_eq!(events.data("welcome")["recovered"], true);
    let mut told = [events.next().name, events.next().name];
    told.sort();
    assert_eq!(told, ["message", "token"]);
}

/// A request over HTTP shows its own token.
#[test]
fn each_request_over_http_is_judged_by_the_token_that_it_shows() {
    let world = world(2, DeniedPublish::Disconnect);
    for (token, status) in [
        (lasting("http"), 200),
        (crate::common::token::expired("http"), 401),
        (token("http", FOREVER, &json!(["elsewhere"])), 403),
    ] {
        let mut http = Http::connect(world.web());
        http.send(format!(
            "GET /channels/room/members HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        ));
        assert_eq!(http.answer().status, status);
    }
}

#[test]
fn fewer_rights_count_at_once() {
    for (shards, reaction) in [(1, DeniedPublish::Disconnect), (2, DeniedPublish::Ignore)] {
        let world = world(shards, reaction);
        let mut other = world.other("other", "room");
        for (at, transport) in Transport::ALL.into_iter().enumerate() {
            let uid = format!("fewer-{at}");
            let mut member = world.join_by_token(transport, (&uid, "room"), &lasting(&uid));
            member.send(&uid);
            assert_eq!(other.text(), uid);
            let allow = json!([{"channel": "room", "allow": ["subscribe", "history", "presence"]}]);
            member.show(&token(&uid, FOREVER, &allow));
            assert_eq!(
                member.notice("rights")["allowed"].as_array().unwrap().len(),
                3
            );
            member.ttl();
            member.send("denied");
            match reaction {
                DeniedPublish::Disconnect => {
                    let why = member.end();
                    let told = (4403, "no publish right in this channel".to_owned());
                    assert!(why == Some(told) || !transport.has_close());
                }
                _ => {
                    wait_until("it is counted", || {
                        world.broker.stats().publishes_denied == at as u64 + 1
                    });
                    other.send(b"for all");
                    assert_eq!(member.text(), "for all");
                    // And more rights as well.
                    member.show(&lasting(&uid));
                    member.notice("rights");
                    member.ttl();
                    member.send("again");
                    assert_eq!(other.text(), "again");
                }
            }
        }
    }
}

#[test]
fn a_token_takes_its_place_among_the_messages() {
    let world = world(2, DeniedPublish::Ignore);
    let mut other = world.other("other", "room");
    for transport in [Transport::Tcp, Transport::Tls] {
        let uid = format!("{transport:?}");
        let mut member = world.join_by_token(transport, (&uid, "room"), &lasting(&uid));
        let mute = token(
            &uid,
            FOREVER,
            &json!([{"channel": "room", "allow": ["subscribe"]}]),
        );
        // One by one, so that each is all that comes at first, and together.
        let parts = [
            member.frame("before"),
            encode_token(&mute).unwrap(),
            member.frame("denied"),
        ];
        let denied = world.broker.stats().publishes_denied;
        for byte in parts.concat().chunks(7) {
            member.raw(byte);
        }
        member.notice("rights");
        member.ttl();
        wait_until("it is denied", || {
            world.broker.stats().publishes_denied > denied
        });
        assert_eq!(other.text(), "before");
        let parts = [
            encode_token(&lasting(&uid)).unwrap(),
            member.frame("after"),
            member.frame("last"),
        ];
        member.raw(&parts.concat());
        member.notice("rights");
        member.ttl();
        assert_eq!(other.text(), "after");
        assert_eq!(other.text(), "last");
        other.assert_silent();
    }
}

/// Nothing of what clients publish is looked at for tokens, and nothing that shows one is published.
#[test]
fn no_payload_is_taken_for_a_token() {
    let world = world(2, DeniedPublish::Disconnect);
    let mut other = world.other("other", "room");
    for (at, transport) in Transport::ALL.into_iter().enumerate() {
        let uid = format!("payload-{at}");
        let mut member = world.join_by_token(transport, (&uid, "room"), &lasting(&uid));
        let payloads = [
            format!(r#"{{"token":"{}"}}"#, lasting(&uid)),
            format!(r#"!{{"token":"{}"}}"#, lasting(&uid)),
            "=".to_owned(),
            "!".to_owned(),
        ];
        for payload in &payloads {
            member.send(payload);
            assert_eq!(other.text(), *payload);
        }
        member.show(&lasting(&uid));
        member.ttl();
        member.send("next");
        assert_eq!(other.text(), "next");
    }
    assert_eq!(world.broker.stats().tokens_refreshed, 6);
}

/// All pairs of a connection that have the uid of a token have its rights, and those that join later, too.
#[test]
fn a_token_is_for_all_pairs_of_its_uid() {
    let world = world(2, DeniedPublish::Ignore);
    let (mut two, mut three) = (world.other("other", "two"), world.other("other", "three"));
    let mut member: Member =
        world.join_by_token(Transport::V1, ("alice", "one"), &lasting("alice"));
    member.join_beside(("alice", "two"), &lasting("alice"));
    member.join_beside(("bob", "three"), &lasting("bob"));
    let allow = json!([
        {"channel": "one", "allow": ["subscribe"]},
        {"channel": "two", "allow": ["subscribe", "publish"]}
    ]);
    member.show(&token("alice", FOREVER, &allow));
    // Each pair is told its rights, which are others now, and then of its token.
    let told = [(); 2].map(|()| {
        member.notice("rights");
        match member.next() {
            Event::Notice(notice) => notice["channel"].as_str().unwrap().to_owned(),
            other => panic!("{other:?}"),
        }
    });
    assert!(told.contains(&"one".to_owned()) && told.contains(&"two".to_owned()));
    for (uid, channel) in [("alice", "one"), ("alice", "two"), ("bob", "three")] {
        member.send_as((uid, channel), &format!("{uid} in {channel}"));
    }
    assert_eq!(two.text(), "alice in two");
    assert_eq!(three.text(), "bob in three");
    wait_until("the other is denied", || {
        world.broker.stats().publishes_denied == 1
    });
    // A token for a uid that nobody here has is refused.
    member.show(&lasting("carol"));
    for _ in 0..3 {
        assert_eq!(member.refusal(), "the token is for another uid (sub)");
    }
}
