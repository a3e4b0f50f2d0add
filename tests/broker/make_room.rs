//! A limit that is reached keeps nobody out for those who only hold a place: they make room, the
//! oldest first, and one address pays for what it holds beyond its share.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mles::{Broker, Limits, ListenerKind, Settings, TlsSettings};
use socket2::{Domain, Socket, Type};

use crate::common::bystanders::Bystanders;
use crate::common::tls_proxy::Authority;
use crate::common::{Client, PATIENCE, SILENCE, Server as _, settings, start, wait_until};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
/// More than one shard, so that who makes room is seldom where the newcomer is.
const SHARDS: usize = 4;
const MANY: usize = 20;
/// Connections of [`Bystanders`].
const GOOD: usize = 4;
/// Another client than those of [`Client::connect`].
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A broker that waits for a join as long as it takes.
fn patient(limits: Limits) -> Settings {
    Settings {
        shards: Some(SHARDS),
        limits,
        ..settings()
    }
}

/// Connects from an address of the test's choice.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&to.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn join_from(from: Ipv4Addr, broker: &Broker, uid: &str, channel: &str) -> Client {
    let stream = connect_from(from, broker.address());
    let mut client = Client::on(
        stream,
        &mles::protocol::Keyring::default(),
        uid,
        channel,
        None,
    );
    client.send(b"");
    client
}

/// Joins with `count` new clients, each with a channel of its own, and sees that all are let in.
fn assert_all_get_in(broker: &Broker, who: &str, count: usize) -> Vec<Client> {
    let join = |i| Client::join_and_wait(broker, who, &format!("{who} {i}"));
    let turned_away = broker.stats().turned_away;
    let clients: Vec<_> = (0..count).map(join).collect();
    assert_eq!(broker.stats().turned_away, turned_away);
    clients
}

/// Limits for connections that have not joined, each scaled down from its default.
fn limits_of_joining() -> [Limits; 3] {
    let most = MANY + GOOD;
    let limits = Limits::default;
    [
        Limits {
            max_joining: MANY,
            ..limits()
        },
        Limits {
            max_connections: 2 * most,
            ..limits()
        },
        Limits {
            max_connections_per_address: 2 * most,
            ..limits()
        },
    ]
}

#[test]
fn who_never_joins_keeps_nobody_out() {
    for limits in limits_of_joining() {
        for stranger in [STRANGER, Ipv4Addr::LOCALHOST] {
            let broker = start(patient(limits.clone()));
            let good = Bystanders::start(&broker);
            let silent: Vec<_> = (0..5 * MANY)
                .map(|_| connect_from(stranger, broker.address()))
                .collect();
            wait_until("all were accepted", || {
                broker.stats().accepted == (GOOD + silent.len()) as u64
            });
            let _newcomers = assert_all_get_in(&broker, "newcomer", MANY);
            good.finish();
        }
    }
}

/// Ends the flood of a test, whether that has passed or not.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Connections that are let go may be replaced all the time.
#[test]
fn who_comes_back_without_joining_keeps_nobody_out() {
    let broker = start(patient(Limits {
        max_joining: MANY,
        ..settings().limits
    }));
    let address = broker.address();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut silent = std::collections::VecDeque::new();
            while !is_over.load(Ordering::Relaxed) {
                silent.push_back(connect_from(STRANGER, address));
                if silent.len() > 2 * MANY {
                    silent.pop_front();
                }
            }
        });
        let _over = Over(&is_over);
        wait_until("they are let go", || broker.stats().joining_evicted > 100);
        assert_all_get_in(&broker, "newcomer", 200);
    });
}

/// Handshakes that stand still, on every kind of listener, beside a client that is slow from another
/// address.
#[test]
fn stalled_handshakes_make_room_and_other_addresses_do_not_pay() {
    let authority = Authority::new();
    let pair = authority.localhost();
    let mut settings = patient(Limits {
        max_joining: MANY,
        ..settings().limits
    });
    settings.websocket.listen = vec![ANY];
    settings.websocket.tls_listen = vec![ANY];
    settings.tls = TlsSettings {
        listen: vec![ANY],
        cert: Some(pair.cert.clone()),
        key: Some(pair.key.clone()),
        client_ca: None,
    };
    let broker = start(settings);
    let stream = connect_from(Ipv4Addr::LOCALHOST, broker.address());
    let mut slow = Client::on(
        stream,
        &mles::protocol::Keyring::default(),
        "slow",
        "room",
        None,
    );
    let join = slow.frame(b"");
    slow.stream.write_all(&join[..10]).unwrap();
    wait_until("it is there", || broker.stats().connections == 1);
    let mut stalled = Vec::new();
    let mut accepted = 1;
    for &(kind, address) in broker.listeners() {
        let beginning: &[u8] = match kind {
            ListenerKind::Mles => &join[..15],
            ListenerKind::WebSocket => b"GET / HTTP/1.1\r\nHost: loc",
            _ => b"\x16\x03\x01\x02\0\x01\0\x01\xFC\x03\x03",
        };
        for i in 0..3 * MANY {
            let mut stream = connect_from(STRANGER, address);
            if i % 2 == 0 {
                // It may have been let go already.
                let _ = stream.write_all(beginning);
            }
            stalled.push(stream);
        }
        accepted += 3 * MANY as u64;
        wait_until("all were accepted", || broker.stats().accepted == accepted);
        assert_all_get_in(&broker, &format!("{kind:?}"), 5);
        accepted += 5;
    }
    // All but those that are there, and those that made room for newcomers.
    let least = (stalled.len() - MANY) as u64;
    wait_until("they have gone", || broker.stats().joining_evicted >= least);
    slow.stream.write_all(&join[10..]).unwrap();
    let mut other = Client::join_and_wait(&broker, "other", "room");
    other.send(b"hello");
    assert_eq!(slow.text(), "hello");
}

/// Publishers that have left, as a client does that closes its socket in peace: their sessions are
/// half-closed, and nothing shows that they are gone.
fn ended_publishers(broker: &Broker, count: usize) {
    let before = broker.stats().half_closed;
    for i in 0..count {
        let mut client = Client::join_and_wait(broker, "publisher", &format!("topic {i}"));
        client.send(b"news");
        client.finish();
        // The socket stays open in the kernel's eyes.
        std::mem::forget(client);
    }
    wait_until("their end is seen", || {
        broker.stats().half_closed == before + count as u64
    });
}

#[test]
fn publishers_that_have_ended_keep_nobody_out() {
    let limits = Limits::default;
    let cases = [
        (
            "max_connections",
            Limits {
                max_connections: MANY,
                ..limits()
            },
        ),
        (
            "max_connections_per_address",
            Limits {
                max_connections_per_address: MANY,
                ..limits()
            },
        ),
        (
            "max_channels",
            Limits {
                max_channels: MANY,
                ..limits()
            },
        ),
        (
            "max_half_closed",
            Limits {
                max_half_closed: 3,
                max_connections: MANY,
                ..limits()
            },
        ),
    ];
    for (what, limits) in cases {
        for spread_threshold in [100, 0] {
            let broker = start(Settings {
                spread_threshold,
                ..patient(limits.clone())
            });
            ended_publishers(&broker, MANY);
            eprintln!("{what}");
            let _newcomers = assert_all_get_in(&broker, "newcomer", MANY);
            wait_until("all of them have gone", || {
                broker.stats().half_closed_evicted == MANY as u64
            });
            assert_eq!(broker.stats().refused, 0);
            // A session that has gone is counted before its connection is closed.
            wait_until("all places are taken by members", || {
                broker.stats().connections <= MANY as u64
            });
        }
    }
}

#[test]
fn a_crowd_that_comes_at_once_finds_the_places_of_those_that_have_ended() {
    let broker = start(patient(Limits {
        max_connections: MANY,
        ..settings().limits
    }));
    ended_publishers(&broker, MANY);
    let joined = broker.stats().joined;
    let _crowd: Vec<_> = (0..MANY)
        .map(|i| Client::join(&broker, "newcomer", &format!("room {i}")))
        .collect();
    wait_until("all have joined", || {
        broker.stats().joined == joined + MANY as u64
    });
    assert_eq!(broker.stats().turned_away, 0);
}

#[test]
fn members_make_no_room() {
    let broker = start(patient(Limits {
        max_connections: MANY,
        max_channels: MANY,
        ..settings().limits
    }));
    let mut members = assert_all_get_in(&broker, "member", MANY);
    let mut late = Client::connect(&broker);
    crate::common::assert_closes(&mut late);
    assert_eq!(broker.stats().turned_away, 1);
    for member in &mut members {
        assert!(member.try_receive(Duration::from_millis(1)).is_err());
    }
}

/// A session that still has something to receive goes last, and gets all of it where there are others
/// to go.
#[test]
fn who_still_receives_goes_last() {
    const LARGE: usize = 8 << 20;
    for spread_threshold in [100, 0] {
        let broker = start(Settings {
            spread_threshold,
            ..patient(Limits {
                max_connections: 4,
                ..settings().limits
            })
        });
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut reader = Client::join_and_wait(&broker, "reader", "room");
        reader.finish();
        wait_until("its end is seen", || broker.stats().half_closed == 1);
        alice.send(&vec![b'x'; LARGE]);
        wait_until("it is queued", || broker.stats().deliveries > 1);
        // It is older, and its socket is full.
        ended_publishers(&broker, 2);
        let newcomers = assert_all_get_in(&broker, "newcomer", 2);
        wait_until("two have gone", || broker.stats().half_closed_evicted == 2);
        assert_eq!(reader.receive_message().message.len(), LARGE);
        drop(newcomers);
    }
}

/// Publishes one message in each of `count` channels from one address, and leaves them.
fn publish_once_per_name(broker: &Broker, from: Ipv4Addr, who: &str, count: usize) {
    for i in 0..count {
        let (left, frames) = (broker.stats().left, broker.stats().frames_in);
        let mut client = join_from(from, broker, who, &format!("{who} {i}"));
        client.send(b"remember me");
        wait_until("it is in", || broker.stats().frames_in > frames);
        client.reset();
        wait_until("it has left", || broker.stats().left > left);
    }
}

fn remembers(broker: &Broker, channel: &str) -> bool {
    let mut client = Client::join_and_wait(broker, "reader", channel);
    let remembered = client.try_receive(SILENCE).is_ok();
    client.reset();
    remembered
}

#[test]
fn idle_channels_keep_no_new_one_out() {
    for spread_threshold in [100, 0] {
        let broker = start(Settings {
            spread_threshold,
            ..patient(Limits {
                max_channels: MANY,
                ..settings().limits
            })
        });
        let _member = Client::join_and_wait(&broker, "member", "in use");
        publish_once_per_name(&broker, STRANGER, "topic", 3 * MANY);
        wait_until("others have been freed for them", || {
            let stats = broker.stats();
            (stats.channels, stats.channels_evicted) == (MANY as u64, (2 * MANY + 1) as u64)
        });
        let _newcomers = assert_all_get_in(&broker, "newcomer", MANY / 2);
        assert_eq!(broker.stats().refused, 0);
        // The longest idle have gone.
        let last = 3 * MANY - 1;
        assert!(remembers(&broker, &format!("topic {last}")));
        assert!(!remembers(&broker, "topic 0"));
    }
}

#[test]
fn one_address_pays_for_its_idle_channels_and_not_others() {
    let broker = start(patient(Limits {
        max_channels: MANY,
        ..settings().limits
    }));
    publish_once_per_name(&broker, Ipv4Addr::LOCALHOST, "good", MANY / 4);
    publish_once_per_name(&broker, STRANGER, "flood", 5 * MANY);
    let is_kept = |i| remembers(&broker, &format!("good {i}"));
    assert!((0..MANY / 4).all(is_kept));
}
