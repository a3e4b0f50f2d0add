//! Who is in a channel, over HTTP.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use mles::Broker;
use mles::protocol::{Key, Keyring};

use crate::api::{connect, json_of};
use crate::common::http::Http;
use crate::common::websocket::{BINARY, Ws, address, body, quiet, settings};
use crate::common::{Client, Rng, reset, start, wait_until};

const MEMBERS: &str = "/channels/room/members";

/// The number of members, and the uids in order.
fn list(http: &mut Http, channel: &str, query: &str) -> (u64, Vec<String>) {
    let answer = http.ask(&format!("GET /channels/{channel}/members{query}"), "");
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = json_of(&answer);
    let uids = answer["uids"].as_array().unwrap().iter();
    let mut uids: Vec<_> = uids.map(|uid| uid.as_str().unwrap().to_owned()).collect();
    uids.sort();
    (answer["count"].as_u64().unwrap(), uids)
}

/// Waits until these are the members of `room`.
fn expect(broker: &Broker, expected: &[&str]) {
    let (mut http, mut last) = (connect(broker), (0, Vec::new()));
    let expected: Vec<_> = expected.iter().map(|uid| uid.to_string()).collect();
    wait_until(&format!("{expected:?} are there"), || {
        let listed = list(&mut http, "room", "");
        if listed != last {
            eprintln!("{listed:?}");
            last = listed.clone();
        }
        listed == (expected.len() as u64, expected.clone())
    });
}

#[test]
fn members_are_listed_whatever_they_speak() {
    let broker = start(settings());
    let mut plain = Client::join_and_wait(&broker, "böb", "room");
    let v1 = Ws::v1(&broker, "carol", "room");
    let _v2 = Ws::v2(&broker, "dave", "room");
    let _elsewhere = Ws::v2(&broker, "elsewhere", "other");
    let all = ["böb", "carol", "dave"];
    expect(&broker, &all);
    // One of its own each, if it is asked for by the same name twice.
    let twin = Ws::v1(&broker, "carol", "room");
    expect(&broker, &["böb", "carol", "carol", "dave"]);
    drop(twin);
    // A client that has closed its sending side still receives.
    plain.finish();
    wait_until("it is half-closed", || broker.stats().half_closed == 1);
    expect(&broker, &all);
    drop(v1);
    expect(&broker, &["böb", "dave"]);
    plain.reset();
    expect(&broker, &["dave"]);
}

#[test]
fn a_limit_bounds_the_names_and_not_the_count() {
    let mut settings = quiet();
    settings.limits.max_uid = 64 << 10;
    let broker = start(settings);
    let members: Vec<_> = (0..8)
        .map(|i| Client::join_and_wait(&broker, &format!("{i}{}", "x".repeat(60_000)), "room"))
        .collect();
    let mut http = connect(&broker);
    for (query, names) in [("?limit=0", 0), ("?limit=1", 1), ("?limit=3", 3)] {
        let (count, uids) = list(&mut http, "room", query);
        assert_eq!((count, uids.len()), (8, names), "{query}");
    }
    // 256 KiB of names are there in any case.
    let (count, uids) = list(&mut http, "room", "?limit=1000");
    assert_eq!((count, uids.len()), (8, 5));
    drop(members);
    http.send("HEAD /channels/none/members HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(http.head().status, 200);
}

#[test]
fn a_channel_that_nobody_has_stays_closed() {
    let broker = start(settings());
    let mut http = connect(&broker);
    assert_eq!(list(&mut http, "room", ""), (0, vec![]));
    assert_eq!(broker.stats().channels, 0);
    let member = Client::join_and_wait(&broker, "bob", "room");
    expect(&broker, &["bob"]);
    member.reset();
    expect(&broker, &[]);
    wait_until("it is closed", || broker.stats().channels == 0);
}

#[test]
fn servers_below_are_no_members() {
    for is_known_before in [false, true] {
        let root = start(settings());
        let _above = Client::join_and_wait(&root, "above", "room");
        if is_known_before {
            expect(&root, &["above"]);
        }
        let mut settings = settings();
        settings.peer.upstreams = vec![root.local_addrs()[0].to_string().parse().unwrap()];
        let peer = start(settings);
        let _below = Client::join_and_wait(&peer, "below", "room");
        wait_until("the link is up", || root.stats().resyncs == 1);
        expect(&root, &["above"]);
        expect(&peer, &["below"]);
        peer.stop().unwrap();
        wait_until("the link is gone", || root.stats().left == 1);
        expect(&root, &["above"]);
    }
}

#[test]
fn what_is_wrong_is_told_as_a_problem() {
    let broker = start(settings());
    let mut http = connect(&broker);
    for (request, status) in [
        ("GET /channels//members", 404),
        ("GET /channels/room/members/", 404),
        ("GET /channels/room/member", 404),
        ("GET /channels/%FF/members", 400),
        ("GET /channels/room/members?limit=1001", 400),
        ("GET /channels/room/members?limit=-1", 400),
        ("GET /channels/room/members?limit=", 400),
        ("GET /channels/room/members?uid=", 400),
        ("POST /channels/room/members", 405),
        ("DELETE /channels/room/members", 405),
    ] {
        let answer = http.ask(request, "");
        assert_eq!(answer.status, status, "{request}: {answer:?}");
        json_of(&answer);
        let allow = (status == 405).then_some("get, head, options");
        assert_eq!(answer.header("allow"), allow);
    }
    assert_eq!(broker.stats().channels, 0);
}

#[test]
fn who_asks_has_the_rights_of_a_member() {
    let mut settings = settings();
    settings.keyring = Keyring::new(Some("s3cret".to_owned()), None);
    settings.websocket.origins = vec!["https://app.example".to_owned()];
    let broker = start(settings);
    let auth = |channel: &str| {
        let key = Key::from_parts(["s3cret", "alice", channel]).0;
        format!("{MEMBERS}?uid=alice&auth={key:x}")
    };
    for (path, headers, status) in [
        (MEMBERS.to_owned(), "", 401),
        (MEMBERS.to_owned(), "Authorization: Bearer guess\r\n", 401),
        (auth("other"), "", 403),
        (auth("room"), "", 200),
        (auth("room"), "Origin: https://app.example\r\n", 200),
        (auth("room"), "Origin: https://evil.example\r\n", 403),
        (MEMBERS.to_owned(), "Authorization: Bearer s3cret\r\n", 200),
    ] {
        let answer = connect(&broker).ask(&format!("GET {path}"), headers);
        assert_eq!(answer.status, status, "{path} {headers}: {answer:?}");
        json_of(&answer);
        let allowed = headers
            .contains("app.example")
            .then_some("https://app.example");
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
    }
    let preflight = connect(&broker).ask(
        &format!("OPTIONS {MEMBERS}"),
        "Origin: https://app.example\r\nAccess-Control-Request-Method: GET\r\n",
    );
    let methods = preflight.header("access-control-allow-methods");
    assert_eq!(
        (preflight.status, methods),
        (204, Some("get, head, options"))
    );
}

/// Members that come and go, over TCP and WebSocket.
#[derive(Default)]
struct Crowd {
    members: Vec<(String, TcpStream)>,
    joined: usize,
}

impl Crowd {
    /// So many times, one more joins or one of them leaves.
    fn churn(&mut self, broker: &Broker, channel: &str, rng: &mut Rng, times: usize) {
        for _ in 0..times {
            if rng.below(5) < 2 && !self.members.is_empty() {
                let (_, leaver) = self.members.swap_remove(rng.below(self.members.len()));
                // Closed in order it would be half-closed until something is sent to it.
                reset(leaver);
                continue;
            }
            self.joined += 1;
            let uid = format!("{}", self.joined);
            let stream = if rng.below(2) == 0 {
                let mut ws = Ws::open(address(broker));
                ws.send(BINARY, &body(&uid, channel, b""));
                ws.stream
            } else {
                Client::join(broker, &uid, channel).stream
            };
            self.members.push((uid, stream));
        }
    }

    fn uids(&self) -> Vec<String> {
        let mut uids: Vec<_> = self.members.iter().map(|(uid, _)| uid.clone()).collect();
        uids.sort();
        uids
    }
}

/// A shard names its members some hundred at a time.
#[test]
fn a_long_list_is_whole() {
    let mut settings = quiet();
    settings.shards = Some(4);
    let broker = start(settings);
    let open = |connection: usize| {
        let mut ws = Ws::open(address(&broker));
        for i in 0..300 {
            ws.send(BINARY, &body(&format!("{connection} {i}"), "room", b""));
        }
        ws
    };
    let _connections: Vec<_> = (0..3).map(open).collect();
    wait_until("all have joined", || broker.stats().joined == 900);
    let (count, mut uids) = list(&mut connect(&broker), "room", "?limit=1000");
    uids.dedup();
    assert_eq!((count, uids.len()), (900, 900));
}

/// Sets a flag at the end of a test, however that ends.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks until it is over.
fn poll(broker: &Broker, channel: &str, is_over: &AtomicBool) {
    let mut http = connect(broker);
    while !is_over.load(Ordering::Relaxed) {
        let (count, uids) = list(&mut http, channel, "?limit=1000");
        assert_eq!(count, uids.len() as u64);
    }
}

/// Hundreds come and go on all shards while others ask all the time, for the first time among them. When all is still,
/// the list is right.
#[test]
fn the_list_is_right_after_any_coming_and_going() {
    let mut rng = Rng::seeded();
    for shards in [1, 4] {
        let mut settings = quiet();
        settings.shards = Some(shards);
        settings.spread_threshold = 6;
        let broker = start(settings);
        for channel in ["a", "b", "c", "d"] {
            let (mut crowd, is_over) = (Crowd::default(), AtomicBool::new(false));
            std::thread::scope(|scope| {
                let _over = Over(&is_over);
                crowd.churn(&broker, channel, &mut rng, 60);
                for _ in 0..2 {
                    scope.spawn(|| poll(&broker, channel, &is_over));
                }
                for _ in 0..4 {
                    crowd.churn(&broker, channel, &mut rng, 60);
                    let (mut http, expected) = (connect(&broker), crowd.uids());
                    wait_until("all of them are listed, and no others", || {
                        list(&mut http, channel, "?limit=1000").1 == expected
                    });
                }
            });
        }
    }
}
