//! Reloads while messages flow and clients come: over every transport, those end that have lost their rights, and nobody else
//! notices.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mles::protocol::{Key, Keyring, Message};
use mles::{
    AccessRule, Broker, ListenerKind, NamePattern, NamedKey, Permissions, RuleHolder, Settings,
};

use crate::common::events::Events;
use crate::common::tls_proxy::{Authority, tunnel};
use crate::common::websocket::{BINARY, Got, TEXT, Ws, body, request};
use crate::common::{Client, settings, start, wait_until};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
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

/// A transport, and whether TLS is below it.
#[derive(Clone, Copy, Debug)]
enum Transport {
    Frames(bool),
    V1(bool),
    V2(bool),
    Events(bool),
}

impl Transport {
    const ALL: [Self; 8] = [
        Self::Frames(false),
        Self::Frames(true),
        Self::V1(false),
        Self::V1(true),
        Self::V2(false),
        Self::V2(true),
        Self::Events(false),
        Self::Events(true),
    ];
}

/// A broker that listens for everything.
struct World {
    broker: Broker,
    settings: Settings,
    authority: Authority,
    /// A way in over TLS, for clients that trust the first authority.
    tls: SocketAddr,
    tls_ws: SocketAddr,
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

fn address(broker: &Broker, wanted: ListenerKind) -> SocketAddr {
    let mut listeners = broker.listeners().iter();
    listeners.find(|(kind, _)| *kind == wanted).unwrap().1
}

/// With one shard all members are where their channel is; with two and this threshold, half of them are elsewhere.
fn world(shards: usize) -> World {
    let authority = Authority::new();
    let pair = authority.localhost();
    let mut settings = Settings {
        shards: Some(shards),
        spread_threshold: 1,
        keys: vec![key(LOSES), key(KEEPS)],
        rules: vec![rule(LOSES), rule(KEEPS)],
        ..settings()
    };
    settings.tls.listen = vec![ANY];
    settings.tls.cert = Some(pair.cert);
    settings.tls.key = Some(pair.key);
    settings.websocket.listen = vec![ANY];
    settings.websocket.tls_listen = vec![ANY];
    let broker = start(settings.clone());
    World {
        tls: tunnel(&authority, address(&broker, ListenerKind::MlesTls)),
        tls_ws: tunnel(&authority, address(&broker, ListenerKind::WebSocketTls)),
        broker,
        settings,
        authority,
    }
}

/// A member that reads.
enum Member {
    Frames(Client),
    V1(Ws),
    V2(Ws),
    Events(Events),
}

impl World {
    fn at(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Frames(true) => self.tls,
            Transport::Frames(false) => address(&self.broker, ListenerKind::Mles),
            Transport::V1(true) | Transport::V2(true) | Transport::Events(true) => self.tls_ws,
            _ => address(&self.broker, ListenerKind::WebSocket),
        }
    }

    /// Joins the channel with a key, and waits until the session is counted.
    fn join(&self, transport: Transport, name: &str, uid: &str) -> Member {
        let before = self.broker.stats().joined;
        let member = ask(self.at(transport), transport, name, uid);
        wait_until("it has joined", || self.broker.stats().joined > before);
        member
    }

    /// Has a member on each transport.
    fn members(&self, name: &str) -> Vec<(Transport, Member)> {
        let all = Transport::ALL.into_iter().enumerate();
        all.map(|(at, transport)| {
            (
                transport,
                self.join(transport, name, &format!("{name}-{at}")),
            )
        })
        .collect()
    }
}

fn ask(at: SocketAddr, transport: Transport, name: &str, uid: &str) -> Member {
    match transport {
        Transport::Frames(_) => {
            let keyring = Keyring::new(Some(secret(name)), None);
            Member::Frames(Client::join_with(&at, &keyring, uid, CHANNEL, b"", None))
        }
        Transport::V1(_) => {
            let mut ws = upgraded(at, name, uid);
            ws.send(BINARY, &body(uid, CHANNEL, b""));
            Member::V1(ws)
        }
        Transport::V2(_) => {
            let mut ws = upgraded(at, name, uid);
            let greeting = format!(r#"{{"uid":"{uid}","channel":"{CHANNEL}"}}"#);
            ws.send(TEXT, greeting.as_bytes());
            Member::V2(ws)
        }
        Transport::Events(_) => {
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
    /// The next message; `None` at the end of the session, which says why if it can.
    fn next(&mut self) -> Option<String> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let is_v1 = matches!(self, Self::V1(_));
        match self {
            Self::Frames(client) => {
                let received = client.try_receive(crate::common::PATIENCE).unwrap()?;
                Some(text(received.message))
            }
            Self::V1(ws) | Self::V2(ws) => match ws.next() {
                Got::Text(message) => Some(message),
                Got::Binary(body) if is_v1 => {
                    Some(text(Message::decode(&body).unwrap().message.into()))
                }
                Got::Binary(bytes) => Some(text(bytes)),
                Got::Close(code, _) => {
                    assert!([UNAUTHORIZED, FORBIDDEN].contains(&code), "{code}");
                    None
                }
                got => panic!("{got:?}"),
            },
            Self::Events(events) => loop {
                let event = events.try_next()?;
                if event.name == "message" {
                    break Some(event.data["text"].as_str().unwrap().to_owned());
                }
            },
        }
    }

    /// The next message that is a number, or the end of all.
    fn next_number(&mut self) -> Option<u64> {
        loop {
            let text = self.next()?;
            if !text.is_empty() {
                return text.parse().ok();
            }
        }
    }
}

/// Publishes numbers until it is told to stop, and `end` then.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Load {
    fn start(world: &World) -> Self {
        let Member::Frames(mut client) = world.join(Transport::Frames(false), KEEPS, "load") else {
            unreachable!("frames are asked for");
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut sent = 0;
            while !stopped.load(Ordering::Relaxed) {
                client.send(sent.to_string().as_bytes());
                sent += 1;
                // Members in other threads of a busy machine have to keep up.
                std::thread::sleep(Duration::from_micros(500));
            }
            client.send(b"end");
            // Its session must not end before everybody has got that.
            std::mem::forget(client);
            sent
        });
        Self { stop, thread }
    }

    /// Returns how many messages it has published.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Reads in a thread of its own: each number once and in order, up to the end of the session or of all. Returns the number that
/// came last, and when the end came.
fn read((transport, mut member): (Transport, Member)) -> JoinHandle<(Option<u64>, Instant)> {
    std::thread::spawn(move || {
        let mut last = None;
        while let Some(number) = member.next_number() {
            assert_eq!(
                number,
                last.map_or(number, |last| last + 1),
                "{transport:?}"
            );
            last = Some(number);
        }
        (last, Instant::now())
    })
}

/// A client over each transport comes and goes, until it is told to stop.
fn come_and_go(world: &World, is_over: &Arc<AtomicBool>) -> Vec<JoinHandle<u32>> {
    let all = Transport::ALL.into_iter().enumerate();
    all.map(|(at, transport)| {
        let (address, is_over) = (world.at(transport), is_over.clone());
        std::thread::spawn(move || {
            let mut visits = 0;
            while !is_over.load(Ordering::Relaxed) {
                let mut member = ask(address, transport, KEEPS, &format!("visitor-{at}-{visits}"));
                assert!(member.next().is_some(), "{transport:?}");
                visits += 1;
            }
            visits
        })
    })
    .collect()
}

/// Reloads while messages flow and clients come and go. Whoever joined with [`LOSES`] ends if `ends`, and nobody else does.
fn reload_under_load(shards: usize, ends: bool, change: impl Fn(&World, &mut Settings)) {
    let world = world(shards);
    let (losing, keeping) = (world.members(LOSES), world.members(KEEPS));
    let losing: Vec<_> = losing.into_iter().map(read).collect();
    let keeping: Vec<_> = keeping.into_iter().map(read).collect();
    let load = Load::start(&world);
    let is_over = Arc::new(AtomicBool::new(false));
    let visitors = come_and_go(&world, &is_over);
    let flow = |more| {
        let before = world.broker.stats();
        wait_until("messages flow and clients come", || {
            let now = world.broker.stats();
            now.frames_in > before.frames_in + more && now.joined > before.joined + 16
        });
    };
    flow(100);

    let mut settings = world.settings.clone();
    change(&world, &mut settings);
    let begun = Instant::now();
    let report = world.broker.reload(settings).unwrap();
    let lost = if ends { losing.len() as u64 } else { 0 };
    assert_eq!(report.sessions_ended, lost, "{report:?}");
    // A certificate that is exchanged is named beside the setting that names its file.
    let changed = if ends { 1 } else { 2 };
    assert_eq!(report.changed.len(), changed, "{report:?}");
    assert_eq!(report.needs_restart.len(), 0, "{report:?}");
    assert_eq!(world.broker.stats().rights_lost, lost);
    let mut ended = Vec::new();
    if ends {
        ended = losing.into_iter().map(|one| one.join().unwrap()).collect();
    } else {
        assert!(losing.iter().all(|one| !one.is_finished()));
    }
    let last = ended.iter().map(|(_, at)| at.duration_since(begun)).max();
    eprintln!("{shards} shards: the last session ended {last:?} after the reload began");
    flow(100);

    is_over.store(true, Ordering::Relaxed);
    for visitor in visitors {
        assert!(visitor.join().unwrap() > 0);
    }
    let sent = load.stop();
    for (transport, member) in Transport::ALL.into_iter().zip(keeping) {
        let (last, _) = member.join().unwrap();
        assert_eq!(last, Some(sent - 1), "{transport:?}");
    }
}

#[test]
fn a_key_that_is_taken_out_ends_its_sessions_over_every_transport() {
    for shards in [1, 2] {
        reload_under_load(shards, true, |_, settings| settings.keys = vec![key(KEEPS)]);
    }
}

#[test]
fn a_key_with_another_secret_ends_the_sessions_of_the_old_one_over_every_transport() {
    let other = || NamedKey::new(LOSES, "another secret").unwrap();
    reload_under_load(2, true, |_, settings| {
        settings.keys = vec![key(KEEPS), other()]
    });
}

#[test]
fn a_rule_that_is_taken_out_ends_its_sessions_over_every_transport() {
    for shards in [1, 2] {
        reload_under_load(shards, true, |_, settings| {
            settings.rules = vec![rule(KEEPS)]
        });
    }
}

#[test]
fn a_certificate_is_exchanged_and_no_session_ends_over_any_transport() {
    reload_under_load(2, false, |world, settings| {
        // Clients that come trust the authority, and not the certificate that they saw first.
        let pair = world.authority.localhost();
        settings.tls.cert = Some(pair.cert);
        settings.tls.key = Some(pair.key);
    });
}
