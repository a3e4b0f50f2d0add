//! A resync as the first frame: what a server below brings is merged, once and in order, and it is
//! sent what it lacks; or it is refused whole.

use std::io::Write as _;

use bytes::Bytes;
use mles::protocol::{Cid, Key, Keyring, LinkNotice, LinkRefusal, NestedFrame};
use mles::{Broker, Settings};

use crate::common::{Client, assert_closes, settings, start, wait_until};
use crate::downstream::{Below, frame, notice, open};

fn replay(client: &mut Client) -> u64 {
    match notice(client) {
        LinkNotice::Welcome { replay, path, .. } => {
            assert_eq!(path.len(), 1, "this server is the root");
            replay
        }
        other => panic!("{other:?} instead of a welcome"),
    }
}

fn texts(client: &mut Client, count: usize) -> Vec<String> {
    (0..count).map(|_| client.text()).collect()
}

/// On one shard or on two: there the session may be handed over with all it brings.
fn brokers() -> [Broker; 2] {
    [1, 2].map(|shards| {
        start(Settings {
            shards: Some(shards),
            ..settings()
        })
    })
}

#[test]
fn an_empty_channel_gets_its_history_back() {
    for broker in brokers() {
        let mut member = Client::join_and_wait(&broker, "member", "room");
        let below = open(&broker, "below").has(&[("one", None), ("two", None), ("two", None)]);
        let mut below = below.join();
        assert_eq!(texts(&mut member, 3), ["one", "two", "two"]);
        let mut late = Client::join(&broker, "late", "room");
        assert_eq!(texts(&mut late, 3), ["one", "two", "two"]);
        below.assert_silent();
        let stats = broker.stats();
        assert_eq!((stats.resyncs, stats.resync_frames), (1, 3));
    }
}

#[test]
fn only_what_is_new_is_stored_and_passed_on() {
    for broker in brokers() {
        let first = open(&broker, "first").has(&[("a", None), ("b", None), ("b", None)]);
        let _first = first.join();
        let mut member = Client::join(&broker, "member", "room");
        assert_eq!(texts(&mut member, 3), ["a", "b", "b"]);
        let second = [("b", None), ("c", None), ("b", None), ("b", None)];
        let mut second = open(&broker, "second").has(&second).join();
        assert_eq!(texts(&mut member, 2), ["c", "b"]);
        assert_eq!(second.text(), "a", "what it lacks");
        second.send(b"live");
        assert_eq!(member.text(), "live");
        let mut late = Client::join(&broker, "late", "room");
        assert_eq!(texts(&mut late, 6), ["a", "b", "b", "c", "b", "live"]);
        member.assert_silent();
    }
}

#[test]
fn a_link_is_told_how_much_history_follows() {
    for broker in brokers() {
        let mut member = Client::join(&broker, "member", "room");
        member.send(b"one");
        member.send(b"two");
        let late = Client::join(&broker, "witness", "room").text();
        assert_eq!(late, "one");
        let mut below = open(&broker, "below").says(0).join();
        assert_eq!(replay(&mut below), 2);
        assert_eq!(texts(&mut below, 2), ["one", "two"]);
        member.send(b"live");
        assert_eq!(below.text(), "live");
    }
}

/// The history is short, and both sides go on while the link is down.
#[test]
fn a_link_that_comes_back_is_known_however_long_it_was_gone() {
    let mut settings = settings();
    settings.channels.default.history_frames = 2;
    let broker = start(settings);
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let mut below = open(&broker, "below").says(0).join();
    assert_eq!(replay(&mut below), 0);
    below
        .stream
        .write_all(&frame("somebody", "room", "1"))
        .unwrap();
    below
        .stream
        .write_all(&frame("somebody", "room", "2"))
        .unwrap();
    assert_eq!(texts(&mut member, 2), ["1", "2"]);
    below.reset();
    wait_until("the link has ended", || broker.stats().left == 1);
    for n in 0..10 {
        member.send(format!("meanwhile {n}").as_bytes());
    }
    let mut witness = Client::join(&broker, "witness", "room");
    while witness.text() != "meanwhile 9" {}
    let history = [
        ("1", Some(1)),
        ("2", Some(2)),
        ("1", Some(3)),
        ("3", Some(4)),
    ];
    let mut below = open(&broker, "below").says(4).has(&history).join();
    assert_eq!(replay(&mut below), 2);
    assert_eq!(texts(&mut below, 2), ["meanwhile 8", "meanwhile 9"]);
    assert_eq!(
        texts(&mut member, 2),
        ["1", "3"],
        "only what was sent meanwhile"
    );
    member.assert_silent();
}

/// Servers pass on who is there. That must not push messages out of the history.
#[test]
fn hints_of_presence_from_below_are_passed_on_and_not_stored() {
    let broker = start(settings());
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let mut below = open(&broker, "below").says(0).join();
    assert_eq!(replay(&mut below), 0);
    let frames = [
        frame("x", "room", ""),
        frame("x", "room", "said"),
        frame("y", "room", ""),
    ];
    below.stream.write_all(&frames.concat()).unwrap();
    let seen: Vec<_> = (0..4).map(|_| member.receive().uid).collect();
    assert_eq!(seen, ["below", "x", "x", "y"]);
    let mut late = Client::join(&broker, "late", "room");
    assert_eq!(late.receive().message, b"said");
    late.assert_silent();
}

#[test]
fn the_key_of_the_first_frame_or_of_the_outer_header_admits() {
    for (shared, address) in [(Some("secret"), None), (None, Some("salt"))] {
        let keyring = Keyring::new(shared.map(Into::into), address.map(Into::into));
        let broker = start(Settings {
            keyring: keyring.clone(),
            ..settings()
        });
        let inner = Below::new(&broker, &keyring, "inner").has(&[("a", None)]);
        let mut stream = inner.client.stream.try_clone().unwrap();
        stream.write_all(&inner.resync(Key(5))).unwrap();
        wait_until("the inner key admits", || broker.stats().resyncs == 1);

        let mut outer = Below::new(&broker, &keyring, "outer").has(&[("b", None)]);
        let right = std::mem::replace(&mut outer.client.key, Key(5));
        let mut stream = outer.client.stream.try_clone().unwrap();
        stream.write_all(&outer.resync(right)).unwrap();
        wait_until("the outer key admits", || broker.stats().resyncs == 2);

        let mut neither = Below::new(&broker, &keyring, "neither")
            .has(&[("c", None)])
            .says(1);
        neither.client.key = Key(5);
        let mut neither = neither.join();
        assert_eq!(notice(&mut neither), LinkNotice::Refused(LinkRefusal::Key));
        assert_closes(&mut neither.stream);
        assert_eq!(
            (broker.stats().resync_frames, broker.stats().refused),
            (2, 1)
        );
    }
}

/// A stranger learns that its key is wrong, and nothing of what else is.
#[test]
fn nothing_behind_the_first_frame_is_read_under_a_wrong_key() {
    let keyring = Keyring::new(Some("secret".into()), None);
    let broker = start(Settings {
        keyring: keyring.clone(),
        ..settings()
    });
    for key in [Some(Key(5)), None] {
        let mut below = Below::new(&broker, &keyring, "below")
            .has(&[("good", None)])
            .says(1);
        below.nested.push(NestedFrame {
            frame: Bytes::from_static(b"no frame"),
            seq: None,
        });
        let expected = key.map_or(LinkRefusal::Resync, |_| LinkRefusal::Key);
        below.client.key = key.unwrap_or(below.client.key);
        let mut below = below.join();
        assert_eq!(notice(&mut below), LinkNotice::Refused(expected));
        assert_closes(&mut below.stream);
    }
}

#[test]
fn a_bad_resync_is_refused_whole() {
    let mut settings = settings();
    settings.limits.max_uid = 16;
    settings.limits.max_frame = 64 << 10;
    let broker = start(settings);
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let mut bad_magic = frame("x", "room", "text").to_vec();
    bad_magic[0] = b'X';
    let mut bad_length = frame("x", "room", "text").to_vec();
    bad_length[3] += 1;
    let forgeries = [
        frame("x", "elsewhere", "of another channel"),
        bad_magic.into(),
        bad_length.into(),
        frame(&"x".repeat(17), "room", "uid too long"),
        frame("x", "room", &"x".repeat(64 << 10)),
        Bytes::from_static(b"MM"),
        Bytes::new(),
    ];
    for (n, forged) in forgeries.into_iter().enumerate() {
        let mut below = open(&broker, "below").has(&[("good", None)]);
        below.nested.push(NestedFrame {
            frame: forged,
            seq: None,
        });
        let mut below = below.join();
        assert_closes(&mut below.stream);
        wait_until("it is counted", || broker.stats().refused == n as u64 + 1);
    }
    member.assert_silent();
    assert_eq!(broker.stats().resyncs, 0);
    Client::join(&broker, "late", "room").assert_silent();
}

/// After the join no frame is interpreted: a resync is a frame like any other.
#[test]
fn a_resync_is_merged_as_first_frame_only() {
    let broker = start(settings());
    let mut member = Client::join_and_wait(&broker, "member", "room");
    let below = open(&broker, "below").has(&[("hidden", None)]);
    let resync = below.resync(below.client.key);
    let mut client = Client::join_and_wait(&broker, "client", "room");
    client.stream.write_all(&resync).unwrap();
    let raw = loop {
        match member.take_raw(resync.len()) {
            Some(raw) => break raw,
            None => wait_until("it was published", || broker.stats().frames_in == 1),
        }
    };
    assert_eq!(raw, resync);
    assert_eq!(broker.stats().resyncs, 0);
}

#[test]
fn a_link_whose_connection_id_is_in_use_is_told() {
    for broker in brokers() {
        let _user = Client::join_and_wait(&broker, "user", "room");
        let mut below = open(&broker, "below").says(1).has(&[("new", Some(1))]);
        below.client.cid = Cid(77);
        let mut holder = Client::join_with(
            &broker,
            &Keyring::default(),
            "holder",
            "room",
            b"",
            Some(below.client.cid),
        );
        wait_until("the id is taken", || broker.stats().joined == 2);
        let mut below = below.join();
        assert_eq!(notice(&mut below), LinkNotice::Refused(LinkRefusal::Cid));
        assert_closes(&mut below.stream);
        holder.assert_silent();
        assert_eq!(broker.stats().refused_duplicate, 1);
    }
}
