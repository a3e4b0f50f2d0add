//! WebSocket inside of TLS: the same as without. Clients here go through a proxy that does the TLS.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mles::channel::SlowPolicy;
use mles::protocol::Message;
use mles::{Broker, ListenerKind, Settings};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsConnector;

use crate::common::events::Events;
use crate::common::http::Http;
use crate::common::websocket::{BINARY, CLOSE, Got, TEXT, Ws, body, close, hello, quiet};
use crate::common::{Client, LONG, start, wait_until};
use crate::events::EVENTS;

/// A broker with a certificate of its own, and where it can be had without TLS.
struct World {
    broker: Broker,
    at: SocketAddr,
    _files: TempDir,
}

impl World {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let files = TempDir::new().unwrap();
        let (cert, key) = (files.path().join("cert.pem"), files.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let mut settings = quiet();
        settings.websocket.listen.clear();
        settings.websocket.tls_listen = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
        settings.tls.cert = Some(cert.clone());
        settings.tls.key = Some(key);
        change(&mut settings);
        let broker = start(settings);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(cert).unwrap())
            .unwrap();
        let mut listeners = broker.listeners().iter();
        let secure = listeners.find(|(kind, _)| *kind == ListenerKind::WebSocketTls);
        let at = proxy(secure.unwrap().1, roots);
        Self {
            broker,
            at,
            _files: files,
        }
    }

    fn open(&self, first: u8, payload: &[u8]) -> Ws {
        let mut ws = Ws::open(self.at);
        ws.join(&self.broker, first, payload);
        ws
    }

    fn v1(&self, uid: &str) -> Ws {
        self.open(BINARY, &body(uid, "room", b""))
    }

    fn v2(&self, uid: &str) -> Ws {
        self.open(TEXT, hello(uid, "room").as_bytes())
    }
}

/// Passes connections on to `to`, over TLS.
fn proxy(to: SocketAddr, roots: RootCertStore) -> SocketAddr {
    over_tls(Ipv4Addr::LOCALHOST, to, roots)
}

/// Passes connections on to `to`, over TLS, from that address of this machine.
pub fn over_tls(source: Ipv4Addr, to: SocketAddr, roots: RootCertStore) -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let at = listener.local_addr().unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.unwrap();
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut near, _)) = listener.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move {
                    let far = TcpSocket::new_v4().unwrap();
                    far.bind((source, 0).into()).unwrap();
                    let far = far.connect(to).await.unwrap();
                    let name = ServerName::try_from("localhost").unwrap();
                    let mut far = connector.connect(name, far).await.unwrap();
                    // The test sees how it ends.
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
    });
    at
}

#[test]
fn both_versions_are_spoken() {
    let world = World::new(|_| {});
    let (mut v1, mut v2) = (world.v1("old"), world.v2("new"));
    let mut tcp = Client::join_and_wait(&world.broker, "plain", "room");
    for message in [b"hi".to_vec(), vec![b'x'; 20_000], vec![b'y'; 3 << 20]] {
        let text = Got::Text(String::from_utf8(message.clone()).unwrap());
        v1.send(BINARY, &body("old", "room", &message));
        assert!(v2.message() == text);
        assert!(tcp.receive_message().message == message);
        v2.send(TEXT, &message);
        assert!(v1.payload() == message);
        assert!(tcp.receive_message().message == message);
        tcp.send(&message);
        assert!(v1.payload() == message);
        assert!(v2.message() == text);
    }
    v1.send(CLOSE, &close(1000, ""));
    v1.assert_closed(1000);
    v2.raw(b"\xFF\xFF");
    v2.assert_closed(1002);
}

/// Event streams, on a new connection and on one that was used.
#[test]
fn events_are_streamed() {
    let world = World::new(|_| {});
    let mut used = Http::connect(world.at);
    assert_eq!(used.ask("GET /", "").status, 200);
    let mut streams = [
        Events::open(world.at, EVENTS, ""),
        Events::ask_on(used.stream, EVENTS, ""),
    ];
    let mut alice = world.v2("alice");
    for message in ["hi".to_owned(), "x".repeat(20_000), "y".repeat(3 << 20)] {
        alice.send(TEXT, message.as_bytes());
        for events in &mut streams {
            let event = match events.next() {
                welcome if welcome.name == "welcome" => events.next(),
                event => event,
            };
            assert!(event.data["text"] == message);
        }
    }
    drop(streams);
    wait_until("they are gone", || world.broker.stats().connections == 1);
}

/// Answers to pings that are not read for long: the last one comes although nothing else does.
#[test]
fn answers_that_are_read_late_come_to_the_last() {
    const MANY: u32 = 150_000;
    let world = World::new(|_| {});
    let mut ws = world.v2("alice");
    let payload = |i: u32| [&i.to_be_bytes()[..], &[b'p'; 100]].concat();
    ws.send_pings(MANY, payload);
    let mut next = 0;
    while next < MANY {
        let Got::Pong(pong) = ws.next() else {
            panic!("no pong");
        };
        let i = u32::from_be_bytes(*pong.first_chunk().unwrap());
        assert!(i >= next && pong == payload(i), "{i} behind {next}");
        next = i + 1;
    }
}

const SIZE: usize = 50_000;

fn message(i: usize) -> Vec<u8> {
    let mut message = format!("{i} ").into_bytes();
    message.resize(SIZE, b'.');
    message
}

/// Publishes to a channel what nobody reads, and waits until it is queued for `members`.
fn publish_unread(broker: &Broker, channel: &str, count: usize, members: usize) {
    let mut alice = Client::join_and_wait(broker, "alice", channel);
    let before = broker.stats().deliveries;
    for i in 0..count {
        alice.send(&message(i));
    }
    let goal = before + (members * count) as u64;
    wait_until("all is queued", || broker.stats().deliveries >= goal);
    alice.reset();
}

#[test]
fn a_stop_sends_everything_and_a_close() {
    const MANY: usize = 400;
    let world = World::new(|settings| settings.drain_deadline = LONG);
    let mut members = [
        world.v1("one"),
        world.v2("one"),
        world.v1("two"),
        world.v2("two"),
    ];
    publish_unread(&world.broker, "room", MANY, members.len());
    let World { broker, .. } = world;
    let stopping = std::thread::spawn(|| broker.stop().unwrap());
    for member in &mut members {
        for i in 0..MANY {
            match member.message() {
                Got::Binary(body) => {
                    assert!(Message::decode(&body).unwrap().message == message(i));
                }
                Got::Text(text) => assert!(text.into_bytes() == message(i)),
                got => panic!("{got:?}"),
            }
        }
        member.assert_closed(1001);
    }
    let stats = stopping.join().unwrap();
    assert_eq!((stats.dropped_frames, stats.slow_disconnects), (0, 0));
}

#[test]
fn members_on_one_connection_take_turns() {
    const EACH: usize = 1000;
    let world = World::new(|settings| {
        settings.channels.default.queue_bytes = 1 << 30;
    });
    let mut ws = Ws::open(world.at);
    for channel in ["one", "two"] {
        ws.join(&world.broker, BINARY, &body("slow", channel, b""));
        publish_unread(&world.broker, channel, EACH, 1);
    }
    let (mut turns, mut at, mut next) = (0, String::new(), [0, 0]);
    for _ in 0..2 * EACH {
        let Got::Binary(body) = ws.message() else {
            panic!("no body");
        };
        let got = Message::decode(&body).unwrap();
        let count = &mut next[usize::from(got.channel == "two")];
        assert!(got.message == message(*count));
        *count += 1;
        turns += usize::from(got.channel != at);
        at = got.channel.to_owned();
    }
    assert_eq!(next, [EACH; 2]);
    assert!(turns >= 8, "{turns} turns");
}

#[test]
fn slow_members_lose_whole_messages_only() {
    const MANY: usize = 1000;
    let world = World::new(|settings| {
        let channel = &mut settings.channels.default;
        channel.queue_bytes = 20 * SIZE;
        channel.slow_policy = SlowPolicy::DropOldest;
    });
    let mut slow = world.v2("slow");
    publish_unread(&world.broker, "room", MANY, 1);
    let (mut got, mut last) = (0, None);
    while last != Some(MANY - 1) {
        let Got::Text(text) = slow.message() else {
            panic!("no text");
        };
        let number = text.split(' ').next().unwrap().parse().unwrap();
        assert!(text.into_bytes() == message(number));
        assert!(last < Some(number), "{last:?} then {number}");
        (got, last) = (got + 1, Some(number));
    }
    assert!(got < MANY);
    let stats = world.broker.stats();
    assert_eq!(stats.dropped_frames, (MANY - got) as u64, "{stats}");
}
