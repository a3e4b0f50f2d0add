//! Other settings for a broker that runs: what they change, and that nobody is disturbed who has a right to be there.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use mles::protocol::{FrameHeader, Key, Keyring};
use mles::{
    AccessRule, Broker, ListenerKind, NamePattern, NamedKey, Permissions, ReloadError, RuleHolder,
    Settings, StartError,
};

use crate::common::load::Load;
use crate::common::{Client, assert_closes, free_address, settings, start, wait_until};

fn secret(text: &str) -> Keyring {
    Keyring::new(Some(text.to_owned()), None)
}

fn named(name: &str) -> NamedKey {
    NamedKey::new(name, format!("secret of {name}")).unwrap()
}

/// The keyring of a client that knows the key called `name`.
fn keyring(name: &str) -> Keyring {
    secret(&format!("secret of {name}"))
}

fn with_keys(names: &[&str]) -> Settings {
    Settings {
        keys: names.iter().map(|name| named(name)).collect(),
        ..settings()
    }
}

/// Joins, and waits until the broker counts the session.
fn join(broker: &Broker, keyring: &Keyring, uid: &str, channel: &str) -> Client {
    let before = broker.stats().joined;
    let client = Client::join_with(broker, keyring, uid, channel, b"", None);
    wait_until("the session has joined", || broker.stats().joined > before);
    client
}

/// Receives until the publisher's last message, and checks that none is missing from the first that came on.
fn received_all(mut client: Client, sent: u64) {
    let mut next = None;
    loop {
        let text = client.text();
        if text == "end" {
            break;
        }
        let number: u64 = text.parse().unwrap();
        assert_eq!(number, *next.get_or_insert(number), "for {}", client.uid);
        next = Some(number + 1);
    }
    assert_eq!(next, Some(sent), "for {}", client.uid);
}

#[test]
fn a_key_is_rotated_under_load_and_only_sessions_of_the_old_one_end() {
    let broker = start(with_keys(&["old"]));
    let publisher = join(&broker, &keyring("old"), "early publisher", "room");
    let mut olds: Vec<_> = (0..8)
        .map(|i| {
            let channel = format!("other {i}");
            join(&broker, &keyring("old"), &format!("old {i}"), &channel)
        })
        .collect();
    // Both are good for a while.
    let report = broker.reload(with_keys(&["old", "new"])).unwrap();
    assert_eq!(report.changed, ["keys"]);
    assert_eq!(report.sessions_ended, 0);
    let load = Load::start(join(&broker, &keyring("new"), "publisher", "room"));
    let members: Vec<_> = (0..8)
        .map(|i| join(&broker, &keyring("new"), &format!("new {i}"), "room"))
        .collect();
    let before = broker.stats().deliveries;
    wait_until("messages flow", || {
        broker.stats().deliveries > before + 1000
    });

    let report = broker.reload(with_keys(&["new"])).unwrap();
    assert_eq!(report.sessions_ended, 9);
    assert_eq!(broker.stats().rights_lost, 9);
    for old in &mut olds {
        old.assert_closed();
    }
    drop(publisher);
    let mut refused = Client::join_with(&broker, &keyring("old"), "late", "room", b"", None);
    assert_closes(&mut refused.stream);

    let before = broker.stats().deliveries;
    wait_until("messages still flow", || {
        broker.stats().deliveries > before + 1000
    });
    let sent = load.stop();
    for member in members {
        received_all(member, sent);
    }
}

#[test]
fn sessions_end_that_no_rule_permits_any_more() {
    let rule = |channel: &str| AccessRule {
        holder: RuleHolder::Everybody,
        uid: NamePattern::any(),
        channel: channel.parse().unwrap(),
        allow: Permissions::ALL,
    };
    let with_rules = |channels: &[&str]| Settings {
        rules: channels.iter().map(|channel| rule(channel)).collect(),
        ..with_keys(&["k"])
    };
    let broker = start(with_rules(&["a", "b"]));
    let mut stays = join(&broker, &keyring("k"), "alice", "a");
    let mut goes = join(&broker, &keyring("k"), "alice", "b");
    let report = broker.reload(with_rules(&["a", "c"])).unwrap();
    assert_eq!(
        (report.changed, report.sessions_ended),
        (vec!["rules".to_owned()], 1)
    );
    goes.assert_closed();
    let mut bob = join(&broker, &keyring("k"), "bob", "a");
    bob.send(b"still there");
    assert_eq!(stays.text(), "still there");
    join(&broker, &keyring("k"), "bob", "c");
}

#[test]
fn a_key_is_set_and_who_has_none_has_to_go() {
    let broker = start(settings());
    let mut anyone = join(&broker, &Keyring::default(), "anyone", "room");
    let report = broker
        .reload(Settings {
            keyring: secret("s"),
            ..settings()
        })
        .unwrap();
    assert_eq!(report.sessions_ended, 1);
    anyone.assert_closed();
    join(&broker, &secret("s"), "member", "room");
    // The other way round nobody has to.
    let report = broker.reload(settings()).unwrap();
    assert_eq!(report.sessions_ended, 0);
}

#[test]
fn open_channels_get_their_new_settings() {
    let with_history = |frames| {
        let mut settings = settings();
        settings.channels.default.announce_joins = false;
        let mut kept = settings.channels.default.clone();
        kept.history_frames = frames;
        settings.channels.patterns = vec![("kept*".to_owned(), kept)];
        settings
    };
    let broker = start(with_history(100));
    let mut publisher = join(&broker, &Keyring::default(), "publisher", "kept");
    (0..10).for_each(|i| publisher.send(format!("{i}").as_bytes()));
    wait_until("all are stored", || broker.stats().frames_in == 10);

    let report = broker.reload(with_history(3)).unwrap();
    assert_eq!(
        (report.changed, report.sessions_ended),
        (vec!["channels".to_owned()], 0)
    );
    let mut late = join(&broker, &Keyring::default(), "late", "kept");
    assert_eq!([late.text(), late.text(), late.text()], ["7", "8", "9"]);
    publisher.send(b"10");
    assert_eq!(late.text(), "10");
    // A channel that is opened later has them as well.
    join(&broker, &Keyring::default(), "x", "kept too").send(b"message");
}

#[test]
fn limits_are_for_those_who_come_and_for_what_is_sent() {
    let limited = |connections, frame| {
        let mut settings = settings();
        settings.limits.max_connections = connections;
        settings.limits.max_frame = frame;
        settings
    };
    let broker = start(limited(3, 1 << 20));
    let mut members: Vec<_> = (0..3)
        .map(|i| join(&broker, &Keyring::default(), &format!("{i}"), "room"))
        .collect();
    let mut refused = Client::join(&broker, "refused", "room");
    assert_closes(&mut refused.stream);
    broker.reload(limited(4, 1 << 20)).unwrap();
    members.push(join(&broker, &Keyring::default(), "fourth", "room"));
    // Nobody is thrown out for a lower limit.
    let report = broker.reload(limited(1, 256)).unwrap();
    assert_eq!(
        (report.changed, report.sessions_ended),
        (vec!["limits".to_owned()], 0)
    );
    let mut refused = Client::join(&broker, "refused", "room");
    assert_closes(&mut refused.stream);
    let [talker, listener, ..] = &mut members[..] else {
        unreachable!("there are four")
    };
    talker.send(&[b'a'; 100]);
    assert_eq!(listener.text().len(), 100);
    talker.send(&[b'a'; 300]);
    talker.assert_closed();
}

#[test]
fn larger_frames_are_taken_once_the_limit_is_raised() {
    let with_frames = |frame| {
        let mut settings = settings();
        settings.limits.max_frame = frame;
        settings.limits.partial_bytes = frame;
        settings
    };
    let broker = start(with_frames(1024));
    let mut listener = join(&broker, &Keyring::default(), "listener", "room");
    let mut talker = join(&broker, &Keyring::default(), "talker", "room");
    broker.reload(with_frames(8 << 20)).unwrap();
    talker.send(&vec![b'a'; 7 << 20]);
    assert_eq!(listener.receive_message().message.len(), 7 << 20);
}

#[test]
fn listeners_come_and_go_and_their_sessions_stay() {
    let (first, second) = (free_address(), free_address());
    let listening = |listen: &[SocketAddr], ws: &[SocketAddr]| {
        let mut settings = settings();
        settings.listen = listen.to_vec();
        settings.websocket.listen = ws.to_vec();
        settings
    };
    let broker = start(listening(&[first], &[]));
    let handle = broker.stop_handle();
    let mut by_first = join(&broker, &Keyring::default(), "by first", "room");

    let report = handle.reload(listening(&[first, second], &[])).unwrap();
    assert_eq!(report.opened, [(ListenerKind::Mles, second)]);
    assert_eq!(report.closed, []);
    let before = broker.stats().joined;
    let mut by_second = Client::join(&second, "by second", "room");
    wait_until("it has joined", || broker.stats().joined > before);

    // The first port is another listener's from now on, without a gap.
    let report = handle.reload(listening(&[second], &[first])).unwrap();
    assert_eq!(report.opened, [(ListenerKind::WebSocket, first)]);
    assert_eq!(report.closed, [(ListenerKind::Mles, first)]);
    assert_eq!(
        handle.listeners(),
        [
            (ListenerKind::Mles, second),
            (ListenerKind::WebSocket, first)
        ]
    );
    TcpStream::connect(first).unwrap();
    by_first.send(b"by a listener that is closed");
    assert_eq!(by_second.text(), "by a listener that is closed");

    handle.reload(listening(&[second], &[])).unwrap();
    wait_until("nobody listens there any more", || {
        TcpStream::connect(first).is_err()
    });
    assert_eq!(handle.listeners(), [(ListenerKind::Mles, second)]);
    by_second.send(b"still");
    assert_eq!(by_first.text(), "still");
}

#[test]
fn ports_that_the_system_has_chosen_are_kept() {
    let broker = start(settings());
    let report = broker.reload(settings()).unwrap();
    assert_eq!(report.to_string(), "no setting has changed");
    join(&broker, &Keyring::default(), "alice", "room");
}

#[test]
fn listeners_of_the_caller_are_kept() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let broker = Broker::start_on(settings(), [listener]).unwrap();
    let mut other = settings();
    other.listen = vec![free_address()];
    let report = broker.reload(other).unwrap();
    assert_eq!((report.opened, report.closed), (Vec::new(), Vec::new()));
    join(&broker, &Keyring::default(), "alice", "room");
}

/// Reloads what is wrong, and checks that everything is as before.
fn assert_kept(broker: &Broker, mut wrong: Settings) -> String {
    wrong.limits.max_uid = 1;
    wrong.keyring = secret("new");
    let before = broker.stop_handle().listeners();
    let error = broker.reload(wrong).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    assert_eq!(broker.stop_handle().listeners(), before);
    let uid = format!("member {}", broker.stats().joined);
    join(broker, &Keyring::default(), &uid, "room");
    assert_eq!(broker.stats().rights_lost, 0);
    error
}

#[test]
fn settings_that_are_no_good_leave_the_old_ones_in_force() {
    let broker = start(settings());
    let mut member = join(&broker, &Keyring::default(), "alice", "room");

    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let mut wrong = settings();
    let free = free_address();
    wrong.listen.extend([free, address]);
    let error = assert_kept(&broker, wrong);
    assert!(
        error.starts_with(&format!("cannot listen on {address}: ")),
        "{error}"
    );
    assert!(TcpStream::connect(free).is_err());

    let mut wrong = settings();
    wrong.tls.listen = vec![free];
    wrong.tls.cert = Some("/nowhere/cert.pem".into());
    wrong.tls.key = Some("/nowhere/key.pem".into());
    let error = assert_kept(&broker, wrong);
    assert!(error.contains("/nowhere/cert.pem"), "{error}");

    let mut wrong = settings();
    wrong.limits.max_frame = 0;
    assert!(assert_kept(&broker, wrong).contains("max_frame"));

    let mut wrong = settings();
    wrong.listen.clear();
    assert_kept(&broker, wrong);

    let mut bob = join(&broker, &Keyring::default(), "bob", "room");
    bob.send(b"as before");
    assert_eq!(member.text(), "as before");
}

#[test]
fn a_listener_that_stays_is_checked_with_the_new_settings() {
    let mut open = Settings {
        keyring: secret("s"),
        ..settings()
    };
    open.listen = vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))];
    let broker = start(open.clone());
    open.keyring = Keyring::default();
    let error = broker.reload(open).unwrap_err();
    assert!(
        matches!(error, ReloadError::Start(StartError::Unprotected(_))),
        "{error}"
    );
}

#[test]
fn what_only_a_start_can_change_is_told_and_left() {
    let broker = start(settings());
    let mut other = settings();
    other.shards = Some(3);
    other.peer.upstreams = vec!["broker.example".parse().unwrap()];
    other.spread_threshold = 7;
    let report = broker.reload(other).unwrap();
    assert_eq!(report.needs_restart, ["shards", "peer"]);
    assert_eq!(report.changed, ["spread_threshold"]);
    assert_eq!(broker.shards(), 2);
    join(&broker, &Keyring::default(), "alice", "room");
    assert!(broker.links().is_empty());
}

#[test]
fn a_broker_that_stops_takes_no_settings() {
    let broker = start(settings());
    let handle = broker.stop_handle();
    handle.drain();
    assert!(matches!(
        handle.reload(settings()),
        Err(ReloadError::Stopping)
    ));
    broker.wait().unwrap();
}

#[test]
fn reloads_while_clients_come_and_go_disturb_nobody() {
    let broker = start(with_keys(&["k"]));
    let load = Load::start(join(&broker, &keyring("k"), "publisher", "room"));
    let member = join(&broker, &keyring("k"), "member", "room");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (broker, stop) = (&broker, &stop);
            scope.spawn(move || {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let uid = format!("{thread} {number}");
                    let mut client =
                        Client::join_with(broker, &keyring("k"), &uid, "room", b"", None);
                    assert!(!client.text().is_empty());
                    number += 1;
                }
            });
        }
        for round in 0..20 {
            let mut other = with_keys(if round % 2 == 0 {
                &["other", "k"]
            } else {
                &["k"]
            });
            other.channels.default.history_frames = 10 + round;
            other.limits.max_channels = 100 + round;
            assert_eq!(broker.reload(other).unwrap().sessions_ended, 0);
        }
        stop.store(true, Ordering::Relaxed);
    });
    let sent = load.stop();
    received_all(member, sent);
    assert_eq!(broker.stats().rights_lost, 0);
}

/// Joins, and returns the keys in the headers of the history, up to the message `last`.
fn keys_in_history(broker: &Broker, uid: &str, last: &[u8]) -> Vec<Key> {
    let mut reader = Client::join_with(broker, &secret("shared"), uid, "room", b"", None);
    let mut keys = Vec::new();
    loop {
        let got = reader.receive_message();
        keys.push(FrameHeader::decode(&got.raw).unwrap().unwrap().key);
        if got.message == last {
            return keys;
        }
    }
}

#[test]
fn histories_forget_session_keys_when_there_are_rules_for_the_first_time() {
    // On the owner's shard, and as members of a relay.
    for spread_threshold in [100, 0] {
        let open = Settings {
            keyring: secret("shared"),
            spread_threshold,
            shards: Some(2),
            ..settings()
        };
        let broker = start(open.clone());
        let mut alice = join(&broker, &secret("shared"), "alice", "room");
        // One after the other, and some in one read.
        for n in 0..20 {
            alice.send(format!("{n}").as_bytes());
        }
        alice.send(&vec![b'.'; 100 << 10]);
        alice.send(b"end");
        let keys = keys_in_history(&broker, "before", b"end");
        assert!(keys.contains(&alice.key), "{keys:?}");
        let rule = AccessRule {
            holder: RuleHolder::Everybody,
            uid: NamePattern::any(),
            channel: NamePattern::any(),
            allow: Permissions::ALL,
        };
        let rules = vec![rule];
        broker.reload(Settings { rules, ..open }).unwrap();
        alice.send(b"behind");
        let keys = keys_in_history(&broker, "behind", b"behind");
        assert!(keys.len() >= 23, "{keys:?}");
        assert!(keys.iter().all(|key| *key == Key(0)), "{keys:?}");
    }
}
