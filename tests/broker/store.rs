//! Histories on disk over TCP: what clients find when a server is started again.

use std::path::Path;
use std::time::Duration;

use mles::channel::{ChannelSettings, HistoryStorage};
use mles::protocol::{Cid, Key, Message, Position, ResumeRequest, encode_frame};
use mles::{Broker, ReloadError, Settings, StartError, StoreSync};

use crate::admin::{admin_settings, ask, get};
use crate::common::asker::Asker;
use crate::common::{Client, settings, start, wait_until};

pub(crate) const ASK: ResumeRequest = ResumeRequest {
    since: None,
    publisher: None,
    members: None,
};

pub(crate) fn since(position: Position) -> ResumeRequest {
    ResumeRequest {
        since: Some(position),
        ..ASK
    }
}

/// Settings of a server whose channels are on disk.
pub(crate) fn on_disk(dir: &Path, sync: StoreSync) -> Settings {
    let mut settings = admin_settings();
    settings.channels.default.history = HistoryStorage::Disk;
    settings.store.dir = Some(dir.join("store"));
    settings.store.sync = sync;
    settings
}

pub(crate) fn every(millis: u64) -> StoreSync {
    StoreSync::Interval(Duration::from_millis(millis))
}

/// Publishes texts, and waits until they have their place.
fn publish(broker: &Broker, channel: &str, texts: &[&str]) -> Position {
    let mut alice = Asker::join(broker, "alice", channel, ASK);
    while alice.position.offset < alice.welcome.position.offset {
        alice.next();
    }
    for text in texts {
        alice.send(text.as_bytes());
        assert_eq!(alice.receipt().0, 1);
    }
    alice.position
}

/// Waits until the store has so many bytes of frames.
fn wait_for_bytes(broker: &Broker, bytes: u64) {
    wait_until("it is written", || {
        get(broker, "/api/server")["store"]["written_bytes"].as_u64() >= Some(bytes)
    });
}

/// Returns the bytes of a frame that [`publish`] sends.
fn frame_len(channel: &str, text: &str) -> u64 {
    let message = Message {
        uid: "alice",
        channel,
        message: text.as_bytes(),
    };
    encode_frame(Cid(1), Key(1), &message).unwrap().len() as u64
}

#[test]
fn after_a_stop_history_and_positions_go_on() {
    let dir = tempfile::tempdir().unwrap();
    for sync in [every(1), every(3_600_000), StoreSync::Os] {
        let settings = on_disk(&dir.path().join(format!("{sync:?}")), sync);
        let broker = start(settings.clone());
        let known = publish(&broker, "room", &["1", "2", "3"]);
        broker.stop().unwrap();

        let broker = start(settings.clone());
        let mut bob = Asker::join(
            &broker,
            "bob",
            "room",
            since(Position { offset: 1, ..known }),
        );
        assert!(bob.welcome.recovered, "{:?}", bob.welcome);
        assert_eq!((bob.welcome.missed, bob.welcome.position), (Some(0), known));
        assert_eq!(bob.message(), (2, "2".into()));
        assert_eq!(bob.message(), (3, "3".into()));
        bob.send(b"4");
        assert_eq!(bob.receipt(), (1, 4));
        drop(bob);
        broker.stop().unwrap();

        // Those who do not ask for positions get the history as well.
        let broker = start(settings);
        let mut carol = Client::join(&broker, "carol", "room");
        for text in ["1", "2", "3", "4"] {
            assert_eq!(carol.text(), text);
        }
    }
}

#[test]
fn after_a_kill_a_position_on_disk_counts_and_one_beyond_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let settings = on_disk(dir.path(), every(1));
    let broker = start(settings);
    let saved = publish(&broker, "room", &["1", "2"]);
    wait_for_bytes(&broker, 2 * frame_len("room", "1"));
    // Dropped without a stop, it does not say that all is there.
    drop(broker);

    let settings = on_disk(dir.path(), every(3_600_000));
    let broker = start(settings.clone());
    let mut bob = Asker::join(&broker, "bob", "room", since(saved));
    assert!(bob.welcome.recovered, "{:?}", bob.welcome);
    assert_ne!(bob.welcome.position.epoch, saved.epoch);
    assert_eq!(bob.welcome.position.offset, 2);
    // What it has to write comes with the first batch, and what is published after that is not written.
    wait_until("nothing waits", || {
        get(&broker, "/api/server")["store"]["batches"].as_u64() > Some(0)
    });
    bob.send(b"3");
    assert_eq!(bob.receipt(), (1, 3));
    let lost = bob.position;
    drop(broker);

    let broker = start(settings);
    let mut bob = Asker::join(&broker, "bob", "room", since(lost));
    assert!(!bob.welcome.recovered, "{:?}", bob.welcome);
    assert_eq!((bob.welcome.missed, bob.welcome.replay), (None, 0));
    bob.send(b"4");
    assert_eq!(bob.receipt(), (1, 3));
    // The first epoch still counts.
    let carol = Asker::join(&broker, "carol", "room", since(saved));
    assert!(carol.welcome.recovered, "{:?}", carol.welcome);
    assert_eq!(carol.welcome.replay, 1);
}

#[test]
fn a_publisher_is_known_after_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let settings = on_disk(dir.path(), every(1));
    let broker = start(settings.clone());
    let request = ResumeRequest {
        publisher: Some(7),
        ..ASK
    };
    let mut alice = Asker::join(&broker, "alice", "room", request);
    let known = alice.welcome.position;
    for n in 1..=3 {
        alice.send(format!("{n}").as_bytes());
        assert_eq!(alice.receipt(), (1, n));
    }
    broker.stop().unwrap();

    let broker = start(settings);
    let request = ResumeRequest {
        publisher: Some(7),
        ..since(known)
    };
    let alice = Asker::join(&broker, "alice", "room", request);
    assert_eq!(alice.welcome.published, Some(3), "{:?}", alice.welcome);
}

#[test]
fn channels_in_memory_are_gone_beside_those_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = on_disk(dir.path(), every(1));
    let memory = ChannelSettings {
        history: HistoryStorage::Memory,
        ..settings.channels.default.clone()
    };
    settings.channels.patterns = vec![("memory.*".into(), memory)];
    let broker = start(settings.clone());
    let on_disk = publish(&broker, "disk.a", &["1"]);
    let in_memory = publish(&broker, "memory.a", &["1"]);
    broker.stop().unwrap();

    let broker = start(settings);
    let bob = Asker::join(&broker, "bob", "disk.a", since(on_disk));
    assert!(bob.welcome.recovered);
    let bob = Asker::join(&broker, "bob", "memory.a", since(in_memory));
    assert!(!bob.welcome.recovered);
    let store = &get(&broker, "/api/server")["store"];
    assert_eq!(
        (&store["loaded_channels"], &store["loaded_messages"]),
        (&1.into(), &1.into()),
        "{store}"
    );
}

#[test]
fn channels_that_are_not_on_disk_any_more_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = on_disk(dir.path(), every(1));
    let broker = start(settings.clone());
    publish(&broker, "a", &["1"]);
    publish(&broker, "b", &["1"]);
    broker.stop().unwrap();

    let memory = ChannelSettings {
        history: HistoryStorage::Memory,
        ..settings.channels.default.clone()
    };
    settings.channels.patterns = vec![("a".into(), memory)];
    let broker = start(settings);
    let store = &get(&broker, "/api/server")["store"];
    assert_eq!(
        (&store["loaded_channels"], &store["forgotten_channels"]),
        (&1.into(), &1.into()),
        "{store}"
    );
}

#[test]
fn a_store_is_one_servers_alone_and_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let settings = on_disk(dir.path(), every(1));
    let first = start(settings.clone());
    let second = Broker::start(settings.clone());
    let error = second.expect_err("two servers have one store");
    assert!(matches!(error, StartError::Store(_)), "{error:?}");
    assert!(error.to_string().contains("in use"), "{error}");
    drop(first);
    drop(start(settings.clone()));

    let file = dir.path().join("file");
    std::fs::write(&file, "hello").unwrap();
    let mut settings = settings;
    settings.store.dir = Some(file);
    let error = Broker::start(settings.clone()).expect_err("a file is a store");
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    settings.store.dir = None;
    let error = Broker::start(settings).expect_err("it needs a directory");
    assert!(matches!(error, StartError::NoStoreDirectory), "{error:?}");
}

#[test]
fn a_reload_moves_channels_to_disk_if_there_is_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut to_disk = settings();
    to_disk.channels.default.history = HistoryStorage::Disk;
    to_disk.store.dir = Some(dir.path().join("store"));
    let broker = start(settings());
    let error = broker
        .reload(to_disk.clone())
        .expect_err("there is no store");
    assert!(matches!(error, ReloadError::NoStore), "{error:?}");
    broker.stop().unwrap();

    let mut other = to_disk.clone();
    other.channels.default.history = HistoryStorage::Memory;
    other.channels.patterns = vec![("other".into(), to_disk.channels.default.clone())];
    let broker = start(other);
    let known = publish(&broker, "room", &["1", "2"]);
    broker.reload(to_disk.clone()).unwrap();
    broker.stop().unwrap();
    let broker = start(to_disk);
    let bob = Asker::join(&broker, "bob", "room", since(known));
    assert!(bob.welcome.recovered, "{:?}", bob.welcome);
}

#[test]
fn a_server_with_a_store_is_ready_and_shows_its_figures() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(on_disk(dir.path(), every(1)));
    publish(&broker, "room", &["1"]);
    wait_for_bytes(&broker, frame_len("room", "1"));
    assert_eq!(ask(&broker, "GET /readyz").body, "ok\n");
    let server = get(&broker, "/api/server");
    assert_eq!(server["store"]["sync"], "1ms");
    assert_eq!(server["store"]["failure"], serde_json::Value::Null);
    let metrics = ask(&broker, "GET /metrics").body;
    assert!(metrics.contains("\nmles_store_failing 0.0\n"), "{metrics}");
}
