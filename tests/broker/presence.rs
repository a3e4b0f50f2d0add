//! Sessions that watch who is there: the list at the join, then what changes.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use mles::channel::SlowPolicy;
use mles::protocol::{Cid, Keyring, Notice, ResumeRequest};
use mles::{Broker, Settings};

use crate::common::asker::{Asker, Event};
use crate::common::slow::{MANY, QUEUE, message};
use crate::common::websocket::{BINARY, Ws, address, body};
use crate::common::{self, Client, PATIENCE, Rng, SILENCE, reset, start, wait_until};

const INTERVAL: Duration = Duration::from_millis(50);

fn settings(shards: usize, spread_threshold: usize) -> Settings {
    let mut settings = common::websocket::settings();
    settings.shards = Some(shards);
    settings.spread_threshold = spread_threshold;
    settings.channels.default.presence_interval = INTERVAL;
    settings
}

/// A session that watches, and what it knows of who is there.
struct Watcher {
    asker: Asker,
    /// Set once it has the list.
    has_list: bool,
    count: u64,
    uids: Vec<String>,
    /// Number of notices of changes.
    notices: usize,
    /// The names in them.
    told: usize,
}

impl Watcher {
    fn join(broker: &Broker, uid: &str, channel: &str, names: u64) -> Self {
        Self::of(Asker::join(broker, uid, channel, watching(names)))
    }

    fn of(asker: Asker) -> Self {
        Self {
            asker,
            has_list: false,
            count: 0,
            uids: Vec::new(),
            notices: 0,
            told: 0,
        }
    }

    /// Takes the next event in. Returns `false` if none comes in time.
    fn next(&mut self, patience: Duration) -> bool {
        let Some(event) = self.asker.try_next(patience) else {
            return false;
        };
        match event {
            Event::Members(Notice::Members { count, uids }) => {
                assert!(
                    !std::mem::replace(&mut self.has_list, true),
                    "a second list"
                );
                self.count = count;
                self.uids = uids.iter().map(|uid| uid.to_string()).collect();
            }
            Event::Members(Notice::Changes {
                count,
                joined,
                left,
            }) => {
                assert!(self.has_list, "changes before the list");
                assert!(
                    !joined.is_empty() || !left.is_empty(),
                    "nothing has changed"
                );
                self.count = count;
                self.notices += 1;
                self.told += joined.len() + left.len();
                for uid in &left {
                    let at = self.uids.iter().position(|known| **known == **uid);
                    self.uids.swap_remove(at.expect("who leaves was there"));
                }
                self.uids.extend(joined.iter().map(|uid| uid.to_string()));
            }
            // The list comes anew.
            Event::Gap { members, .. } => self.has_list &= !members,
            other => assert!(matches!(other, Event::Message(..)), "{other:?}"),
        }
        true
    }

    /// Waits until exactly these are there, as far as it knows.
    fn expect(&mut self, expected: &[String]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.uids.sort();
            if self.has_list && self.uids == expected {
                return assert_eq!(self.count, expected.len() as u64);
            }
            let waits = self.next(deadline.saturating_duration_since(Instant::now()));
            assert!(waits, "{:?} instead of {expected:?}", self.uids);
        }
    }

    /// Waits like [`Self::expect`].
    fn expect_these(&mut self, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|uid| uid.to_string()).collect();
        self.expect(&expected);
    }
}

fn watching(names: u64) -> ResumeRequest {
    ResumeRequest {
        members: Some(names),
        ..ResumeRequest::default()
    }
}

#[test]
fn who_watches_gets_the_list_and_then_what_changes() {
    for threshold in [100, 0] {
        let broker = start(settings(2, threshold));
        let bob = Client::join_and_wait(&broker, "bob", "room");
        let mut ann = Watcher::join(&broker, "ann", "room", 10);
        ann.expect_these(&["ann", "bob"]);
        assert_eq!(ann.notices, 0);
        let dave = Ws::v2(&broker, "dave", "room");
        ann.expect_these(&["ann", "bob", "dave"]);
        let mut carol = Watcher::join(&broker, "carol", "room", 10);
        carol.expect_these(&["ann", "bob", "carol", "dave"]);
        ann.expect_these(&["ann", "bob", "carol", "dave"]);
        bob.reset();
        drop(dave);
        for watcher in [&mut ann, &mut carol] {
            watcher.expect_these(&["ann", "carol"]);
        }
        ann.asker.client.reset();
        carol.expect_these(&["carol"]);
        assert!(!carol.next(SILENCE));
        // Messages are between the notices, as they came.
        let mut eve = Client::join_and_wait(&broker, "eve", "room");
        eve.send(b"hello");
        carol.expect_these(&["carol", "eve"]);
    }
}

#[test]
fn a_limit_bounds_the_list_and_not_what_changes() {
    let broker = start(settings(2, 100));
    let _members: Vec<_> = (0..5)
        .map(|i| Client::join_and_wait(&broker, &format!("{i}"), "room"))
        .collect();
    for names in [0, 1, 3, 6, 7, u64::MAX] {
        let mut watcher = Watcher::join(&broker, "watcher", "room", names);
        while !watcher.has_list {
            assert!(watcher.next(PATIENCE));
        }
        let expected = usize::try_from(names.min(6)).unwrap();
        assert_eq!((watcher.count, watcher.uids.len()), (6, expected));
        let new = Client::join_and_wait(&broker, "new", "room");
        while !watcher.uids.contains(&"new".to_owned()) {
            assert!(watcher.next(PATIENCE));
        }
        assert_eq!(watcher.count, 7);
        new.reset();
        watcher.asker.client.reset();
        wait_until("both are gone", || broker.stats().connections == 5);
    }
}

/// Hundreds come and go, over TCP and WebSocket, and so do those who watch. When all is still, everyone who watches
/// knows who is there.
#[test]
fn everyone_who_watches_knows_who_is_there() {
    let mut rng = Rng::seeded();
    for (shards, threshold) in [(1, 100), (4, 6), (4, 1000)] {
        let broker = start(settings(shards, threshold));
        for channel in ["a", "b"] {
            let mut members: Vec<(String, TcpStream)> = Vec::new();
            let mut watchers: Vec<Watcher> = Vec::new();
            let mut joined = 0;
            for _ in 0..5 {
                for _ in 0..60 {
                    joined += 1;
                    let uid = format!("{joined}");
                    match rng.below(10) {
                        0..3 if !members.is_empty() => {
                            let (_, stream) = members.swap_remove(rng.below(members.len()));
                            reset(stream);
                        }
                        3 if watchers.len() > 3 => {
                            let watcher = watchers.swap_remove(rng.below(watchers.len()));
                            watcher.asker.client.reset();
                        }
                        4 => watchers.push(Watcher::join(&broker, &uid, channel, 1000)),
                        5..7 => {
                            let mut ws = Ws::open(address(&broker));
                            ws.send(BINARY, &body(&uid, channel, b""));
                            members.push((uid, ws.stream));
                        }
                        _ => {
                            let client = Client::join(&broker, &uid, channel);
                            members.push((uid, client.stream));
                        }
                    }
                }
                let of_members = members.iter().map(|(uid, _)| uid);
                let of_watchers = watchers.iter().map(|watcher| &watcher.asker.client.uid);
                let mut expected: Vec<_> = of_members.chain(of_watchers).cloned().collect();
                expected.sort();
                for watcher in &mut watchers {
                    watcher.expect(&expected);
                }
            }
        }
    }
}

/// Joins with so many sessions on one connection, whose uids begin with `prefix`.
fn join_many(broker: &Broker, prefix: &str, count: usize) -> Ws {
    let mut ws = Ws::open(address(broker));
    for i in 0..count {
        ws.send(BINARY, &body(&format!("{prefix}{i}"), "room", b""));
    }
    ws
}

/// However many come, who watches is told once for each interval at most.
#[test]
fn a_crowd_costs_few_notices() {
    let mut settings = settings(4, 100);
    settings.channels.default.presence_interval = Duration::from_millis(300);
    let broker = start(settings);
    let mut watchers: Vec<_> = (0..3)
        .map(|i| Watcher::join(&broker, &format!("watcher {i}"), "room", 10))
        .collect();
    for watcher in &mut watchers {
        watcher.expect_these(&["watcher 0", "watcher 1", "watcher 2"]);
        watcher.notices = 0;
    }
    let began = Instant::now();
    let connections: Vec<_> = (0..4)
        .map(|connection| join_many(&broker, &format!("{connection} "), 500))
        .collect();
    for watcher in &mut watchers {
        while watcher.uids.len() < 2003 {
            assert!(watcher.next(PATIENCE));
        }
        let intervals = began.elapsed().as_millis() / 300;
        assert!(
            watcher.notices as u128 <= intervals + 1,
            "{}",
            watcher.notices
        );
        assert_eq!(watcher.count, 2003);
    }
    drop(connections);
    for watcher in &mut watchers {
        watcher.expect_these(&["watcher 0", "watcher 1", "watcher 2"]);
        let intervals = began.elapsed().as_millis() / 300;
        assert!(
            watcher.notices as u128 <= intervals + 1,
            "{}",
            watcher.notices
        );
    }
}

/// Those who watch are many as well, and all want the list.
#[test]
fn a_crowd_that_watches_costs_few_notices() {
    let mut settings = settings(4, 6);
    settings.channels.default.presence_interval = Duration::from_millis(300);
    let broker = start(settings);
    let mut first = Watcher::join(&broker, "first", "room", 1000);
    first.expect_these(&["first"]);
    let began = Instant::now();
    let mut crowd: Vec<_> = (0..100)
        .map(|i| Watcher::join(&broker, &format!("{i}"), "room", 1000))
        .collect();
    let mut expected: Vec<_> = (0..100).map(|i| i.to_string()).collect();
    expected.push("first".to_owned());
    expected.sort();
    for watcher in crowd.iter_mut().chain([&mut first]) {
        watcher.expect(&expected);
    }
    let intervals = began.elapsed().as_millis() / 300;
    assert!(first.notices as u128 <= intervals + 1, "{}", first.notices);
}

/// The next news have the rest, and whoever gets the list in between is told what the others have been told.
#[test]
fn names_that_find_no_room_come_later() {
    const EACH: usize = 150;
    let mut settings = settings(2, 1000);
    settings.channels.default.presence_interval = Duration::from_millis(300);
    // Names may take half of it: a list of these has room for about 180.
    settings.limits.max_frame = 4096;
    let broker = start(settings);
    let mut ann = Watcher::join(&broker, "ann", "room", 1000);
    let leaving = join_many(&broker, "b", EACH);
    let named = |prefix: &str| {
        (0..EACH)
            .map(|i| format!("{prefix}{i}"))
            .collect::<Vec<_>>()
    };
    let with = |names: Vec<String>, others: &[&str]| {
        let others = others.iter().map(|uid| uid.to_string());
        let mut all: Vec<_> = names.into_iter().chain(others).collect();
        all.sort();
        all
    };
    ann.expect(&with(named("b"), &["ann"]));
    // Names are told in order: after this one comes the first again.
    let zoe = Client::join_and_wait(&broker, "zoe", "room");
    ann.expect(&with(named("b"), &["ann", "zoe"]));
    drop(leaving);
    let _joining = join_many(&broker, "c", EACH);
    wait_until("all have come", || {
        broker.stats().joined == 2 + 2 * EACH as u64
    });
    let mut bob = Watcher::join(&broker, "bob", "room", 1000);
    for watcher in [&mut ann, &mut bob] {
        watcher.expect(&with(named("c"), &["ann", "bob", "zoe"]));
    }
    // It stays right with what comes next.
    zoe.reset();
    for watcher in [&mut ann, &mut bob] {
        watcher.expect(&with(named("c"), &["ann", "bob"]));
    }
}

#[test]
fn who_comes_and_leaves_within_an_interval_is_not_told_about() {
    const LONG_INTERVAL: Duration = Duration::from_secs(1);
    let mut settings = settings(2, 100);
    settings.channels.default.presence_interval = LONG_INTERVAL;
    let broker = start(settings);
    let mut ann = Watcher::join(&broker, "ann", "room", 10);
    ann.expect_these(&["ann"]);
    // On a busy machine an interval may end in between.
    for i in 0.. {
        let began = Instant::now();
        let left = broker.stats().left;
        let gone = Client::join_and_wait(&broker, &format!("gone {i}"), "room");
        gone.reset();
        wait_until("it has left", || broker.stats().left > left);
        let stays = Client::join_and_wait(&broker, "stays", "room");
        if began.elapsed() < LONG_INTERVAL {
            ann.expect_these(&["ann", "stays"]);
            return assert_eq!((ann.notices, ann.told), (1 + 2 * i, 1 + 4 * i));
        }
        stays.reset();
        ann.expect_these(&["ann"]);
    }
}

/// A session that gives way to a new one of the same client leaves, and the new one joins.
#[test]
fn who_takes_a_place_is_there_once() {
    for threshold in [100, 0] {
        let broker = start(settings(2, threshold));
        let mut ann = Watcher::join(&broker, "ann", "room", 10);
        let join = |uid: &str, cid| {
            let keyring = Keyring::default();
            Client::join_with(&broker, &keyring, uid, "room", b"", Some(Cid(cid)))
        };
        let mut half_closed = join("bob", 1);
        ann.expect_these(&["ann", "bob"]);
        half_closed.finish();
        wait_until("it is half-closed", || broker.stats().half_closed == 1);
        let again = join("bob", 1);
        wait_until("it was replaced", || broker.stats().replaced == 1);
        let _other = join("carol", 3);
        ann.expect_these(&["ann", "bob", "carol"]);
        // A publisher that comes back while its old session is still there.
        let publisher = ResumeRequest {
            publisher: Some(7),
            ..watching(10)
        };
        let _ghost = Asker::join(&broker, "dave", "room", publisher);
        ann.expect_these(&["ann", "bob", "carol", "dave"]);
        let mut dave = Watcher::of(Asker::join_as(&broker, ("dave", Cid(4)), "room", publisher));
        drop(again);
        let _eve = join("eve", 5);
        for watcher in [&mut ann, &mut dave] {
            while !watcher.uids.contains(&"eve".to_owned()) {
                assert!(watcher.next(PATIENCE));
            }
            let of = |uid| watcher.uids.iter().filter(|known| *known == uid).count();
            assert_eq!((of("dave"), of("carol")), (1, 1), "{:?}", watcher.uids);
        }
    }
}

#[test]
fn servers_are_not_told_about() {
    let root = start(settings(2, 100));
    let mut ann = Watcher::join(&root, "ann", "room", 10);
    ann.expect_these(&["ann"]);
    let mut below = settings(2, 100);
    below.peer.upstreams = vec![root.local_addrs()[0].to_string().parse().unwrap()];
    let below = start(below);
    let mut bob = Watcher::join(&below, "bob", "room", 10);
    bob.expect_these(&["bob"]);
    wait_until("the link is up", || root.stats().resyncs == 1);
    let carol = Client::join_and_wait(&root, "carol", "room");
    ann.expect_these(&["ann", "carol"]);
    below.stop().unwrap();
    wait_until("the link is gone", || root.stats().left == 1);
    carol.reset();
    ann.expect_these(&["ann"]);
    assert_eq!((ann.notices, ann.told), (2, 2));
}

/// Notices are dropped like messages, and the gap says so. Who has caught up gets the list anew.
#[test]
fn who_was_too_slow_is_told_anew_who_is_there() {
    for threshold in [100, 0] {
        let mut settings = settings(2, threshold);
        settings.channels.default.slow_policy = SlowPolicy::DropOldest;
        settings.channels.default.queue_bytes = QUEUE;
        settings.limits.max_frame = QUEUE;
        let broker = start(settings);
        let mut slow = Watcher::join(&broker, "slow", "room", 10);
        slow.expect_these(&["slow"]);
        let mut publisher = Client::join_and_wait(&broker, "publisher", "room");
        let mut reader = Watcher::join(&broker, "reader", "room", 10);
        reader.expect_these(&["publisher", "reader", "slow"]);
        let mut send = |reader: &mut Watcher, i| {
            publisher.send(&message(i));
            let before = reader.asker.position.offset;
            while reader.asker.position.offset == before {
                assert!(reader.next(PATIENCE));
            }
        };
        (0..MANY / 2).for_each(|i| send(&mut reader, i));
        let _new = Client::join_and_wait(&broker, "new", "room");
        reader.expect_these(&["new", "publisher", "reader", "slow"]);
        (MANY / 2..MANY).for_each(|i| send(&mut reader, i));
        let (mut has_lost, end) = (false, reader.asker.position);
        while slow.asker.position != end {
            assert!(slow.next(PATIENCE));
            has_lost |= !slow.has_list;
        }
        assert!(has_lost, "a gap says that names are missing");
        slow.expect_these(&["new", "publisher", "reader", "slow"]);
        let _last = Client::join_and_wait(&broker, "zoe", "room");
        for watcher in [&mut slow, &mut reader] {
            watcher.expect_these(&["new", "publisher", "reader", "slow", "zoe"]);
        }
    }
}
