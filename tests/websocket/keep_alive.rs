//! Connections on which one request follows the other.

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

use mles::Broker;

use crate::common::http::Http;
use crate::common::websocket::{Got, TEXT, Ws, address, frame, hello, quiet, request};
use crate::common::{SILENCE, start, wait_until};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn connect(broker: &Broker) -> Http {
    Http::connect(address(broker))
}

#[test]
fn one_connection_serves_many_requests() {
    let broker = start(quiet());
    let mut http = connect(&broker);
    for (request, status) in [
        ("GET /", 200),
        ("GET /app.js", 200),
        ("GET /none", 404),
        ("POST /", 405),
        ("GET bad", 400),
    ] {
        let answer = http.ask(request, "");
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        assert!(!answer.body.is_empty(), "{request}");
        if status == 400 {
            assert_eq!(answer.header("connection"), Some("close"));
            http.assert_end();
        }
    }
    assert_eq!(broker.stats().accepted, 1);
    assert_eq!(broker.stats().refused, 1);
}

#[test]
fn the_client_may_close_after_any_response() {
    let broker = start(quiet());
    let mut asked = connect(&broker);
    assert_eq!(asked.ask("GET /", "").status, 200);
    assert_eq!(asked.ask("GET /", "Connection: close\r\n").status, 200);
    asked.assert_end();
    let mut old = connect(&broker);
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.answer().status, 200);
    old.assert_end();
    let mut half = connect(&broker);
    half.send(GET);
    half.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(half.answer().status, 200);
    half.assert_end();
    wait_until("all are gone", || broker.stats().connections == 0);
    assert_eq!(broker.stats().refused, 0);
}

#[test]
fn requests_may_follow_without_waiting_and_cut_anywhere() {
    let broker = start(quiet());
    let all = ["/", "/none", "/style.css", "/none"]
        .map(|path| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nCookie: a=b\r\n\r\n"))
        .concat();
    for size in [all.len(), 1, 7, 64] {
        let mut http = connect(&broker);
        for piece in all.as_bytes().chunks(size) {
            http.send(piece);
        }
        let statuses = [(); 4].map(|()| http.answer().status);
        assert_eq!(statuses, [200, 404, 200, 404], "in pieces of {size}");
    }
}

/// Proxies keep connections for whoever comes next.
#[test]
fn an_upgrade_may_follow_other_requests() {
    let broker = start(quiet());
    let mut bob = Ws::v2(&broker, "bob", "room");
    let mut http = connect(&broker);
    for _ in 0..3 {
        assert_eq!(http.ask("GET /", "").status, 200);
    }
    // With the greeting and a message right behind the request.
    let joined = broker.stats().joined;
    let greeting = frame(TEXT, hello("alice", "room").as_bytes());
    let early = [request("/", ""), greeting, frame(TEXT, b"at once")].concat();
    http.send(early);
    let mut alice = Ws::on(http.stream);
    let head = String::from_utf8(alice.head().unwrap()).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    wait_until("she has joined", || broker.stats().joined > joined);
    assert_eq!(bob.next(), Got::Text("at once".to_owned()));
    bob.send(TEXT, b"hello");
    assert_eq!(alice.next(), Got::Text("hello".to_owned()));
    // One that is refused ends the connection.
    let mut http = connect(&broker);
    assert_eq!(http.ask("GET /", "").status, 200);
    http.send(request("/", "Origin: http://evil.example\r\n"));
    assert_eq!(http.answer().status, 403);
    http.assert_end();
}

#[test]
fn who_waits_too_long_for_the_next_request_is_let_go() {
    let mut settings = quiet();
    settings.websocket.ping_timeout = Duration::from_millis(300);
    settings.websocket.ping_interval = Duration::from_millis(300);
    let broker = start(settings);
    let mut idle = connect(&broker);
    assert_eq!(idle.ask("GET /", "").status, 200);
    idle.assert_end();
    assert_eq!(broker.stats().refused, 0);
}

#[test]
fn a_later_request_has_to_come_in_time_as_well() {
    let mut settings = quiet();
    settings.limits.join_deadline = Duration::from_millis(300);
    let broker = start(settings);
    let mut slow = connect(&broker);
    assert_eq!(slow.ask("GET /", "").status, 200);
    slow.send(&GET[..20]);
    let answer = slow.answer();
    assert_eq!(
        (answer.status, answer.header("connection")),
        (408, Some("close"))
    );
    slow.assert_end();
    wait_until("it is counted", || broker.stats().refused == 1);
    // Who waits between two requests is not held to that, though somebody who comes later is by then.
    let mut patient = connect(&broker);
    assert_eq!(patient.ask("GET /", "").status, 200);
    let mut slow = connect(&broker);
    slow.send(&GET[..20]);
    assert_eq!(slow.answer().status, 408);
    assert_eq!(patient.ask("GET /", "").status, 200);
}

/// Who asks and takes no answers is let go.
#[test]
fn who_takes_no_response_is_let_go() {
    let mut settings = quiet();
    settings.limits.frame_deadline = Duration::from_millis(300);
    let broker = start(settings);
    let mut deaf = connect(&broker);
    let mut reader = connect(&broker);
    for http in [&mut deaf, &mut reader] {
        assert_eq!(http.ask("GET /", "").status, 200);
    }
    // The sockets on both sides are full long before that.
    let asking = std::thread::spawn(move || {
        // It fails if it is let go before.
        let _ = deaf.stream.write_all(GET.repeat(100_000).as_bytes());
        deaf
    });
    wait_until("it is let go", || broker.stats().connections == 1);
    drop(asking.join().unwrap());
    assert_eq!(reader.ask("GET /", "").status, 200);
}

#[test]
fn connections_that_wait_make_room_at_the_limit() {
    const MOST: u64 = 20;
    let mut settings = quiet();
    settings.limits.max_joining = usize::try_from(MOST).unwrap();
    let broker = start(settings);
    let mut waiting: Vec<_> = (0..MOST)
        .map(|_| {
            let mut http = connect(&broker);
            assert_eq!(http.ask("GET /", "").status, 200);
            http
        })
        .collect();
    // A newcomer is spared no place for the first quarter of a second of those that have one.
    std::thread::sleep(SILENCE * 2);
    let _late: Vec<_> = (0..5).map(|_| Ws::open(address(&broker))).collect();
    for http in &mut waiting[..5] {
        http.assert_end();
    }
    assert_eq!(waiting[5].ask("GET /", "").status, 200);
    assert_eq!(broker.stats().turned_away, 0);
}

/// A proxy's connections count for the client whose request is served, and for nobody between two requests.
#[test]
fn connections_of_a_proxy_count_for_the_client_of_the_moment() {
    let mut settings = quiet();
    settings.proxies.trusted = vec!["127.0.0.1".parse().unwrap()];
    settings.limits.max_connections_per_address = 1;
    let broker = start(settings);
    let mut pool: Vec<_> = (0..3).map(|_| connect(&broker)).collect();
    for _ in 0..3 {
        for http in &mut pool {
            let answer = http.ask("GET /", "X-Forwarded-For: 192.0.2.1\r\n");
            assert_eq!(answer.status, 200);
        }
    }
    let client = "X-Forwarded-For: 192.0.2.2\r\n";
    let _session = Ws::ask(address(&broker), &request("/", client)).unwrap();
    assert_eq!(pool[0].ask("GET /", client).status, 503);
    pool[0].assert_end();
    assert_eq!(broker.stats().turned_away, 1);
}

/// Heads of later requests take from the same memory as the first.
#[test]
fn long_heads_of_later_requests_are_bounded_and_given_back() {
    let mut settings = quiet();
    settings.shards = Some(1);
    settings.limits.max_frame = 64 << 10;
    settings.limits.partial_bytes = 0;
    let broker = start(settings);
    let cookie = format!("Cookie: a={}\r\n", "x".repeat(32 << 10));
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n");
    let mut begun: Vec<_> = (0..8).map(|_| connect(&broker)).collect();
    for http in &mut begun {
        assert_eq!(http.ask("GET /", "").status, 200);
        http.send(&long.as_bytes()[..long.len() - 1]);
    }
    wait_until("some are refused", || broker.stats().refused > 0);
    let refused = broker.stats().refused;
    let mut statuses: Vec<_> = begun
        .iter_mut()
        .map(|http| {
            // It fails for those that had to give way.
            let _ = http.stream.write_all(b"\n");
            http.answer().status
        })
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [200, 503], "{refused} refused");
    let mut http = connect(&broker);
    for _ in 0..20 {
        assert_eq!(http.ask("GET /", &cookie).status, 200);
    }
}

#[test]
fn a_later_request_may_not_be_longer_than_the_first() {
    let broker = start(quiet());
    let mut http = connect(&broker);
    assert_eq!(http.ask("GET /", "").status, 200);
    let long = format!("Cookie: a={}\r\n", "x".repeat(42 << 10));
    assert_eq!(http.ask("GET /", &long).status, 431);
    http.assert_end();
    let mut http = connect(&broker);
    assert_eq!(http.ask("GET /", "").status, 200);
    http.send("nonsense\r\n\r\n");
    assert_eq!(http.answer().status, 400);
    http.assert_end();
    wait_until("both are counted", || broker.stats().refused == 2);
}

#[test]
fn a_stop_ends_connections_that_wait() {
    let broker = start(quiet());
    let at: SocketAddr = address(&broker);
    let mut waiting: Vec<_> = (0..5).map(|_| Http::connect(at)).collect();
    for http in &mut waiting {
        assert_eq!(http.ask("GET /", "").status, 200);
    }
    let stopping = std::thread::spawn(move || broker.stop());
    waiting.iter_mut().for_each(Http::assert_end);
    stopping.join().unwrap().unwrap();
}
