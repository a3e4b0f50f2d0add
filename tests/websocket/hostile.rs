//! WebSocket clients that send what they should not, or next to nothing: they go, and good clients on
//! the same shard miss nothing.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use mles::{Broker, Settings};

use crate::common::bystanders::Bystanders;
use crate::common::websocket::{
    BINARY, CLOSE, FIN, Got, PING, TEXT, Ws, address, body, frame, hello, quiet, request,
};
use crate::common::{Client, Rng, reset, start, wait_until};

/// Connections of [`Bystanders`].
const GOOD: u64 = 4;

/// Everybody on one shard.
fn together() -> Settings {
    Settings {
        shards: Some(1),
        ..quiet()
    }
}

fn connect(broker: &Broker) -> TcpStream {
    Client::connect(&address(broker))
}

/// All that comes until the end of the stream, which must be in order.
fn read_all(stream: &mut TcpStream) -> String {
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all
}

/// One deadline for everything before the join, however it is spent.
#[test]
fn who_takes_too_long_is_let_go() {
    let mut settings = together();
    settings.limits.join_deadline = Duration::from_millis(400);
    let broker = start(settings);
    let good = Bystanders::start(&broker);
    let mut silent = connect(&broker);
    let mut inside = connect(&broker);
    inside.write_all(&request("/", "")[..40]).unwrap();
    for stream in [&mut silent, &mut inside] {
        assert!(read_all(stream).starts_with("HTTP/1.1 408 "));
    }
    // A byte now and then does not help.
    let mut slow = connect(&broker);
    let all = [&b"GET / HTTP/1.1\r\nX: "[..], &[b'x'; 4000]].concat();
    for byte in all.chunks(1) {
        if slow.write_all(byte).is_err() || broker.stats().refused >= 3 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    wait_until("it is refused", || broker.stats().refused >= 3);
    // Nor do pings behind the upgrade, nor half a message.
    let mut upgraded = Ws::open(address(&broker));
    upgraded.raw(&frame(BINARY, &body("alice", "room", b""))[..10]);
    upgraded.assert_closed(1008);
    let mut pinging = Ws::open(address(&broker));
    while pinging.stream.write_all(&frame(PING, b"")).is_ok() && broker.stats().refused < 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let close = loop {
        match pinging.next() {
            Got::Pong(_) => {}
            got => break got,
        }
    };
    assert!(matches!(close, Got::Close(1008, _)), "{close:?}");
    wait_until("all are gone", || broker.stats().connections == GOOD);
    good.finish();
}

#[test]
fn floods_of_headers_are_refused() {
    let broker = start(together());
    let good = Bystanders::start(&broker);
    let line = |n| format!("X-Filler: {}\r\n", "x".repeat(n));
    let floods = [
        request("/", &line(1).repeat(100)),
        request("/", &line(42_000)),
        request("/", &line(1000).repeat(45)),
        request(&format!("/{}", "x".repeat(42_000)), ""),
        [&b"GET / HTTP/1.1\r\n"[..], &[b'x'; 1 << 20]].concat(),
    ];
    for flood in floods {
        let mut stream = connect(&broker);
        // It fails when the broker does not wait for the rest.
        let _ = stream.write_all(&flood);
        let answer = read_all(&mut stream);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    good.finish();
}

#[test]
fn what_is_no_request_is_refused() {
    let broker = start(together());
    let good = Bystanders::start(&broker);
    let tcp = Client::on(
        connect(&broker),
        &mles::protocol::Keyring::default(),
        "a",
        "b",
        None,
    );
    for bytes in [
        &tcp.frame(b"hello")[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
        b"GET ftp://elsewhere/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = connect(&broker);
        stream.write_all(bytes).unwrap();
        // What was refused may be over by now.
        let _ = stream.shutdown(Shutdown::Write);
        let answer = read_all(&mut stream);
        let code: u16 = answer["HTTP/1.1 ".len()..][..3].parse().unwrap();
        assert!((400..600).contains(&code), "{answer}");
    }
    good.finish();
}

/// Half-open handshakes at the limit: those who are served do not notice, and when they are gone
/// there is room again.
#[test]
fn half_open_handshakes_are_limited() {
    const MOST: u64 = 50;
    let mut settings = together();
    settings.limits.max_joining = usize::try_from(MOST).unwrap();
    let broker = start(settings);
    let good = Bystanders::start(&broker);
    let mut member = Ws::v2(&broker, "member", "room");
    let half_open: Vec<_> = (0..3 * MOST)
        .map(|i| {
            let mut stream = connect(&broker);
            // It may have made room already.
            let _ = stream.write_all(match i % 3 {
                0 => b"",
                1 => b"GET / HT",
                _ => b"GET / HTTP/1.1\r\nHost: localhost\r\n",
            });
            stream
        })
        .collect();
    wait_until("the rest has made room", || {
        broker.stats().joining_evicted == 2 * MOST
    });
    assert_eq!(broker.stats().connections, GOOD + 1 + MOST);
    good.wait_for_rounds(10);
    member.send(PING, b"?");
    assert_eq!(member.next(), Got::Pong(b"?".to_vec()));
    half_open.into_iter().for_each(reset);
    wait_until("they are gone", || broker.stats().connections == GOOD + 1);
    let _late = Ws::v2(&broker, "late", "room");
    good.finish();
}

/// What has ended and waits for its client to take the end makes room for others.
#[test]
fn sessions_that_have_ended_make_room() {
    const MOST: u64 = 10;
    let mut settings = quiet();
    settings.limits.max_connections = usize::try_from(MOST).unwrap();
    let broker = start(settings);
    for round in 1..=3 {
        let mut ended: Vec<_> = (0..MOST)
            .map(|i| Ws::v2(&broker, &format!("member {round} {i}"), "room"))
            .collect();
        for session in &mut ended {
            session.send(CLOSE, b"");
        }
        wait_until("they have ended", || {
            broker.stats().left == round * (MOST + 1) - 1
        });
        let late = Ws::v2(&broker, &format!("late {round}"), "room");
        assert_eq!(broker.stats().turned_away, 0);
        drop((ended, late));
        wait_until("all are gone", || broker.stats().connections == 0);
    }
}

/// Connections that were upgraded and do not join make room for others.
#[test]
fn sessions_that_do_not_join_make_room() {
    const MOST: u64 = 20;
    let mut settings = quiet();
    settings.limits.max_joining = usize::try_from(MOST).unwrap();
    let broker = start(settings);
    let mut silent: Vec<_> = (0..2 * MOST).map(|_| Ws::open(address(&broker))).collect();
    let _late = Ws::v2(&broker, "late", "room");
    let reason = silent[0].assert_closed(1013);
    assert!(reason.contains("limit"), "{reason}");
    assert_eq!(broker.stats().turned_away, 0);
}

/// Small limits on what may be incomplete.
fn tight() -> Settings {
    let mut settings = together();
    settings.limits.max_frame = 1 << 20;
    settings.limits.partial_bytes = 8 << 20;
    settings
}

/// Fragments that do not end, of members: some are over the limit, and what they held is free when
/// they are gone.
#[test]
fn floods_of_fragments_are_bounded_and_given_back() {
    let broker = start(tight());
    for round in 1..=3 {
        let mut members: Vec<_> = (0..12)
            .map(|i| Ws::v2(&broker, &format!("member {i}"), "room"))
            .collect();
        for member in &mut members {
            for i in 0..9 {
                let first = if i == 0 { BINARY & !FIN } else { 0 };
                // It fails for those that are over the limit.
                let _ = member.stream.write_all(&frame(first, &[0; 100_000]));
            }
        }
        wait_until("some are over the limit", || {
            broker.stats().partials_evicted >= round
        });
        members.retain_mut(|member| match member.try_next(Duration::from_millis(300)) {
            Ok(Some(Got::Close(code, reason))) => {
                assert_eq!(code, 1013, "{reason}");
                false
            }
            Ok(got) => panic!("{got:?}"),
            Err(_) => true,
        });
        assert!((1..12).contains(&members.len()), "{}", members.len());
        drop(members);
        wait_until("all are gone", || broker.stats().connections == 0);
        assert_passes_large(&broker);
    }
}

/// A first message that never ends, by clients that are then refused for something else.
#[test]
fn refused_joins_give_their_memory_back() {
    let broker = start(tight());
    for i in 0..30 {
        let mut ws = Ws::open(address(&broker));
        ws.send(BINARY & !FIN, &[0; 500_000]);
        ws.send(0, &[0; 400_000]);
        match i % 3 {
            0 => ws.send(TEXT, b"inside"),
            1 => ws.raw(b"\xF1\x80"),
            _ => ws.send(FIN, b""),
        }
        ws.assert_closed([1002, 1002, 1007][i % 3]);
    }
    wait_until("all are gone", || broker.stats().connections == 0);
    assert_passes_large(&broker);
}

/// Asserts that there is room for the largest messages, of a join and of a member.
fn assert_passes_large(broker: &Broker) {
    let mut bob = Client::join_and_wait(broker, "bob", "room");
    let mut alice = Ws::open(address(broker));
    for _ in 0..3 {
        let large = body("alice", "room", &[b'y'; 1_000_000]);
        alice.send(BINARY & !FIN, &large[..600_000]);
        alice.send(FIN, &large[600_000..]);
        assert_eq!(bob.receive_message().message.len(), 1_000_000);
    }
    bob.reset();
    drop(alice);
    wait_until("all are gone", || broker.stats().connections == 0);
}

/// Messages of a byte or none, with a long name, and pings that are all answered.
#[test]
fn floods_of_small_frames_do_not_hold_others_up() {
    let broker = start(together());
    let good = Bystanders::start(&broker);
    let mut flood = Ws::open(address(&broker));
    let uid = "x".repeat(500);
    flood.join(&broker, TEXT, hello(&uid, "room").as_bytes());
    let mut reader = Ws::v2(&broker, "reader", "room");
    let messages = frame(TEXT, b"").repeat(20_000);
    flood.raw(&messages);
    for _ in 0..20_000 {
        assert_eq!(reader.next(), Got::Text(String::new()));
    }
    let (mut pinging, pings) = (flood.stream.try_clone().unwrap(), frame(PING, b"?"));
    let sending = std::thread::spawn(move || pinging.write_all(&pings.repeat(20_000)).unwrap());
    good.wait_for_rounds(10);
    sending.join().unwrap();
    let fragments = [&frame(TEXT & !FIN, b"a")[..], &frame(0, b"").repeat(20_000)].concat();
    let sending = std::thread::spawn(move || {
        flood.raw(&fragments);
        flood.send(FIN, b"b");
        flood
    });
    assert_eq!(reader.next(), Got::Text("ab".to_owned()));
    drop(sending.join().unwrap());
    good.finish();
}

/// Pings whose answers are not read for long: those that come are whole, in order, and the last one
/// is among them.
#[test]
fn answers_that_are_read_late_are_whole() {
    const MANY: u32 = 150_000;
    let broker = start(together());
    let mut ws = Ws::v2(&broker, "alice", "room");
    let payload = |i: u32| [&i.to_be_bytes()[..], &[b'p'; 100]].concat();
    ws.send_pings(MANY, payload);
    let (mut next, mut got) = (0, 0);
    while next < MANY {
        match ws.next() {
            Got::Pong(pong) => {
                let i = u32::from_be_bytes(*pong.first_chunk().unwrap());
                assert!(i >= next && pong == payload(i), "{i} behind {next}");
                (next, got) = (i + 1, got + 1);
            }
            got => panic!("{got:?}"),
        }
    }
    assert!(got < MANY, "the socket was never full");
}

fn any_byte(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(256)).unwrap()
}

/// Bytes that mean nothing, behind an upgrade and behind a join.
#[test]
fn random_bytes_harm_nobody() {
    let mut rng = Rng::seeded();
    let broker = start(together());
    let good = Bystanders::start(&broker);
    for i in 0..600 {
        let mut ws = Ws::open(address(&broker));
        if i % 2 == 0 {
            ws.send(TEXT, hello(&format!("client {i}"), "room").as_bytes());
        }
        let mut bytes = Vec::new();
        while bytes.len() < 300 {
            let noise: Vec<u8> = (0..rng.below(40)).map(|_| any_byte(&mut rng)).collect();
            match rng.below(3) {
                0 => bytes.extend(noise),
                1 => bytes.extend(frame([TEXT, BINARY, 0, PING][rng.below(4)], &noise)),
                _ => bytes.extend(frame(any_byte(&mut rng), &noise)),
            }
        }
        // It fails when the broker has seen enough.
        let _ = ws.stream.write_all(&bytes);
        reset(ws.stream);
    }
    wait_until("all are gone", || broker.stats().connections == GOOD);
    wait_until("so are their channels", || broker.stats().channels == 1);
    good.finish();
}

/// A byte now and then is no progress, whether in a frame or in fragments.
#[test]
fn a_message_that_does_not_go_on_is_ended() {
    let mut settings = together();
    settings.limits.frame_deadline = Duration::from_millis(300);
    let broker = start(settings);
    let mut bystander = Ws::v2(&broker, "bystander", "room");
    let whole = frame(BINARY, &[7; 1000]);
    let part = whole[..100].to_vec();
    let fragment = frame(BINARY & !FIN, b"begun");
    for (n, (begun, more)) in [(part, vec![0]), (fragment, frame(0, b"."))]
        .into_iter()
        .enumerate()
    {
        let mut slow = Ws::v2(&broker, &format!("slow {n}"), "room");
        slow.raw(&begun);
        wait_until("it is ended", || {
            // It fails when it is ended.
            let _ = slow.stream.write_all(&more);
            broker.stats().frames_overdue > n as u64
        });
    }
    // Who has nothing unfinished has all the time there is.
    let mut alice = Ws::v2(&broker, "alice", "room");
    alice.send(TEXT, b"hello");
    assert_eq!(bystander.next(), Got::Text("hello".to_owned()));
}
