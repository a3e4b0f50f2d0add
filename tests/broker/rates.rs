//! Rates of joins and messages, over all transports, and bans of those who guess keys.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use mles::protocol::Keyring;
use mles::{BanSettings, Broker, ListenerKind, NamedKey, Rate, Settings};

use crate::admin::{ask, get};
use crate::common::events::Events;
use crate::common::http::{Answer, Http};
use crate::common::tls_proxy::{Authority, tunnel};
use crate::common::websocket::{BINARY, TEXT, Ws, body, hello, request};
use crate::common::{Client, LONG, PATIENCE, settings, start, wait_until};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn with_web() -> Settings {
    let mut settings = settings();
    settings.websocket.listen = vec![ANY];
    settings
}

fn address(broker: &Broker, wanted: ListenerKind) -> SocketAddr {
    let mut listeners = broker.listeners().iter();
    listeners.find(|(kind, _)| *kind == wanted).unwrap().1
}

fn web(broker: &Broker) -> SocketAddr {
    address(broker, ListenerKind::WebSocket)
}

/// A rate that lets `burst` through, and nothing more as long as a test runs.
fn only(burst: u32) -> Option<Rate> {
    Some("1/h".parse::<Rate>().unwrap().with_burst(burst))
}

fn post(http: &mut Http, path: &str, headers: &str, message: &str) -> Answer {
    let len = message.len();
    http.send(format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
         Content-Length: {len}\r\n{headers}\r\n{message}"
    ));
    http.answer()
}

fn assert_too_often(answer: &Answer, rate: &str) {
    assert_eq!(answer.status, 429, "{}", answer.body);
    assert!(answer.body.contains(rate), "{}", answer.body);
    let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3600).contains(&seconds), "{seconds}");
}

/// Sets a rate.
type SetRate = fn(&mut Settings);

#[test]
fn joins_over_the_rate_of_their_address_are_refused_over_all_transports() {
    let authority = Authority::new();
    let pair = authority.localhost();
    let mut settings = with_web();
    settings.limits.join_rate_per_address = only(3);
    settings.tls.listen = vec![ANY];
    settings.tls.cert = Some(pair.cert);
    settings.tls.key = Some(pair.key);
    let broker = start(settings);
    let tls = tunnel(&authority, address(&broker, ListenerKind::MlesTls));
    let _there = [
        Client::join_and_wait(&broker, "a", "room"),
        Client::join_and_wait(&broker, "b", "room"),
        Client::join_and_wait(&broker, "c", "room"),
    ];
    Client::join(&broker, "d", "room").assert_closed();
    Client::join(&tls, "d", "room").assert_closed();
    for (first, payload) in [
        (BINARY, body("d", "room", b"")),
        (TEXT, hello("d", "room").into_bytes()),
    ] {
        let mut ws = Ws::open(web(&broker));
        ws.send(first, &payload);
        let reason = ws.assert_closed(1013);
        assert!(reason.contains("join_rate_per_address"), "{reason}");
    }
    for what in ["events", "messages", "members"] {
        let mut http = Http::connect(web(&broker));
        let answer = http.ask(&format!("GET /channels/room/{what}"), "");
        assert_too_often(&answer, "join_rate_per_address");
    }
    assert_eq!(broker.stats().joined, 3);
    wait_until("all are counted", || broker.stats().throttled == 7);
    // Publishing over HTTP is no join.
    let mut http = Http::connect(web(&broker));
    let answer = post(&mut http, "/channels/room/messages", "", "hi");
    assert_eq!(answer.status, 201);
}

#[test]
fn who_waits_may_join_again() {
    let mut settings = with_web();
    settings.limits.join_rate_per_address = Some(Rate::per_second(20).with_burst(1));
    let broker = start(settings);
    for i in 0..10 {
        let deadline = Instant::now() + PATIENCE;
        let uid = format!("{i}");
        loop {
            let mut http = Http::connect(web(&broker));
            let answer = http.ask(&format!("GET /channels/room/members?uid={uid}"), "");
            match answer.status {
                200 => break,
                status => assert_eq!(status, 429),
            }
            assert!(Instant::now() < deadline);
        }
    }
}

#[test]
fn keys_have_rates_of_their_own() {
    let mut settings = with_web();
    settings.keys = ["one", "two"]
        .map(|name| NamedKey::new(name, name).unwrap())
        .to_vec();
    settings.limits.join_rate_per_key = only(2);
    settings.limits.publish_rate_per_key = only(3);
    let broker = start(settings);
    let join = |key: &str, uid: &str| {
        let keyring = Keyring::new(Some(key.to_owned()), None);
        Client::join_with(&broker, &keyring, uid, "room", b"", None)
    };
    let mut sessions = Vec::new();
    for key in ["one", "two"] {
        for uid in ["a", "b"] {
            let before = broker.stats().joined;
            sessions.push(join(key, &format!("{key}{uid}")));
            wait_until("it has joined", || broker.stats().joined > before);
        }
        join(key, "c").assert_closed();
    }
    let publish = |key: &str| {
        let mut http = Http::connect(web(&broker));
        let bearer = format!("Authorization: Bearer {key}\r\n");
        post(&mut http, "/channels/other/messages", &bearer, "hi")
    };
    for _ in 0..3 {
        assert_eq!(publish("one").status, 201);
    }
    assert_too_often(&publish("one"), "publish_rate_per_key");
    assert_eq!(publish("two").status, 201);
}

#[test]
fn requests_to_publish_are_refused_over_any_rate_and_keep_their_connection() {
    let rates: [(&str, SetRate); 2] = [
        ("publish_rate_per_session", |settings| {
            settings.limits.publish_rate_per_session = only(3);
        }),
        ("publish_rate_per_address", |settings| {
            settings.limits.publish_rate_per_address = only(3);
        }),
    ];
    for (name, set) in rates {
        let mut settings = with_web();
        set(&mut settings);
        let broker = start(settings);
        let mut http = Http::connect(web(&broker));
        let publish = |http: &mut Http, uid: &str, message: &str| {
            let headers = format!("Mles-Uid: {uid}\r\n");
            post(http, "/channels/room/messages", &headers, message)
        };
        for _ in 0..3 {
            assert_eq!(publish(&mut http, "a", "hi").status, 201);
        }
        for _ in 0..2 {
            assert_too_often(&publish(&mut http, "a", "hi"), name);
        }
        // Another connection is no way around it.
        let mut again = Http::connect(web(&broker));
        assert_too_often(&publish(&mut again, "a", "hi"), name);
        let of_another = publish(&mut again, "b", "hi");
        if name == "publish_rate_per_session" {
            assert_eq!(of_another.status, 201);
        } else {
            assert_too_often(&of_another, name);
        }
        wait_until("all are counted", || broker.stats().throttled >= 3);
    }
}

#[test]
fn many_messages_in_one_request_count_as_many() {
    let mut settings = with_web();
    settings.limits.publish_rate_per_session = only(5);
    let broker = start(settings);
    let publish = |lines: usize| {
        let mut http = Http::connect(web(&broker));
        let (body, headers) = ("\"hi\"\n".repeat(lines), "");
        let len = body.len();
        http.send(format!(
            "POST /channels/room/messages HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: {len}\r\n{headers}\r\n{body}"
        ));
        http.answer()
    };
    assert_eq!(publish(3).status, 201);
    assert_too_often(&publish(3), "publish_rate_per_session");
    assert_eq!(publish(2).status, 201);
    assert_too_often(&publish(1), "publish_rate_per_session");
}

/// A session that sends `count` messages of 1 KiB at once.
fn flood(
    broker: &Broker,
    transport: &str,
    tls: SocketAddr,
    count: usize,
) -> Box<dyn std::any::Any> {
    let payload = vec![b'x'; 1 << 10];
    match transport {
        "tcp" | "tls" => {
            let at = if transport == "tcp" {
                address(broker, ListenerKind::Mles)
            } else {
                tls
            };
            let mut client = Client::join(&at, "flood", "room");
            let frames = client.frame(&payload).repeat(count);
            client.stream.write_all(&frames).unwrap();
            Box::new(client)
        }
        _ => {
            let mut ws = Ws::open(web(broker));
            let (first, join, message) = if transport == "v1" {
                let message = body("flood", "room", &payload);
                (BINARY, body("flood", "room", b""), message)
            } else {
                (TEXT, hello("flood", "room").into_bytes(), payload)
            };
            ws.send(first, &join);
            let frame = crate::common::websocket::frame(BINARY, &message);
            ws.raw(&frame.repeat(count));
            Box::new(ws)
        }
    }
}

/// What is more than one read brings stays in the socket; what was read is published.
#[test]
fn sessions_over_a_rate_are_not_read_until_they_have_made_up_for_it() {
    for shards in [1, 2] {
        for transport in ["tcp", "tls", "v1", "v2"] {
            let authority = Authority::new();
            let pair = authority.localhost();
            let mut settings = Settings {
                shards: Some(shards),
                ..with_web()
            };
            settings.limits.publish_rate_per_session = only(10);
            settings.tls.listen = vec![ANY];
            settings.tls.cert = Some(pair.cert);
            settings.tls.key = Some(pair.key);
            let broker = start(settings);
            let tls = tunnel(&authority, address(&broker, ListenerKind::MlesTls));
            let mut calm = Client::join_and_wait(&broker, "calm", "room");
            let mut member = Client::join_and_wait(&broker, "member", "room");
            let _flooding = flood(&broker, transport, tls, 1000);
            wait_until("it is held", || broker.stats().throttled > 0);
            // Nobody else is.
            calm.send(b"calm");
            let mut of_flood = 0;
            while member.receive_message().message != b"calm" {
                of_flood += 1;
            }
            while member
                .try_receive(Duration::from_millis(300))
                .is_ok_and(|got| got.is_some())
            {
                of_flood += 1;
            }
            // A read brings 64 KiB at most, behind what came with the join.
            assert!((10..=200).contains(&of_flood), "{transport}: {of_flood}");
            assert_eq!(broker.stats().dropped_frames, 0);
        }
    }
}

#[test]
fn a_session_gets_all_through_at_its_rate() {
    for transport in ["tcp", "v1", "v2"] {
        let mut settings = with_web();
        settings.limits.publish_rate_per_session = Some(Rate::per_second(2000).with_burst(50));
        settings.channels.default.history_frames = 0;
        let broker = start(settings);
        let mut member = Client::join_and_wait(&broker, "member", "room");
        let begun = Instant::now();
        let _flooding = flood(&broker, transport, ANY, 1000);
        for _ in 0..1000 {
            assert_eq!(member.receive_message().message.len(), 1 << 10);
        }
        // It can be slower on a busy machine, and not faster: what one read brings is made up for before the next.
        assert!(
            begun.elapsed() > Duration::from_millis(300),
            "{transport} {:?}",
            begun.elapsed()
        );
        assert!(broker.stats().throttled > 0, "{transport}");
    }
}

#[test]
fn all_sessions_of_an_address_share_its_rate() {
    let mut settings = with_web();
    settings.limits.publish_rate_per_address = only(4);
    let broker = start(settings);
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let mut sessions: Vec<_> = (0..3)
        .map(|i| Client::join_and_wait(&broker, &format!("{i}"), "room"))
        .collect();
    for session in &mut sessions {
        session.send(b"1");
        member.receive_message();
    }
    // The last that there is, and one for which there is none: it was read before that could be known.
    sessions[0].send(b"2");
    member.receive_message();
    wait_until("it is held", || broker.stats().throttled == 1);
    sessions[1].send(b"2");
    sessions[2].send(b"2");
    member.assert_silent();
    // A held session is let go like any other, with its connection.
    broker.stop_handle().drain();
    assert!(broker.wait().is_ok());
}

fn trusting() -> Settings {
    let mut settings = with_web();
    settings.proxies.trusted = vec!["127.0.0.1".parse().unwrap()];
    settings.proxies.protocol = vec![ListenerKind::Mles];
    settings
}

/// Connects as a client of a proxy.
fn connect(broker: &Broker, client: &str) -> std::net::TcpStream {
    let mut stream = Client::connect(broker);
    let family = if client.contains(':') { 6 } else { 4 };
    let header = format!("PROXY TCP{family} {client} {client} 4711 80\r\n");
    stream.write_all(header.as_bytes()).unwrap();
    stream
}

/// Asks to join as a client of a proxy that knows `key`.
fn join_from(broker: &Broker, client: &str, key: &str, uid: &str) -> Client {
    let keyring = Keyring::new(Some(key.to_owned()), None);
    let mut session = Client::on(connect(broker, client), &keyring, uid, "room", None);
    session.send(b"");
    session
}

#[test]
fn an_ipv6_network_shares_its_rate() {
    let mut settings = trusting();
    settings.limits.join_rate_per_address = only(2);
    let broker = start(settings);
    let join = |client: &str, uid: &str| {
        let before = broker.stats().joined;
        let session = join_from(&broker, client, "", uid);
        wait_until("it has joined", || broker.stats().joined > before);
        session
    };
    let _first = join("2001:db8:1:2::1", "a");
    let _second = join("2001:db8:1:2:ffff::1", "b");
    join_from(&broker, "2001:db8:1:2:8000::7", "", "c").assert_closed();
    let _other = join("2001:db8:1:3::1", "d");
    let _v4 = join("192.0.2.1", "e");
    // By a header of HTTP as well.
    let mut http = Http::connect(web(&broker));
    let answer = http.ask(
        "GET /channels/room/members",
        "X-Forwarded-For: 2001:db8:1:2::99\r\n",
    );
    assert_too_often(&answer, "join_rate_per_address");
    // The proxy itself is no client.
    for _ in 0..5 {
        let mut http = Http::connect(web(&broker));
        assert_eq!(http.ask("GET /channels/room/members", "").status, 200);
    }
}

fn banning() -> Settings {
    let mut settings = trusting();
    settings.keyring = Keyring::new(Some("secret".to_owned()), None);
    settings.limits.bans = BanSettings {
        after: Some(3),
        window: LONG,
        time: LONG,
    };
    settings
}

#[test]
fn wrong_keys_over_any_transport_ban_their_address() {
    let guess_over_http: fn(&Broker, &str) = |broker, client| {
        let mut http = Http::connect(web(broker));
        let headers = format!("X-Forwarded-For: {client}\r\nAuthorization: Bearer guess\r\n");
        let answer = http.ask("GET /channels/room/messages", &headers);
        assert_eq!(answer.status, 401);
    };
    let guess_over_websocket: fn(&Broker, &str) = |broker, client| {
        let headers = format!("X-Forwarded-For: {client}\r\n");
        let mut ws = Ws::ask(web(broker), &request("/?auth=0123456789abcdef", &headers)).unwrap();
        ws.send(TEXT, hello("a", "room").as_bytes());
        ws.assert_closed(4401);
    };
    let guess_over_tcp: fn(&Broker, &str) = |broker, client| {
        join_from(broker, client, "guess", "a").assert_closed();
    };
    for guess in [guess_over_http, guess_over_websocket, guess_over_tcp] {
        let broker = start(banning());
        let before = join_from(&broker, "2001:db8:1:2::1", "secret", "there");
        wait_until("it has joined", || broker.stats().joined == 1);
        for i in 0..3 {
            guess(&broker, &format!("2001:db8:1:2::{i}"));
        }
        wait_until("the network is banned", || broker.stats().bans == 1);
        let client = "2001:db8:1:2::9";
        // With the right key as well.
        join_from(&broker, client, "secret", "b").assert_closed();
        let headers = format!("X-Forwarded-For: {client}\r\nAuthorization: Bearer secret\r\n");
        let mut http = Http::connect(web(&broker));
        assert_too_often(
            &http.ask("GET /channels/room/messages", &headers),
            "ban_after",
        );
        let upgrade = Ws::ask(web(&broker), &request("/", &headers)).unwrap_err();
        assert!(upgrade.starts_with("HTTP/1.1 429 "), "{upgrade}");
        wait_until("all are counted", || broker.stats().banned == 3);
        // Nobody else is affected, and neither is who has proved the key before.
        let joined = broker.stats().joined;
        let mut other = join_from(&broker, "2001:db8:1:3::1", "secret", "other");
        wait_until("it has joined", || broker.stats().joined > joined);
        let mut before = before;
        before.send(b"still there");
        assert_eq!(other.text(), "still there");
    }
}

#[test]
fn this_machine_and_trusted_proxies_are_never_banned() {
    let mut settings = banning();
    settings.limits.bans.after = Some(1);
    settings.proxies.protocol = Vec::new();
    let broker = start(settings);
    let wrong = Keyring::new(Some("guess".to_owned()), None);
    let right = Keyring::new(Some("secret".to_owned()), None);
    for i in 0..5 {
        let uid = format!("{i}");
        Client::join_with(&broker, &wrong, &uid, "room", b"", None).assert_closed();
    }
    let before = broker.stats();
    assert_eq!((before.bans, before.banned), (0, 0));
    let _there = Client::join_with(&broker, &right, "a", "room", b"", None);
    wait_until("it has joined", || broker.stats().joined == 1);
}

#[test]
fn an_event_stream_that_was_admitted_lives_on_over_the_rate() {
    let mut settings = with_web();
    settings.limits.join_rate_per_address = only(2);
    let broker = start(settings);
    let mut events = Events::open(web(&broker), "/channels/room/events", "");
    events.data("welcome");
    let mut publisher = Client::join_and_wait(&broker, "publisher", "room");
    Client::join(&broker, "late", "room").assert_closed();
    publisher.send(b"hi");
    assert_eq!(events.text(), "hi");
}

#[test]
fn an_operator_sees_bans_and_lifts_them() {
    let mut settings = banning();
    settings.admin.listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let broker = start(settings);
    assert_eq!(get(&broker, "/api/bans"), serde_json::json!({"bans": []}));
    for i in 0..3 {
        join_from(&broker, &format!("2001:db8:1:2::{i}"), "guess", "a").assert_closed();
    }
    wait_until("the network is banned", || broker.stats().bans == 1);
    let bans = get(&broker, "/api/bans");
    let ban = &bans["bans"][0];
    assert_eq!(ban["address"], "2001:db8:1:2::/64");
    assert!(ban["seconds_left"].as_f64().unwrap() > 0.0);
    let lift = |address: &str| ask(&broker, &format!("DELETE /api/bans/{address}")).status;
    assert_eq!((lift("nobody"), lift("192.0.2.1")), (400, 404));
    assert_eq!(
        (lift("2001:db8:1:2::%2F64"), lift("2001:db8:1:2::%2F64")),
        (200, 404)
    );
    let answer = ask(&broker, "POST /api/bans/192.0.2.1");
    assert_eq!(
        (answer.status, answer.header("allow")),
        (405, Some("delete"))
    );
    let _client = join_from(&broker, "2001:db8:1:2::9", "secret", "a");
    wait_until("it may join again", || broker.stats().joined == 1);
}
