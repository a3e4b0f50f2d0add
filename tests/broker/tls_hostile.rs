//! Clients that do the TLS handshake badly, or not at all: they are told of in the counters, and
//! nobody else notices.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use mles::{Broker, ListenerKind, Settings, TlsSettings};
use tokio_rustls::rustls::ClientConnection;

use crate::common::bystanders::Bystanders;
use crate::common::tls_proxy::Authority;
use crate::common::{self, PATIENCE, Rng, reset, settings, wait_until};

const ANY: [SocketAddr; 1] = [SocketAddr::new(
    std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
    0,
)];

fn with_tls(authority: &Authority) -> Settings {
    let pair = authority.localhost();
    let mut settings = settings();
    settings.websocket.tls_listen = ANY.to_vec();
    settings.tls = TlsSettings {
        listen: ANY.to_vec(),
        cert: Some(pair.cert.clone()),
        key: Some(pair.key.clone()),
        client_ca: None,
    };
    settings
}

fn connect(broker: &Broker, wanted: ListenerKind) -> TcpStream {
    let mut listeners = broker.listeners().iter();
    let (_, address) = listeners.find(|(kind, _)| *kind == wanted).unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The client's side of a handshake, and the first thing that it says.
fn begin(authority: &Authority) -> (ClientConnection, Vec<u8>) {
    let config = authority.client().config().clone();
    let mut tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    (tls, hello)
}

/// Waits for the end of the connection, whatever the server says before.
fn assert_ends(mut stream: &TcpStream) {
    let ended = stream.read_to_end(&mut Vec::new());
    assert!(
        !ended.is_err_and(|error| common::is_timeout(&error)),
        "the connection is left open"
    );
}

const BOTH: [ListenerKind; 2] = [ListenerKind::MlesTls, ListenerKind::WebSocketTls];

#[test]
fn a_handshake_may_come_byte_by_byte() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority)).unwrap();
    let mut stream = connect(&broker, ListenerKind::MlesTls);
    let (mut tls, hello) = begin(&authority);
    for byte in hello.chunks(1) {
        stream.write_all(byte).unwrap();
    }
    while tls.is_handshaking() {
        assert_ne!(tls.read_tls(&mut stream).unwrap(), 0);
        tls.process_new_packets().unwrap();
        let mut answer = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut answer).unwrap();
        }
        for byte in answer.chunks(1) {
            stream.write_all(byte).unwrap();
        }
    }
    assert_eq!(tls.alpn_protocol(), Some(&b"mles"[..]));
    assert_eq!(broker.stats().refused, 0);
}

#[test]
fn one_that_stalls_is_closed_in_time() {
    let authority = Authority::new();
    let mut settings = with_tls(&authority);
    settings.limits.join_deadline = Duration::from_millis(200);
    let broker = Broker::start(settings).unwrap();
    let good = Bystanders::start(&broker);
    let before = broker.stats().refused;
    let (_, hello) = begin(&authority);
    for (count, (kind, sent)) in BOTH
        .iter()
        .flat_map(|&kind| [0, 1, 5, hello.len() / 2, hello.len()].map(|sent| (kind, sent)))
        .enumerate()
    {
        let mut stream = connect(&broker, kind);
        stream.write_all(&hello[..sent]).unwrap();
        assert_ends(&stream);
        let refused = before + count as u64 + 1;
        wait_until("it is counted", || broker.stats().refused == refused);
    }
    good.finish();
}

#[test]
fn one_that_leaves_inside_a_handshake_leaves_nothing_behind() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority)).unwrap();
    let good = Bystanders::start(&broker);
    let connections = broker.stats().connections;
    let (_, hello) = begin(&authority);
    let mut rng = Rng(7);
    for i in 0..200 {
        let mut stream = connect(&broker, BOTH[i % 2]);
        stream.write_all(&hello[..rng.below(hello.len())]).unwrap();
        if i % 3 == 0 {
            reset(stream);
        }
    }
    wait_until("all are gone", || broker.stats().connections == connections);
    good.finish();
}

#[test]
fn what_is_no_tls_is_refused_at_once() {
    let authority = Authority::new();
    let broker = Broker::start(with_tls(&authority)).unwrap();
    let good = Bystanders::start(&broker);
    let before = broker.stats().refused;
    // Plain Mles, HTTP, an alert, a record of a type that does not exist, and one that is too long.
    let inputs: [&[u8]; 5] = [
        b"M\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\xA0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x15\x03\x03\0\x02\x02\x28",
        b"\x7F\x03\x03\0\x02\0\0",
        b"\x16\x03\x03\xFF\xFF\x01\0\0\0",
    ];
    let mut count = 0;
    for kind in BOTH {
        for input in inputs {
            let mut stream = connect(&broker, kind);
            stream.write_all(input).unwrap();
            assert_ends(&stream);
            count += 1;
        }
    }
    wait_until("all are counted", || {
        broker.stats().refused == before + count
    });
    good.finish();
}

/// Handshakes that do not go on take no more places than there are for those who have not joined.
#[test]
fn stalled_handshakes_are_limited() {
    let authority = Authority::new();
    let mut settings = with_tls(&authority);
    settings.limits.max_joining = 20;
    settings.limits.join_deadline = Duration::from_secs(3600);
    let broker = Broker::start(settings).unwrap();
    let good = Bystanders::start(&broker);
    let (_, hello) = begin(&authority);
    let mut held = Vec::new();
    for i in 0..50 {
        let mut stream = connect(&broker, BOTH[i % 2]);
        // It may have made room already.
        let _ = stream.write_all(&hello[..hello.len() / 2]);
        held.push(stream);
    }
    wait_until("the others have made room", || {
        broker.stats().joining_evicted == 30
    });
    good.wait_for_rounds(5);
    drop(held);
    good.finish();
}

/// Each record costs as much to decrypt as a long one would. Nothing has proved yet that it may join.
#[test]
fn records_of_a_byte_are_read_in_bounded_turns() {
    const RECORDS: usize = 100_000;
    let authority = Authority::new();
    let mut settings = with_tls(&authority);
    settings.shards = Some(1);
    let broker = Broker::start(settings).unwrap();
    let good = Bystanders::start(&broker);
    let mut stream = connect(&broker, ListenerKind::MlesTls);
    let (mut tls, hello) = begin(&authority);
    tls.set_buffer_limit(None);
    stream.write_all(&hello).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    // The start of a frame that is not whole when the records end.
    let start = [b'M', 0x0F, 0xFF, 0xF0];
    let bytes = start.into_iter().chain(std::iter::repeat(0)).take(RECORDS);
    for byte in bytes {
        tls.writer().write_all(&[byte]).unwrap();
    }
    while tls.wants_write() {
        tls.write_tls(&mut stream).unwrap();
    }
    drop(stream);
    wait_until("the connection is over", || broker.stats().refused == 1);
    good.finish();
    let stats = broker.stats();
    assert!(stats.longest_turn <= 2 * 8192, "{stats}");
}
