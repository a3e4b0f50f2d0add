//! What sessions and requests may do by the rights of their key, over all transports.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use mles::protocol::{Key, Keyring, Notice, Position, ResumeRequest};
use mles::{
    AccessRule, Broker, DeniedPublish, ListenerKind, NamePattern, NamedKey, Permissions,
    RuleHolder, Settings,
};
use serde_json::json;

use crate::common::asker::{Asker, Event};
use crate::common::events::Events;
use crate::common::http::{Answer, Http};
use crate::common::tls_proxy::{Authority, tunnel};
use crate::common::websocket::{BINARY, Got, TEXT, Ws, body, request};
use crate::common::{Client, SILENCE, is_timeout, settings, start, wait_until};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// The key that permits everything.
const ROOT: &str = "root";
/// The key whose rights are tried.
const TRIED: &str = "tried";

/// What is told to who publishes without the right.
pub const NO_PUBLISH: &str = "no publish right in this channel";

pub const PUBLISH: Permissions = Permissions::PUBLISH;
pub const SUBSCRIBE: Permissions = Permissions::SUBSCRIBE;
pub const HISTORY: Permissions = Permissions::HISTORY;
pub const PRESENCE: Permissions = Permissions::PRESENCE;
/// Every right of clients.
pub const EVERYTHING: Permissions = Permissions::ALL.without(Permissions::PEER);

/// A transport over which a session is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Tls,
    V1,
    V1OverTls,
    V2,
    V2OverTls,
}

impl Transport {
    pub const ALL: [Self; 6] = [
        Self::Tcp,
        Self::Tls,
        Self::V1,
        Self::V1OverTls,
        Self::V2,
        Self::V2OverTls,
    ];

    /// Returns `true` if a join may bring a message.
    fn joins_with_messages(self) -> bool {
        !matches!(self, Self::V2 | Self::V2OverTls)
    }

    /// Returns `true` if its client can be told why its session ends.
    pub fn is_told(self) -> bool {
        !matches!(self, Self::Tcp | Self::Tls)
    }
}

/// A broker with a root key and one whose rights are tried.
pub struct World {
    pub broker: Broker,
    settings: Settings,
    _authority: Authority,
    tls: SocketAddr,
    tls_ws: SocketAddr,
}

/// With one shard all members are where their channel is; with two and this threshold, half of them are elsewhere.
pub fn world(shards: usize, allow: Permissions, on_denied_publish: DeniedPublish) -> World {
    let authority = Authority::new();
    let pair = authority.localhost();
    let mut settings = Settings {
        shards: Some(shards),
        spread_threshold: 1,
        on_denied_publish,
        keys: vec![key(ROOT), key(TRIED)],
        rules: vec![rule(ROOT, Permissions::ALL), rule(TRIED, allow)],
        ..settings()
    };
    settings.tls.listen = vec![ANY];
    settings.tls.cert = Some(pair.cert);
    settings.tls.key = Some(pair.key);
    settings.websocket.listen = vec![ANY];
    settings.websocket.tls_listen = vec![ANY];
    let broker = start(settings.clone());
    World {
        settings,
        tls: tunnel(&authority, address(&broker, ListenerKind::MlesTls)),
        tls_ws: tunnel(&authority, address(&broker, ListenerKind::WebSocketTls)),
        broker,
        _authority: authority,
    }
}

fn key(name: &str) -> NamedKey {
    NamedKey::new(name, secret(name)).unwrap()
}

pub fn secret(name: &str) -> String {
    format!("secret of {name}")
}

pub fn keyring(name: &str) -> Keyring {
    Keyring::new(Some(secret(name)), None)
}

fn rule(name: &str, allow: Permissions) -> AccessRule {
    AccessRule {
        holder: RuleHolder::Key(name.to_owned()),
        uid: NamePattern::any(),
        channel: NamePattern::any(),
        allow,
    }
}

fn address(broker: &Broker, wanted: ListenerKind) -> SocketAddr {
    let mut listeners = broker.listeners().iter();
    listeners.find(|(kind, _)| *kind == wanted).unwrap().1
}

/// A session over one of the transports.
pub enum Member {
    Frames(Client),
    V1(Ws, String),
    V2(Ws),
}

impl World {
    /// Lets the key that is tried do something else from now on. Returns how many sessions have ended for that.
    pub fn allow(&self, allow: Permissions) -> u64 {
        let mut settings = self.settings.clone();
        settings.rules = vec![rule(ROOT, Permissions::ALL), rule(TRIED, allow)];
        self.broker.reload(settings).unwrap().sessions_ended
    }

    fn session(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Tcp => address(&self.broker, ListenerKind::Mles),
            Transport::Tls => self.tls,
            Transport::V1 | Transport::V2 => self.web(),
            Transport::V1OverTls | Transport::V2OverTls => self.tls_ws,
        }
    }

    pub fn web(&self) -> SocketAddr {
        address(&self.broker, ListenerKind::WebSocket)
    }

    /// Asks to join with the key that is tried, with a message if it is not empty.
    pub fn ask(&self, transport: Transport, channel: &str, message: &[u8]) -> Member {
        let (at, uid) = (self.session(transport), "tried");
        let keyring = keyring(TRIED);
        match transport {
            Transport::Tcp | Transport::Tls => {
                let member = Client::join_with(&at, &keyring, uid, channel, message, None);
                Member::Frames(member)
            }
            Transport::V1 | Transport::V1OverTls => {
                let mut ws = upgraded(at, channel);
                ws.send(BINARY, &body(uid, channel, message));
                Member::V1(ws, channel.to_owned())
            }
            Transport::V2 | Transport::V2OverTls => {
                let mut ws = upgraded(at, channel);
                let greeting = format!(r#"{{"uid":"{uid}","channel":"{channel}"}}"#);
                ws.send(TEXT, greeting.as_bytes());
                Member::V2(ws)
            }
        }
    }

    pub fn join(&self, transport: Transport, channel: &str) -> Member {
        let before = self.broker.stats().joined;
        let member = self.ask(transport, channel, b"");
        let stats = || self.broker.stats();
        wait_until("it has joined", || stats().joined > before);
        member
    }

    /// A member with all rights.
    pub fn root(&self, uid: &str, channel: &str) -> Client {
        let before = self.broker.stats().joined;
        let root = Client::join_with(&self.broker, &keyring(ROOT), uid, channel, b"", None);
        wait_until("root has joined", || self.broker.stats().joined > before);
        root
    }

    /// A channel with a message in its history, of which root is a member.
    pub fn channel(&self, name: &str) -> (Client, Client) {
        let (mut root, mut other) = (self.root("root", name), self.root("other", name));
        root.send(b"old");
        assert_eq!(other.text(), "old");
        (root, other)
    }

    fn http(&self, method: &str, channel: &str, what: &str, message: &str) -> Answer {
        let len = message.len();
        let bearer = secret(TRIED);
        let headers = format!(
            "Mles-Uid: tried\r\nAuthorization: Bearer {bearer}\r\nContent-Type: text/plain\r\n\
             Content-Length: {len}\r\n"
        );
        let mut http = Http::connect(self.web());
        let path = format!("/channels/{channel}/{what}");
        http.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{message}"
        ));
        http.answer()
    }
}

/// Opens a WebSocket connection that proves the key that is tried by the hash of its names.
fn upgraded(at: SocketAddr, channel: &str) -> Ws {
    let auth = Key::from_parts([&secret(TRIED), "tried", channel]).0;
    let asked = Ws::ask(at, &request(&format!("/?auth={auth:016x}"), ""));
    asked.unwrap_or_else(|answer| panic!("not upgraded: {answer}"))
}

impl Member {
    pub fn publish(&mut self, message: &str) {
        match self {
            Self::Frames(client) => client.send(message.as_bytes()),
            Self::V1(ws, channel) => {
                ws.send(BINARY, &body("tried", channel, message.as_bytes()));
            }
            Self::V2(ws) => ws.send(TEXT, message.as_bytes()),
        }
    }

    /// The next messages, as many.
    pub fn texts(&mut self, count: usize) -> Vec<String> {
        let mut next = || match self {
            Self::Frames(client) => client.text(),
            Self::V1(ws, _) => String::from_utf8(ws.payload()).unwrap(),
            Self::V2(ws) => match ws.next() {
                Got::Text(text) => text,
                // What a member over TCP has sent is binary here.
                Got::Binary(bytes) => String::from_utf8(bytes).unwrap(),
                got => panic!("{got:?}"),
            },
        };
        (0..count).map(|_| next()).collect()
    }

    pub fn assert_silent(&mut self) {
        match self {
            Self::Frames(client) => client.assert_silent(),
            Self::V1(ws, _) | Self::V2(ws) => ws.assert_silent(),
        }
    }

    /// Asserts that the session ends, with this reason if its client can be told.
    pub fn assert_ended(&mut self, expected: &str) {
        match self {
            Self::Frames(client) => client.assert_closed(),
            Self::V1(ws, _) | Self::V2(ws) => assert_eq!(ws.assert_closed(4403), expected),
        }
    }
}

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
            } else if transport.is_told() {
                member.assert_ended(NO_PUBLISH);
            } else if let Member::Frames(client) = &mut member {
                client.assert_closed();
            }
            root.assert_silent();
        }
        // With the right it is published, to members on all shards.
        let world = self::world(shards, PUBLISH, reaction);
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

/// Joins with the key that is tried, and asks for positions.
pub fn asker(world: &World, uid: &str, channel: &str, request: ResumeRequest) -> Asker {
    let stream = Client::connect(&world.broker);
    let client = Client::on(stream, &keyring(TRIED), uid, channel, None);
    Asker::on(client, b"", request)
}

pub fn since(since: Option<Position>) -> ResumeRequest {
    ResumeRequest {
        since,
        publisher: None,
        members: None,
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
