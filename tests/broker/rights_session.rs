//! Sessions and requests by a key whose rights are tried, over each transport.

use std::net::SocketAddr;
use std::ops::Deref;

use mles::protocol::{Key, Keyring, Position, ResumeRequest};
use mles::{AccessRule, DeniedPublish, NamePattern, NamedKey, Permissions, RuleHolder, Settings};

use crate::common::asker::Asker;
use crate::common::http::{Answer, Http};
use crate::common::transports::{AllListeners, Transport};
use crate::common::websocket::{BINARY, Got, TEXT, Ws, body, request};
use crate::common::{Client, settings, wait_until};

/// The key that permits everything.
pub const ROOT: &str = "root";
/// The key whose rights are tried.
pub const TRIED: &str = "tried";

/// What is told to who publishes without the right.
pub const NO_PUBLISH: &str = "no publish right in this channel";

pub const PUBLISH: Permissions = Permissions::PUBLISH;
pub const SUBSCRIBE: Permissions = Permissions::SUBSCRIBE;
pub const HISTORY: Permissions = Permissions::HISTORY;
pub const PRESENCE: Permissions = Permissions::PRESENCE;
/// Every right of clients.
pub const EVERYTHING: Permissions = Permissions::ALL.without(Permissions::PEER);

/// A broker with a root key and one whose rights are tried.
pub struct World {
    server: AllListeners,
}

/// With one shard all members are where their channel is; with two and this threshold, half of them are elsewhere.
pub fn world(shards: usize, allow: Permissions, on_denied_publish: DeniedPublish) -> World {
    let settings = Settings {
        shards: Some(shards),
        spread_threshold: 1,
        on_denied_publish,
        keys: vec![key(ROOT), key(TRIED)],
        rules: vec![rule(ROOT, Permissions::ALL), rule(TRIED, allow)],
        ..settings()
    };
    World {
        server: AllListeners::start(settings),
    }
}

impl Deref for World {
    type Target = AllListeners;

    fn deref(&self) -> &AllListeners {
        &self.server
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

    /// Asks to join with the key that is tried, with a message if it is not empty.
    pub fn ask(&self, transport: Transport, channel: &str, message: &[u8]) -> Member {
        let (at, uid) = (self.at(transport), "tried");
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

    pub fn http(&self, method: &str, channel: &str, what: &str, message: &str) -> Answer {
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
