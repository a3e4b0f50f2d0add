//! Publishers that name themselves: what they are told when they come back, however their old session ends.

use std::io::Write as _;
use std::net::Shutdown;
use std::time::Duration;

use mles::protocol::{Cid, Keyring, ResumeRequest, Welcome};
use mles::{Broker, Settings};

use crate::common::asker::{Asker, Event};
use crate::common::{Client, PATIENCE, SILENCE, settings, start, wait_until};

/// On its owner's shard, and as a relay member where the connection was accepted.
const SPREAD: [usize; 2] = [100, 0];

fn spreading(spread_threshold: usize) -> Broker {
    start(Settings {
        spread_threshold,
        ..settings()
    })
}

fn publisher(id: u64) -> ResumeRequest {
    ResumeRequest {
        publisher: Some(id),
        ..ResumeRequest::default()
    }
}

/// Goes on from what a session of the publisher was welcomed with.
fn publisher_behind(welcome: Welcome, id: u64) -> ResumeRequest {
    ResumeRequest {
        since: Some(welcome.position),
        ..publisher(id)
    }
}

#[test]
fn a_publisher_is_told_how_many_of_its_messages_have_their_place() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut watcher = Asker::join(&broker, "watcher", "room", ResumeRequest::default());
        let mut bob = Asker::join(&broker, "bob", "room", publisher(1));
        assert_eq!(bob.welcome.published, None);
        for n in 1..=5 {
            bob.send(format!("{n}").as_bytes());
            assert_eq!(watcher.message().0, n);
        }
        // He is back under another connection id while his old session is still there.
        let known = publisher_behind(bob.welcome, 1);
        let mut again = Asker::join_as(&broker, ("bob", Cid(77)), "room", known);
        assert_eq!(again.welcome.published, Some(5));
        while let Some(event) = bob.try_next(PATIENCE) {
            let is_told = matches!(event, Event::Receipt(1, _) | Event::Close(4409, _));
            assert!(is_told, "{event:?}");
        }
        again.send(b"6");
        assert_eq!(watcher.message(), (6, "6".into()));
        // And under the same.
        let once_more = Asker::join_as(&broker, ("bob", Cid(77)), "room", known);
        assert_eq!(once_more.welcome.published, Some(6));
        once_more.client.reset();
        wait_until("all are gone", || broker.stats().connections == 1);
        let other = Asker::join(&broker, "bob", "room", publisher(2));
        assert_eq!(other.welcome.published, None);
        let back = Asker::join_as(&broker, ("bob", Cid(78)), "room", known);
        assert_eq!(back.welcome.published, Some(6));
        assert_eq!(broker.stats().replaced, 2);
    }
}

/// It is known while it has a session, however long that is silent, and for `publishers_age` behind it.
#[test]
fn a_publisher_that_was_forgotten_is_unknown() {
    let mut settings = settings();
    settings.channels.default.publishers_age = Duration::from_millis(1);
    let broker = start(settings);
    let mut watcher = Asker::join(&broker, "watcher", "room", ResumeRequest::default());
    let mut bob = Asker::join(&broker, "bob", "room", publisher(1));
    bob.send(b"1");
    assert_eq!(watcher.message().0, 1);
    std::thread::sleep(Duration::from_millis(20));
    bob.send(b"2");
    assert_eq!(watcher.message().0, 2);
    bob.client.reset();
    wait_until("he is gone", || broker.stats().connections == 1);
    std::thread::sleep(Duration::from_millis(20));
    let known = publisher_behind(bob.welcome, 1);
    let bob = Asker::join(&broker, "bob", "room", known);
    assert_eq!(bob.welcome.published, None);
}

/// It may have published before it was forgotten, and not know how much of that has its place.
#[test]
fn a_publisher_that_has_not_had_the_welcome_in_which_counting_began_is_unknown() {
    let mut settings = settings();
    settings.channels.default.publishers_age = Duration::from_millis(1);
    let broker = start(settings);
    let mut watcher = Asker::join(&broker, "watcher", "room", ResumeRequest::default());
    let mut bob = Asker::join(&broker, "bob", "room", publisher(1));
    let known = publisher_behind(bob.welcome, 1);
    bob.send(b"1");
    assert_eq!(watcher.message().0, 1);
    bob.client.reset();
    wait_until("he is gone", || broker.stats().connections == 1);
    std::thread::sleep(Duration::from_millis(20));
    // He is forgotten, and counted anew from here on; say that he loses this welcome.
    let lost = Asker::join(&broker, "bob", "room", known);
    assert_eq!(lost.welcome.published, None);
    let again = Asker::join(&broker, "bob", "room", known);
    assert_eq!(again.welcome.published, None);
    let known = publisher_behind(again.welcome, 1);
    let at_last = Asker::join(&broker, "bob", "room", known);
    assert_eq!(at_last.welcome.published, Some(0));
}

/// A half-closed session, and one that a join waits for, give way like any other.
#[test]
fn a_publisher_gets_its_place_from_a_ghost_that_is_half_closed_or_tested() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut watcher = Asker::join(&broker, "watcher", "room", ResumeRequest::default());
        let mut ghost = Asker::join_as(&broker, ("bob", Cid(7)), "room", publisher(1));
        ghost.send(b"1");
        assert_eq!(watcher.message().0, 1);
        ghost.client.stream.shutdown(Shutdown::Write).unwrap();
        wait_until("it is half-closed", || broker.stats().half_closed == 1);
        let known = publisher_behind(ghost.welcome, 1);
        let mut bob = Asker::join_as(&broker, ("bob", Cid(8)), "room", known);
        assert_eq!(bob.welcome.published, Some(1));
        bob.send(b"2");
        assert_eq!(watcher.message().0, 2);
        // A join that does not name itself waits for the place of one that is there.
        let accepted = broker.stats().accepted;
        let keyring = Keyring::default();
        let mut waiting = Client::join_with(&broker, &keyring, "bob", "room", b"", Some(Cid(8)));
        wait_until("it is accepted", || broker.stats().accepted > accepted);
        let again = Asker::join_as(&broker, ("bob", Cid(9)), "room", known);
        assert_eq!(again.welcome.published, Some(2));
        // That place is free now.
        watcher.send(b"3");
        while waiting.text() != "3" {}
    }
}

/// Whatever is under way of the old session, the welcome tells what is in the order, and nothing follows.
#[test]
fn nothing_of_a_ghost_comes_behind_the_welcome_of_the_new_session() {
    for threshold in SPREAD {
        let broker = spreading(threshold);
        let mut watcher = Asker::join(&broker, "watcher", "room", ResumeRequest::default());
        let (mut published, mut known_to_ghost) = (0, publisher(1));
        for round in 0..20 {
            let ghost = Asker::join(&broker, "bob", "room", known_to_ghost);
            known_to_ghost = publisher_behind(ghost.welcome, 1);
            let known = (round > 0).then_some(published);
            assert_eq!(ghost.welcome.published, known);
            let frame = ghost.client.frame(format!("{round} ghost").as_bytes());
            let mut again = std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut stream = &ghost.client.stream;
                    // It ends with the ghost, or before.
                    let bursts = std::iter::repeat_n(frame.repeat(20), 200);
                    bursts
                        .take_while(|burst| stream.write_all(burst).is_ok())
                        .count()
                });
                // What is sent is under way by now.
                assert_eq!(watcher.message().1, format!("{round} ghost"));
                Asker::join_as(&broker, ("bob", Cid(round)), "room", known_to_ghost)
            });
            let begin = published;
            published = again.welcome.published.unwrap();
            assert!(published > begin);
            again.send(format!("{round} again").as_bytes());
            published += 1;
            for n in begin + 2..=published {
                let ghost_or_again = if n == published { "again" } else { "ghost" };
                assert_eq!(watcher.message(), (n, format!("{round} {ghost_or_again}")));
            }
        }
        assert_eq!(watcher.try_next(SILENCE), None);
    }
}
