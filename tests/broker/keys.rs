//! Several keys and rules, as members meet them: who gets in, and what nobody learns or takes from others.

use mles::protocol::{Cid, Keyring, Position, ResumeRequest};
use mles::{AccessRule, Broker, NamedKey, Permissions, RuleHolder, Settings};

use crate::common::asker::Asker;
use crate::common::{Client, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

fn rule(key: &str, channel: &str, allow: Permissions) -> AccessRule {
    AccessRule {
        holder: RuleHolder::Key(key.to_owned()),
        uid: "*".parse().unwrap(),
        channel: channel.parse().unwrap(),
        allow,
    }
}

fn secret(key: &str) -> Keyring {
    Keyring::new(Some(format!("secret of {key}")), None)
}

/// A broker with the keys `web` and `app`, and a key without a name.
fn start_with(rules: Vec<AccessRule>, spread_threshold: usize) -> Broker {
    let named = |name: &str| NamedKey::new(name, format!("secret of {name}")).unwrap();
    start(Settings {
        keyring: secret("default"),
        keys: vec![named("web"), named("app")],
        rules,
        spread_threshold,
        ..settings()
    })
}

fn join(broker: &Broker, key: &str, uid: &str, channel: &str, message: &[u8]) -> Client {
    Client::join_with(broker, &secret(key), uid, channel, message, None)
}

#[test]
fn each_key_opens_the_channels_that_its_rules_name() {
    let rules = vec![
        rule("web", "user.{uid}", Permissions::ALL),
        rule("app", "app.*", Permissions::ALL),
    ];
    let broker = start_with(rules, 100);
    for (key, uid, channel, is_open) in [
        ("web", "alice", "user.alice", true),
        ("web", "alice", "user.bob", false),
        ("web", "*", "user.bob", false),
        ("web", "alice", "app.x", false),
        ("app", "alice", "app.x", true),
        ("app", "alice", "user.alice", false),
        ("default", "alice", "app.x", false),
        ("other", "alice", "app.x", false),
    ] {
        let (joined, refused) = (broker.stats().joined, broker.stats().refused);
        let mut client = join(&broker, key, uid, channel, b"");
        if is_open {
            wait_until("the session has joined", || broker.stats().joined > joined);
        } else {
            client.assert_closed();
            assert_eq!(broker.stats().joined, joined, "{key} {uid} {channel}");
            wait_until("it is counted", || broker.stats().refused > refused);
        }
    }
}

/// Whoever had the key of another could join with it, and with its rights.
#[test]
fn members_do_not_get_the_keys_of_others() {
    for threshold in SPREAD {
        let broker = start_with(Vec::new(), threshold);
        let mut alice = join(&broker, "web", "alice", "room", b"");
        let mut bob = join(&broker, "app", "bob", "room", b"joins with a message");
        // In the same read as the join, by itself, and larger than what is read at once.
        bob.send(b"two");
        let long = vec![b'x'; 300_000];
        bob.send(&long);
        bob.send(b"last");
        let expected = [&b"joins with a message"[..], b"two", &long, b"last"];
        let check = |member: &mut Client| {
            for expected in expected {
                let received = member.receive_message();
                assert_eq!(received.message.len(), expected.len());
                assert_eq!(received.raw[8..16], [0; 8], "{:?}", &received.raw[..16]);
                assert_eq!(received.raw[4..8], bob.cid.0.to_be_bytes());
            }
        };
        check(&mut alice);
        // From the history as well.
        check(&mut join(&broker, "web", "carol", "room", b""));
    }
}

#[test]
fn with_one_key_for_all_frames_pass_as_they_came() {
    let broker = start(Settings {
        keyring: secret("default"),
        ..settings()
    });
    let mut alice = join(&broker, "default", "alice", "room", b"");
    let bob = join(&broker, "default", "bob", "room", b"hi");
    assert_eq!(alice.receive_message().raw, bob.frame(b"hi"));
}

/// Joins as a publisher that has named itself.
fn publisher(broker: &Broker, key: &str, cid: u32, since: Option<Position>) -> Asker {
    let stream = Client::connect(broker);
    let client = Client::on(stream, &secret(key), "bob", "room", Some(Cid(cid)));
    let request = ResumeRequest {
        since,
        publisher: Some(7),
        ..ResumeRequest::default()
    };
    Asker::on(client, b"", request)
}

#[test]
fn a_publisher_replaces_only_sessions_of_its_own_key() {
    for threshold in SPREAD {
        let broker = start_with(Vec::new(), threshold);
        let mut watcher = join(&broker, "web", "watcher", "room", b"");
        let mut bob = publisher(&broker, "web", 1, None);
        let since = Some(bob.welcome.position);
        bob.send(b"one");
        assert_eq!(watcher.text(), "one");
        // The same number from another key is another publisher, that has published nothing.
        let mut mallory = publisher(&broker, "app", 2, since);
        assert_eq!(mallory.welcome.published, None);
        mallory.send(b"two");
        assert_eq!(watcher.text(), "two");
        bob.send(b"three");
        assert_eq!(watcher.text(), "three");
        assert_eq!(broker.stats().replaced, 0);
        // His own key brings him back.
        let back = publisher(&broker, "web", 3, since);
        assert_eq!(back.welcome.published, Some(2));
        wait_until("the old one has ended", || broker.stats().replaced == 1);
        mallory.send(b"four");
        assert_eq!(watcher.text(), "four");
        watcher.assert_silent();
    }
}
