//! Mles v2: a greeting in JSON, then text and binary as they are.

use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use mles::{Broker, WebSocketSettings};

use crate::common::websocket::{
    self, BINARY, FIN, Got, PONG, TEXT, Ws, address, body, frame, hello, quiet, settings,
};
use crate::common::{Client, SILENCE, is_timeout, reset, start, wait_until};

fn text(text: &str) -> Got {
    Got::Text(text.to_owned())
}

#[test]
fn text_and_binary_stay_what_they_are() {
    let broker = start(settings());
    let mut alice = Ws::v2(&broker, "alice", "room");
    let mut bob = Ws::v2(&broker, "bob", "room");
    let messages = [
        text("hi"),
        text(""),
        text("é€😀"),
        Got::Binary(b"ascii".to_vec()),
        Got::Binary(Vec::new()),
        Got::Binary("é€😀".into()),
        Got::Binary(b"\xFF\0".to_vec()),
        text(&"x".repeat(70_000)),
        Got::Binary(vec![7; 3 << 20]),
        text(r#"{"uid":"mallory","channel":"room"}"#),
    ];
    for message in &messages {
        match message {
            Got::Text(text) => alice.send(TEXT, text.as_bytes()),
            Got::Binary(bytes) => alice.send(BINARY, bytes),
            _ => unreachable!(),
        }
        assert!(bob.next() == *message);
    }
    alice.assert_silent();
    // The same from the history, with no hint of presence in between.
    let mut late = Ws::v2(&broker, "late", "room");
    for message in &messages {
        assert!(late.next() == *message);
    }
    late.assert_silent();
    bob.assert_silent();
}

#[test]
fn fragments_are_one_message_of_their_kind() {
    let broker = start(quiet());
    let mut alice = Ws::v2(&broker, "alice", "room");
    let mut bob = Ws::v2(&broker, "bob", "room");
    for first in [TEXT, BINARY] {
        // The character is cut.
        alice.send(first & !FIN, b"\xE2\x82");
        alice.send(0, b"\xAC");
        alice.send(FIN, b"!");
        let whole = if first == TEXT {
            text("€!")
        } else {
            Got::Binary("€!".into())
        };
        assert_eq!(bob.next(), whole);
    }
}

/// The two versions and TCP on one channel.
#[test]
fn the_versions_meet() {
    let broker = start(quiet());
    let mut v2 = Ws::v2(&broker, "new", "room");
    let mut tcp = Client::join_and_wait(&broker, "plain", "room");
    let mut v1 = Ws::v1(&broker, "old", "room");
    v2.send(TEXT, b"from v2");
    let got = tcp.receive_message();
    let names = (&*got.uid, &*got.channel, &got.message[..]);
    assert_eq!(names, ("new", "room", &b"from v2"[..]));
    assert_eq!(v1.payload(), b"from v2");
    v2.send(BINARY, b"in binary");
    assert_eq!(tcp.receive_message().message, b"in binary");
    assert_eq!(v1.payload(), b"in binary");
    // Of v1 it is text what can be.
    v1.send(BINARY, &body("old", "room", "é".as_bytes()));
    assert_eq!(v2.next(), text("é"));
    v1.send(BINARY, &body("old", "room", b"\xFF"));
    assert_eq!(v2.next(), Got::Binary(b"\xFF".to_vec()));
    tcp.send(b"tcp");
    assert_eq!(v2.next(), text("tcp"));
    v2.assert_silent();
}

/// A client that reads, and answers pings, in a thread.
struct Answering(std::thread::JoinHandle<Ws>, Sender<()>);

impl Answering {
    fn new(mut ws: Ws) -> Self {
        let (end, is_over) = channel();
        let answer = move || {
            while is_over.try_recv().is_err() {
                match ws.try_next(Duration::from_millis(20)) {
                    Ok(Some(Got::Ping(payload))) => ws.send(PONG, &payload),
                    Err(error) if is_timeout(&error) => {}
                    other => panic!("got {other:?}"),
                }
            }
            ws
        };
        Self(std::thread::spawn(answer), end)
    }

    /// The client, as it is now.
    fn end(self) -> Ws {
        self.1.send(()).unwrap();
        self.0.join().unwrap()
    }
}

/// Greets on a connection that the broker has accepted.
fn greeted(broker: &Broker, uid: &str) -> Ws {
    let mut ws = Ws::open(address(broker));
    ws.send(TEXT, hello(uid, "room").as_bytes());
    ws
}

#[test]
fn a_client_that_answers_keeps_its_place() {
    let broker = start(settings());
    let uids: Vec<_> = (0..20).map(|i| format!("alice {i}")).collect();
    let first = uids.iter().map(|uid| Ws::v2(&broker, uid, "room"));
    let first: Vec<_> = first.map(Answering::new).collect();
    let second: Vec<_> = uids.iter().map(|uid| greeted(&broker, uid)).collect();
    for mut second in second {
        second.assert_closed(4409);
    }
    let mut first: Vec<_> = first.into_iter().map(Answering::end).collect();
    for alice in &mut first {
        alice.send(TEXT, b"still here");
    }
    wait_until("all are", || broker.stats().frames_in == 20);
    assert_eq!(broker.stats().replaced, 0);
}

/// Both shards accept connections, and the channel is on one of them.
#[test]
fn a_client_that_is_back_before_its_old_session_ends_gets_its_place() {
    let broker = start(settings());
    let mut bob = Ws::v2(&broker, "bob", "room");
    for i in 0..8 {
        let uid = format!("alice {i}");
        let first = Ws::v2(&broker, &uid, "room");
        let mut second = greeted(&broker, &uid);
        let joined = broker.stats().joined;
        reset(first.stream);
        wait_until("it has its place", || broker.stats().joined > joined);
        second.send(TEXT, b"back");
        assert_eq!(bob.next(), text("back"));
    }
    assert_eq!(broker.stats().refused, 0);
}

/// The network is gone, or the client behind a proxy, whose kernel answers in its stead.
#[test]
fn a_client_that_does_not_answer_gives_way() {
    let broker = start(settings());
    let uids: Vec<_> = (0..8).map(|i| format!("alice {i}")).collect();
    let first = uids.iter().map(|uid| Ws::v2(&broker, uid, "room"));
    let first: Vec<_> = first.collect();
    let second: Vec<_> = uids.iter().map(|uid| greeted(&broker, uid)).collect();
    wait_until("the new ones are in", || broker.stats().joined == 16);
    assert_eq!((broker.stats().refused, broker.stats().replaced), (0, 8));
    for (mut first, mut second) in first.into_iter().zip(second) {
        second.send(TEXT, b"back");
        // It was pinged before.
        while !matches!(first.next(), Got::Close(4409, _)) {}
    }
}

/// Good text before the bad is delivered, and nothing of the bad one.
#[test]
fn text_that_is_not_utf8_reaches_nobody() {
    let broker = start(quiet());
    let mut bob = Ws::v2(&broker, "bob", "room");
    let mut plain = Client::join_and_wait(&broker, "plain", "room");
    let mut alice = Ws::v2(&broker, "alice", "room");
    let both = [
        frame(TEXT, b"good"),
        frame(TEXT, b"b\xFFad"),
        frame(TEXT, b"more"),
    ];
    alice.raw(&both.concat());
    alice.assert_closed(1007);
    assert_eq!(bob.next(), text("good"));
    assert_eq!(plain.text(), "good");
    plain.assert_silent();
    bob.assert_silent();
}

#[test]
fn a_second_session_of_a_uid_is_refused() {
    let broker = start(settings());
    // Both shards accept connections, and the channel is on one of them.
    for i in 0..8 {
        let uid = format!("alice {i}");
        let first = Answering::new(Ws::v2(&broker, &uid, "room"));
        let mut second = Ws::open(address(&broker));
        second.send(TEXT, hello(&uid, "room").as_bytes());
        second.assert_closed(4409);
        // Elsewhere it may be.
        let _other = Ws::v2(&broker, &uid, &format!("room {i}"));
        drop(first.end());
        wait_until("it may come back", || {
            let mut again = Ws::open(address(&broker));
            again.send(TEXT, hello(&uid, "room").as_bytes());
            match again.try_next(SILENCE) {
                Ok(Some(Got::Close(4409, _))) => false,
                Ok(other) => panic!("{other:?}"),
                Err(_) => true,
            }
        });
    }
}

#[test]
fn a_greeting_that_is_none_is_refused() {
    let mut settings = settings();
    settings.limits.max_uid = 10;
    settings.limits.max_channel_name = 10;
    let broker = start(settings);
    let deep = format!(r#"{{"uid":"a","channel":"b","x":{}"#, "[".repeat(3000));
    let deep_objects = format!(
        r#"{{"uid":"a","channel":"b","x":{}"#,
        r#"{"a":"#.repeat(600)
    );
    let huge = |n| format!(r#"{{"uid":"a","channel":"b","x":"{}"}}"#, "x".repeat(n));
    let long = "eleven char";
    let cases = [
        ("nothing", String::new(), 1008),
        ("no JSON", "hi".to_owned(), 1008),
        ("an array", r#"["a","b"]"#.to_owned(), 1008),
        ("half of it", hello("a", "b")[..10].to_owned(), 1008),
        ("no uid", r#"{"channel":"b"}"#.to_owned(), 1008),
        ("no channel", r#"{"uid":"a"}"#.to_owned(), 1008),
        (
            "twice",
            r#"{"uid":"a","uid":"a","channel":"b"}"#.to_owned(),
            1008,
        ),
        ("a number", r#"{"uid":1,"channel":"b"}"#.to_owned(), 1008),
        ("an empty uid", hello("", "b"), 1008),
        ("an empty channel", hello("a", ""), 1008),
        ("uid not ASCII", hello("é", "b"), 1008),
        ("channel not ASCII", hello("a", "\u{30ab}"), 1008),
        ("control characters", hello("a\\u0000", "b"), 1008),
        ("a long uid", hello(long, "b"), 1008),
        ("a long channel", hello("a", long), 1008),
        (
            "bad auth",
            r#"{"uid":"a","channel":"b","auth":"0x1"}"#.to_owned(),
            4401,
        ),
        ("deep arrays", deep, 1008),
        ("deep objects", deep_objects, 1008),
        ("huge strings", huge(13_000), 1009),
        ("very huge strings", huge(3 << 20), 1009),
    ];
    for (what, greeting, code) in cases {
        eprintln!("{what}");
        let mut ws = Ws::open(address(&broker));
        ws.send(TEXT, greeting.as_bytes());
        ws.assert_closed(code);
    }
    let mut ws = Ws::open(address(&broker));
    ws.send(TEXT, b"{\"uid\":\"\xFF\"}");
    ws.assert_closed(1007);
    wait_until("all are gone", || broker.stats().connections == 0);
    assert_eq!(broker.stats().channels, 0);
    wait_until("they are counted", || broker.stats().refused == 21);
    // A large greeting that is in order.
    let mut ws = Ws::open(address(&broker));
    ws.join(&broker, TEXT, huge(3000).as_bytes());
}

/// Who answers stays, however little it says; who does not goes, and not before its time.
#[test]
fn pings_find_who_is_gone() {
    let timeout = Duration::from_millis(900);
    let mut settings = quiet();
    settings.websocket = WebSocketSettings {
        ping_interval: Duration::from_millis(300),
        ping_timeout: timeout,
        ..settings.websocket
    };
    let broker = start(settings);
    let mut silent = Ws::v2(&broker, "silent", "room");
    let since = Instant::now();
    let mut live = Ws::v2(&broker, "live", "room");
    let mut pings = 0;
    while since.elapsed() < 3 * timeout {
        assert_eq!(live.next(), Got::Ping(Vec::new()));
        live.send(PONG, b"");
        pings += 1;
    }
    assert!(pings >= 5, "{pings}");
    assert_eq!(silent.next(), Got::Ping(Vec::new()));
    while silent
        .try_next(SILENCE)
        .is_ok_and(|got| got == Some(Got::Ping(Vec::new())))
    {}
    wait_until("it is gone", || broker.stats().connections == 1);
    live.send(TEXT, b"still here");
    live.assert_alive();
}

impl Ws {
    /// Asserts that a ping is answered, whatever comes before.
    fn assert_alive(&mut self) {
        self.send(websocket::PING, b"?");
        while self.next() != Got::Pong(b"?".to_vec()) {}
    }
}

/// Pings come when nothing else does.
#[test]
fn who_talks_is_not_pinged() {
    let mut settings = quiet();
    settings.websocket.ping_interval = Duration::from_millis(600);
    let broker = start(settings);
    let mut alice = Ws::v2(&broker, "alice", "room");
    let since = Instant::now();
    let mut slept = 0;
    while since.elapsed() < Duration::from_millis(1500) {
        let before = Instant::now();
        alice.send(TEXT, b"x");
        std::thread::sleep(Duration::from_millis(20));
        slept = slept.max(before.elapsed().as_millis());
    }
    if slept < 300 {
        assert!(alice.try_next(Duration::from_millis(1)).is_err());
    }
    assert_eq!(alice.next(), Got::Ping(Vec::new()));
}
