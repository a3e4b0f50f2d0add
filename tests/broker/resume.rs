//! Sessions that ask for positions, over TCP: what they get, and that others get nothing of it.

use mles::protocol::{Cid, Epoch, Key, Keyring, Position, ResumeRequest};
use mles::{Broker, Settings};

use crate::common::asker::{Asker, Event};
use crate::common::{Client, PATIENCE, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

const ASK: ResumeRequest = ResumeRequest {
    since: None,
    publisher: None,
    members: None,
};

fn spreading(spread_threshold: usize) -> Broker {
    start(Settings {
        spread_threshold,
        ..settings()
    })
}

fn since(position: Position) -> ResumeRequest {
    ResumeRequest {
        since: Some(position),
        ..ASK
    }
}

#[test]
fn a_session_that_comes_back_gets_what_it_has_missed_and_nothing_twice() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut watcher = Client::join_and_wait(&broker, "watcher", "room");
        // Before anybody asks there are no numbers; the first who does gets the history as before.
        alice.send(b"1");
        assert_eq!(watcher.text(), "1");
        let mut bob = Asker::join(&broker, "bob", "room", ASK);
        assert!(bob.welcome.recovered);
        assert_eq!((bob.welcome.missed, bob.welcome.replay), (Some(0), 1));
        assert_eq!(bob.message(), (1, "1".into()));
        alice.send(b"2");
        assert_eq!(bob.message(), (2, "2".into()));
        let known = bob.position;
        bob.client.reset();
        wait_until("he is gone", || broker.stats().connections == 2);
        for n in 3..=7 {
            alice.send(format!("{n}").as_bytes());
        }
        while watcher.text() != "7" {}
        let mut bob = Asker::join(&broker, "bob", "room", since(known));
        assert!(bob.welcome.recovered);
        assert_eq!((bob.welcome.missed, bob.welcome.published), (Some(0), None));
        alice.send(b"8");
        for n in 3..=8 {
            assert_eq!(bob.message(), (n, n.to_string()));
        }
        assert_eq!(broker.stats().resumed, 1);
        assert_eq!(broker.stats().resumed_partly, 0);
    }
}

#[test]
fn own_messages_are_receipts_at_their_place() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut alice = Asker::join(&broker, "alice", "room", ASK);
        let mut bob = Asker::join(&broker, "bob", "room", ASK);
        alice.send(b"1");
        assert_eq!(alice.receipt(), (1, 1));
        assert_eq!(bob.message(), (1, "1".into()));
        bob.send(b"2");
        assert_eq!(bob.receipt(), (1, 2));
        assert_eq!(alice.message(), (2, "2".into()));
        // A hint of presence has no place.
        alice.send(b"");
        alice.send(b"3");
        assert_eq!(alice.receipt(), (1, 3));
        assert_eq!(bob.message(), (3, "3".into()));
        assert_eq!(alice.position, bob.position);
        let client = Client::on(
            Client::connect(&broker),
            &Keyring::default(),
            "carol",
            "room",
            None,
        );
        let mut carol = Asker::on(client, b"4", ASK);
        for n in 1..=3 {
            assert_eq!(carol.message(), (n, n.to_string()));
        }
        assert_eq!(carol.receipt(), (1, 4));
        assert_eq!(bob.message(), (4, "4".into()));
    }
}

#[test]
fn what_is_gone_is_told_with_its_number() {
    for threshold in SPREAD {
        let mut settings = settings();
        settings.channels.default.history_frames = 3;
        settings.spread_threshold = threshold;
        let broker = start(settings);
        let mut bob = Asker::join(&broker, "bob", "room", ASK);
        let known = bob.position;
        for n in 1..=10 {
            bob.send(format!("{n}").as_bytes());
            assert_eq!(bob.receipt(), (1, n));
        }
        let mut late = Asker::join(&broker, "late", "room", since(known));
        assert!(!late.welcome.recovered);
        assert_eq!((late.welcome.missed, late.welcome.replay), (Some(7), 3));
        for n in 8..=10 {
            assert_eq!(late.message(), (n, n.to_string()));
        }
        let foreign = Position {
            epoch: Epoch(known.epoch.0 ^ 1),
            offset: 10,
        };
        let beyond = Position {
            epoch: known.epoch,
            offset: 11,
        };
        for unknown in [foreign, beyond] {
            let mut lost = Asker::join(&broker, "lost", "room", since(unknown));
            assert!(!lost.welcome.recovered);
            assert_eq!((lost.welcome.missed, lost.welcome.replay), (None, 3));
            assert_eq!(lost.message(), (8, "8".into()));
            lost.client.reset();
            wait_until("it is gone", || broker.stats().connections == 2);
        }
        assert_eq!(broker.stats().resumed_partly, 3);
    }
}

/// Nothing was received before the break, and nothing is gone.
#[test]
fn who_was_alone_and_has_missed_nothing_is_told_so() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let bob = Asker::join(&broker, "bob", "room", ASK);
        assert_eq!((bob.welcome.position.offset, bob.welcome.replay), (0, 0));
        let known = bob.position;
        bob.client.reset();
        wait_until("he is gone", || broker.stats().connections == 0);
        let bob = Asker::join(&broker, "bob", "room", since(known));
        assert_eq!((bob.welcome.recovered, bob.welcome.missed), (true, Some(0)));
        assert_eq!(bob.position, known);
    }
}

#[test]
fn a_half_closed_session_counts_on() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut bob = Asker::join(&broker, "bob", "room", ASK);
        bob.send(b"1");
        bob.client.finish();
        assert_eq!(bob.receipt(), (1, 1));
        wait_until("his end is seen", || broker.stats().half_closed == 1);
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        alice.send(b"2");
        assert_eq!(bob.message(), (2, "2".into()));
    }
}

/// What a client has sent before a stop is confirmed before the connection is closed.
#[test]
fn a_stop_confirms_what_has_its_place() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut alice = Asker::join(&broker, "alice", "room", ASK);
        let mut bob = Asker::join(&broker, "bob", "room", ASK);
        for n in 0..500 {
            bob.send(format!("{n}").as_bytes());
        }
        wait_until("all are taken in", || broker.stats().frames_in == 500);
        broker.stop().unwrap();
        for n in 0..500 {
            assert_eq!(alice.message(), (n + 1, n.to_string()));
        }
        while bob.position.offset < 500 {
            bob.receipt();
        }
        for mut client in [alice, bob] {
            let told = client.try_next(PATIENCE);
            assert!(matches!(told, Some(Event::Stopping(_))), "{told:?}");
            assert_eq!(client.try_next(PATIENCE), None);
        }
    }
}

/// Neither fellow members nor the history see a byte of it.
#[test]
fn others_get_the_same_bytes_as_without() {
    let seen = |asks: bool| {
        let broker = start(settings());
        let mut alice = Client::join_and_wait(&broker, "alice", "room");
        let mut client = Client::on(
            Client::connect(&broker),
            &Keyring::default(),
            "bob",
            "room",
            Some(Cid(7)),
        );
        // A broker without a secret takes any.
        client.key = Key(9);
        let mut bob = if asks {
            let request = ResumeRequest {
                since: Some(Position {
                    epoch: Epoch(1),
                    offset: 2,
                }),
                publisher: Some(3),
                members: Some(4),
            };
            Asker::on(client, b"I join", request).client
        } else {
            client.send(b"I join");
            client
        };
        let mut seen = vec![alice.receive().raw];
        bob.send(b"hello");
        seen.push(alice.receive().raw);
        let mut late = Client::join(&broker, "late", "room");
        seen.push(late.receive().raw);
        seen.push(late.receive().raw);
        alice.receive();
        alice.assert_silent();
        late.assert_silent();
        seen
    };
    assert_eq!(seen(true), seen(false));
}

#[test]
fn a_join_with_a_wrong_wish_is_refused() {
    let broker = start(settings());
    let mut bob = Client::on(
        Client::connect(&broker),
        &Keyring::default(),
        "bob",
        "room",
        None,
    );
    let good = mles::protocol::encode_join(
        bob.cid,
        bob.key,
        &mles::protocol::Message {
            uid: "bob",
            channel: "room",
            message: b"",
        },
        &since(Position {
            epoch: Epoch(1),
            offset: 2,
        })
        .into(),
    )
    .unwrap();
    let at = good.windows(2).position(|pair| pair == b":2").unwrap();
    let mut bad = good;
    bad[at] = b';';
    std::io::Write::write_all(&mut bob.stream, &bad).unwrap();
    bob.assert_closed();
    assert_eq!(broker.stats().refused, 1);
}
