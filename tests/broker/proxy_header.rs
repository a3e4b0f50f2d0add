//! Clients behind proxies that speak the PROXY protocol.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use mles::protocol::Keyring;
use mles::{Broker, ListenerKind, Settings};
use tokio::io::AsyncWriteExt as _;

use crate::common::tls_proxy::Authority;
use crate::common::websocket::{BINARY, Ws, body, request};
use crate::common::{Client, settings, start, wait_until};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const ALL: [ListenerKind; 4] = [
    ListenerKind::Mles,
    ListenerKind::MlesTls,
    ListenerKind::WebSocket,
    ListenerKind::WebSocketTls,
];

fn trusting(network: &str) -> Settings {
    let mut settings = settings();
    settings.proxies.trusted = vec![network.parse().unwrap()];
    settings.proxies.protocol = ALL.to_vec();
    settings.websocket.listen = vec![ANY];
    settings
}

fn address_of(broker: &Broker, wanted: ListenerKind) -> SocketAddr {
    let found = broker.listeners().iter().find(|(kind, _)| *kind == wanted);
    found.unwrap().1
}

/// A header of version 1.
fn text(client: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { 4 } else { 6 };
    let (ip, port) = (client.ip(), client.port());
    format!("PROXY TCP{family} {ip} {ip} {port} 80\r\n").into_bytes()
}

/// A header of version 2, with something behind the addresses.
fn binary(command: u8, client: SocketAddr) -> Vec<u8> {
    let (family, ip) = match client.ip() {
        std::net::IpAddr::V4(ip) => (0x11, ip.octets().to_vec()),
        std::net::IpAddr::V6(ip) => (0x21, ip.octets().to_vec()),
    };
    let ports = [client.port().to_be_bytes(), [0, 80]].concat();
    let more = [4, 0, 3, 0, 0, 0];
    let body = [&ip[..], &ip, &ports, &more].concat();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family, 0, u8::try_from(body.len()).unwrap()]);
    header.extend(body);
    header
}

/// A session that comes with `header`, with a key made of the address that it names. It has sent its
/// join frame.
fn join(broker: &Broker, header: &[u8], client: SocketAddr, uid: &str) -> Client {
    let mut stream = Client::connect(broker);
    stream.write_all(header).unwrap();
    let mut session = Client::on(stream, &Keyring::default(), uid, "room", None);
    session.key = Keyring::default().session_key(client, uid, "room");
    session.cid = session.key.cid();
    session.send(b"");
    session
}

#[test]
fn the_address_in_the_header_is_the_clients() {
    let broker = start(trusting("127.0.0.1"));
    let clients: [SocketAddr; 2] = [
        "192.0.2.1:4711".parse().unwrap(),
        "[2001:db8::1]:4712".parse().unwrap(),
    ];
    for (i, client) in clients.into_iter().enumerate() {
        for (j, header) in [text(client), binary(1, client)].into_iter().enumerate() {
            let joined = broker.stats().joined;
            // Address keys are made of it.
            let session = join(&broker, &header, client, &format!("{i}{j}"));
            wait_until("it has joined", || broker.stats().joined > joined);
            session.reset();
        }
    }
    assert_eq!(broker.stats().refused, 0);
}

/// All in one segment, and byte by byte.
#[test]
fn what_follows_the_header_is_not_lost() {
    let broker = start(trusting("127.0.0.1"));
    let client: SocketAddr = "192.0.2.1:4711".parse().unwrap();
    for (i, header) in [text(client), binary(1, client)].into_iter().enumerate() {
        for in_bytes in [false, true] {
            let joined = broker.stats().joined;
            let stream = Client::connect(&broker);
            let uid = format!("{i}{in_bytes}");
            let mut session = Client::on(stream, &Keyring::default(), &uid, "room", None);
            session.key = Keyring::default().session_key(client, &uid, "room");
            session.cid = session.key.cid();
            let all = [&header[..], &session.frame(b"hello")].concat();
            let size = if in_bytes { 1 } else { all.len() };
            for piece in all.chunks(size) {
                session.stream.write_all(piece).unwrap();
            }
            wait_until("it has joined", || broker.stats().joined > joined);
            session.reset();
        }
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_keeps_its_address() {
    let broker = start(trusting("127.0.0.1"));
    let other = "192.0.2.1:1".parse().unwrap();
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), binary(0, other)] {
        let joined = broker.stats().joined;
        let mut stream = Client::connect(&broker);
        stream.write_all(&header).unwrap();
        let mut session = Client::on(stream, &Keyring::default(), "proxy", "room", None);
        session.send(b"");
        wait_until("it has joined", || broker.stats().joined > joined);
        session.reset();
        wait_until("it has gone", || broker.stats().connections == 0);
    }
}

#[test]
fn limits_are_for_clients_and_not_for_their_proxy() {
    let mut settings = trusting("127.0.0.1");
    settings.limits.max_connections_per_address = 2;
    let broker = start(settings);
    let client = |host: u8, port: u16| SocketAddr::from(([192, 0, 2, host], port));
    let mut sessions = Vec::new();
    for i in 1..=10 {
        let joined = broker.stats().joined;
        let client = client(i, 1);
        sessions.push(join(&broker, &text(client), client, &format!("{i}")));
        wait_until("it has joined", || broker.stats().joined > joined);
    }
    let second = client(1, 2);
    let joined = broker.stats().joined;
    sessions.push(join(&broker, &text(second), second, "second"));
    wait_until("it has joined", || broker.stats().joined > joined);
    let third = client(1, 3);
    join(&broker, &text(third), third, "third").assert_closed();
    wait_until("it is turned away", || broker.stats().turned_away == 1);
    // IPv6 counts by network, as always.
    for (host, is_in) in [(1, true), (2, true), (3, false)] {
        let joined = broker.stats().joined;
        let client: SocketAddr = format!("[2001:db8::{host}]:9").parse().unwrap();
        let mut session = join(&broker, &text(client), client, &format!("v6 {host}"));
        if is_in {
            wait_until("it has joined", || broker.stats().joined > joined);
        } else {
            session.assert_closed();
        }
        sessions.push(session);
    }
    sessions.into_iter().for_each(Client::reset);
    wait_until("all have gone", || broker.stats().connections == 0);
    // Nothing is left of them in the counts.
    let mut late = Vec::new();
    for port in [5, 6] {
        let joined = broker.stats().joined;
        let client = client(1, port);
        let session = join(&broker, &text(client), client, &format!("late {port}"));
        wait_until("it has joined", || broker.stats().joined > joined);
        late.push(session);
    }
}

#[test]
fn who_should_send_a_header_and_does_not_is_refused() {
    let broker = start(trusting("127.0.0.1"));
    let mut without = Client::join(&broker, "without", "room");
    without.assert_closed();
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"PROXY nonsense\r\n",
        b"PROXY TCP4",
    ] {
        let mut stream = TcpStream::connect(address_of(&broker, ListenerKind::WebSocket)).unwrap();
        stream.write_all(bytes).unwrap();
        drop(stream);
    }
    wait_until("all are refused", || broker.stats().refused == 4);
    assert_eq!(broker.stats().joined, 0);
}

#[test]
fn who_should_not_send_a_header_and_does_is_refused() {
    let authority = Authority::new();
    let pair = authority.localhost();
    let mut settings = trusting("10.0.0.0/8");
    settings.websocket.tls_listen = vec![ANY];
    settings.tls.listen = vec![ANY];
    settings.tls.cert = Some(pair.cert.clone());
    settings.tls.key = Some(pair.key.clone());
    let broker = start(settings);
    let client = "192.0.2.1:1".parse().unwrap();
    let mut refused = 0;
    for kind in ALL {
        for header in [text(client), binary(1, client)] {
            let mut stream = TcpStream::connect(address_of(&broker, kind)).unwrap();
            stream.write_all(&header).unwrap();
            refused += 1;
            wait_until("it is refused", || broker.stats().refused == refused);
        }
    }
    // Without one they are clients as always.
    let session = Client::join_and_wait(&broker, "client", "room");
    drop(session);
}

#[test]
fn a_header_comes_before_websocket_and_tls() {
    let authority = Authority::new();
    let pair = authority.localhost();
    let mut settings = trusting("127.0.0.1");
    settings.tls.listen = vec![ANY];
    settings.tls.cert = Some(pair.cert.clone());
    settings.tls.key = Some(pair.key.clone());
    let broker = start(settings);
    let client: SocketAddr = "192.0.2.1:4711".parse().unwrap();

    let mut stream = TcpStream::connect(address_of(&broker, ListenerKind::WebSocket)).unwrap();
    stream.write_all(&binary(1, client)).unwrap();
    let mut ws = Ws::ask_on(stream, &request("/", "")).unwrap();
    ws.join(&broker, BINARY, &body("web", "room", b""));

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let at = address_of(&broker, ListenerKind::MlesTls);
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        stream.write_all(&text(client)).await.unwrap();
        let mut stream = authority
            .client()
            .connect("localhost", stream)
            .await
            .unwrap();
        let probe = Client::connect(&broker);
        let mut session = Client::on(probe, &Keyring::default(), "tls", "room", None);
        session.key = Keyring::default().session_key(client, "tls", "room");
        session.cid = session.key.cid();
        let joined = broker.stats().joined;
        stream.write_all(&session.frame(b"")).await.unwrap();
        stream.flush().await.unwrap();
        wait_until("it has joined", || broker.stats().joined > joined);
    });
}

/// `X-Forwarded-For` counts on listeners for WebSocket without a header before it.
#[test]
fn forwarded_clients_are_limited_by_their_own_addresses() {
    let mut settings = trusting("127.0.0.1");
    settings.proxies.protocol.clear();
    settings.limits.max_connections_per_address = 1;
    let broker = start(settings);
    let at = address_of(&broker, ListenerKind::WebSocket);
    let ask = |forwarded: &str| {
        let header = format!("X-Forwarded-For: {forwarded}\r\n");
        Ws::ask(at, &request("/", &header))
    };
    let one = ask("192.0.2.1").unwrap();
    let _two = ask("192.0.2.1, 192.0.2.2").unwrap();
    let refused = ask("192.0.2.2, 192.0.2.1").unwrap_err();
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    wait_until("it is counted", || broker.stats().turned_away == 1);
    drop(one);
    wait_until("it has gone", || broker.stats().connections == 1);
    ask("192.0.2.1").unwrap();
}
