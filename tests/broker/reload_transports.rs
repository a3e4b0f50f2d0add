//! Reloads while messages flow and clients come: over every transport, those end that have lost their rights, and nobody else
//! notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use mles::protocol::{Key, Keyring, Message};
use mles::{AccessRule, NamePattern, NamedKey, Permissions, RuleHolder, Settings};

use crate::common::events::Events;
use crate::common::load::Load;
use crate::common::transports::{AllListeners, Transport};
use crate::common::websocket::{BINARY, Got, TEXT, Ws, body, request};
use crate::common::{Client, PATIENCE, settings, wait_until};

/// The key that loses what it has.
const LOSES: &str = "loses";
/// The key that keeps it.
const KEEPS: &str = "keeps";
/// The channel in which messages flow.
const CHANNEL: &str = "room";
/// Close code of who is not known any more.
const UNAUTHORIZED: u16 = 4401;
/// Close code of who has no right left to be there.
const FORBIDDEN: u16 = 4403;

/// A way to read what is published.
#[derive(Clone, Copy, Debug)]
enum Way {
    Session(Transport),
    Events { over_tls: bool },
}

impl Way {
    fn all() -> impl Iterator<Item = Self> {
        let events = [false, true].map(|over_tls| Self::Events { over_tls });
        let sessions = Transport::ALL.into_iter().map(Self::Session);
        sessions.chain(events)
    }

    fn has_close(self) -> bool {
        matches!(self, Self::Session(transport) if transport.has_close())
    }
}

fn key(name: &str) -> NamedKey {
    NamedKey::new(name, secret(name)).unwrap()
}

fn secret(name: &str) -> String {
    format!("secret of {name}")
}

fn rule(name: &str) -> AccessRule {
    AccessRule {
        holder: RuleHolder::Key(name.to_owned()),
        uid: NamePattern::any(),
        channel: NamePattern::any(),
        allow: Permissions::ALL,
    }
}

/// With one shard all members are where their channel is; with two and this threshold, half of them are elsewhere.
fn world(shards: usize) -> AllListeners {
    AllListeners::start(Settings {
        shards: Some(shards),
        spread_threshold: 1,
        keys: vec![key(LOSES), key(KEEPS)],
        rules: vec![rule(LOSES), rule(KEEPS)],
        ..settings()
    })
}

/// A member that reads.
enum Member {
    Frames(Client),
    V1(Ws),
    V2(Ws),
    Events(Events),
}

/// What a member gets next.
enum Next {
    Text(String),
    /// The end of its session, with the close code if there is one.
    End(Option<u16>),
}

fn address(world: &AllListeners, way: Way) -> SocketAddr {
    match way {
        Way::Session(transport) => world.at(transport),
        Way::Events { over_tls: false } => world.web(),
        Way::Events { over_tls: true } => world.web_over_tls(),
    }
}

/// Has a member that reads in each way.
fn members(world: &AllListeners, name: &str) -> Vec<(Way, Member)> {
    let all = Way::all().enumerate();
    all.map(|(at, way)| {
        let before = world.broker.stats().joined;
        let member = ask(address(world, way), way, name, &format!("{name}-{at}"));
        wait_until("it has joined", || world.broker.stats().joined > before);
        (way, member)
    })
    .collect()
}

fn ask(at: SocketAddr, way: Way, name: &str, uid: &str) -> Member {
    match way {
        Way::Session(Transport::Tcp | Transport::Tls) => {
            let keyring = Keyring::new(Some(secret(name)), None);
            Member::Frames(Client::join_with(&at, &keyring, uid, CHANNEL, b"", None))
        }
        Way::Session(Transport::V1 | Transport::V1OverTls) => {
            let mut ws = upgraded(at, name, uid);
            ws.send(BINARY, &body(uid, CHANNEL, b""));
            Member::V1(ws)
        }
        Way::Session(Transport::V2 | Transport::V2OverTls) => {
            let mut ws = upgraded(at, name, uid);
            let greeting = format!(r#"{{"uid":"{uid}","channel":"{CHANNEL}"}}"#);
            ws.send(TEXT, greeting.as_bytes());
            Member::V2(ws)
        }
        Way::Events { .. } => {
            let headers = format!(
                "Mles-Uid: {uid}\r\nAuthorization: Bearer {}\r\n",
                secret(name)
            );
            let mut events = Events::open(at, &format!("/channels/{CHANNEL}/events"), &headers);
            events.data("welcome");
            Member::Events(events)
        }
    }
}

/// Opens a WebSocket connection that proves a key by the hash of its names.
fn upgraded(at: SocketAddr, name: &str, uid: &str) -> Ws {
    let auth = Key::from_parts([&secret(name), uid, CHANNEL]).0;
    let asked = Ws::ask(at, &request(&format!("/?auth={auth:016x}"), ""));
    asked.unwrap_or_else(|answer| panic!("not upgraded: {answer}"))
}

impl Member {
    fn next(&mut self) -> Next {
        let text = |bytes: Vec<u8>| Next::Text(String::from_utf8(bytes).unwrap());
        let is_v1 = matches!(self, Self::V1(_));
        match self {
            Self::Frames(client) => match client.try_receive(PATIENCE).unwrap() {
                Some(received) => text(received.message),
                None => Next::End(None),
            },
            Self::V1(ws) | Self::V2(ws) => match ws.next() {
                Got::Text(message) => Next::Text(message),
                Got::Binary(body) if is_v1 => text(Message::decode(&body).unwrap().message.into()),
                Got::Binary(bytes) => text(bytes),
                Got::Close(code, _) => Next::End(Some(code)),
                got => panic!("{got:?}"),
            },
            Self::Events(events) => loop {
                let Some(event) = events.try_next() else {
                    break Next::End(None);
                };
                if event.name == "message" {
                    break Next::Text(event.data["text"].as_str().unwrap().to_owned());
                }
            },
        }
    }
}

/// What a member has got until its session or the load has ended.
struct Reading {
    /// The number that came last.
    last: Option<u64>,
    /// The close code with which its session has ended, if there was one.
    code: Option<u16>,
    ended: Instant,
}

/// Reads in a thread of its own: each number once and in order.
fn read((way, mut member): (Way, Member)) -> JoinHandle<Reading> {
    std::thread::spawn(move || {
        let (mut last, mut code) = (None, None);
        loop {
            let text = match member.next() {
                Next::Text(text) if text.is_empty() => continue,
                Next::Text(text) if text == "end" => break,
                Next::Text(text) => text,
                Next::End(why) => {
                    code = why;
                    break;
                }
            };
            let number: u64 = text.parse().unwrap();
            assert_eq!(number, last.map_or(number, |last| last + 1), "{way:?}");
            last = Some(number);
        }
        let ended = Instant::now();
        Reading { last, code, ended }
    })
}

/// A client in each way comes and goes, until it is told to stop.
fn come_and_go(world: &AllListeners, is_over: &Arc<AtomicBool>) -> Vec<JoinHandle<u32>> {
    let all = Way::all().enumerate();
    all.map(|(at, way)| {
        let (address, is_over) = (address(world, way), is_over.clone());
        std::thread::spawn(move || {
            let mut visits = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut member = ask(address, way, KEEPS, &format!("visitor-{at}-{visits}"));
                assert!(matches!(member.next(), Next::Text(_)), "{way:?}");
                visits += 1;
            }
            visits
        })
    })
    .collect()
}

/// Reloads while messages flow and clients come and go. Whoever joined with [`LOSES`] ends if there is a `code` for that, and
/// nobody else does.
fn reload_under_load(
    shards: usize,
    code: Option<u16>,
    change: impl Fn(&AllListeners, &mut Settings),
) {
    let world = world(shards);
    let (losing, keeping) = (members(&world, LOSES), members(&world, KEEPS));
    let losing: Vec<_> = losing.into_iter().map(read).collect();
    let keeping: Vec<_> = keeping.into_iter().map(read).collect();
    let publisher = Client::join_with(
        &world.broker,
        &Keyring::new(Some(secret(KEEPS)), None),
        "load",
        CHANNEL,
        b"",
        None,
    );
    let load = Load::start(publisher);
    let is_over = Arc::new(AtomicBool::new(false));
    let visitors = come_and_go(&world, &is_over);
    let flow = || {
        let before = world.broker.stats();
        wait_until("messages flow and clients come", || {
            let now = world.broker.stats();
            now.frames_in > before.frames_in + 100 && now.joined > before.joined + 16
        });
    };
    flow();

    let mut settings = world.settings.clone();
    change(&world, &mut settings);
    let begun = Instant::now();
    let report = world.broker.reload(settings).unwrap();
    let lost = code.map_or(0, |_| losing.len() as u64);
    assert_eq!(report.sessions_ended, lost, "{report:?}");
    // A certificate that is exchanged is named beside the setting that names its file.
    let changed = if code.is_some() { 1 } else { 2 };
    assert_eq!(report.changed.len(), changed, "{report:?}");
    assert_eq!(report.needs_restart.len(), 0, "{report:?}");
    assert_eq!(world.broker.stats().rights_lost, lost);
    if code.is_some() {
        for (way, one) in Way::all().zip(losing) {
            let ended = one.join().unwrap();
            assert_eq!(ended.code, code.filter(|_| way.has_close()), "{way:?}");
            let after = ended.ended.duration_since(begun);
            eprintln!("{shards} shards: {way:?} ended {after:?} after the reload began");
        }
    } else {
        assert!(losing.iter().all(|one| !one.is_finished()));
    }
    flow();

    is_over.store(true, Ordering::Relaxed);
    for visitor in visitors {
        assert!(visitor.join().unwrap() > 0);
    }
    let sent = load.stop();
    for (way, member) in Way::all().zip(keeping) {
        let reading = member.join().unwrap();
        assert_eq!(
            (reading.last, reading.code),
            (Some(sent - 1), None),
            "{way:?}"
        );
    }
}

#[test]
fn a_key_that_is_taken_out_ends_its_sessions_over_every_transport() {
    for shards in [1, 2] {
        reload_under_load(shards, Some(UNAUTHORIZED), |_, settings| {
            settings.keys = vec![key(KEEPS)]
        });
    }
}

#[test]
fn a_key_with_another_secret_ends_the_sessions_of_the_old_one_over_every_transport() {
    let other = || NamedKey::new(LOSES, "another secret").unwrap();
    reload_under_load(2, Some(UNAUTHORIZED), |_, settings| {
        settings.keys = vec![key(KEEPS), other()]
    });
}

#[test]
fn a_rule_that_is_taken_out_ends_its_sessions_over_every_transport() {
    for shards in [1, 2] {
        reload_under_load(shards, Some(FORBIDDEN), |_, settings| {
            settings.rules = vec![rule(KEEPS)]
        });
    }
}

#[test]
fn a_certificate_is_exchanged_and_no_session_ends_over_any_transport() {
    reload_under_load(2, None, |world, settings| {
        // Clients that come trust the authority, and not the certificate that they saw first.
        let pair = world.authority.localhost();
        settings.tls.cert = Some(pair.cert);
        settings.tls.key = Some(pair.key);
    });
}
