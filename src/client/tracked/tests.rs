//! The tracker against a naive server: cut connections, gaps, restarts, forgotten publishers.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::outgoing::{Outcome, Outgoing};
use super::tracker::{Offer, Tracker};
use crate::client::event::Event;
use crate::client::identity::{Names, SessionIdentity};
use crate::client::replay::ReplayMatcher;
use crate::protocol::{
    Cid, Epoch, HEADER_LEN, Key, Message, Notice, Position, ResumeRequest, Welcome, encode_frame,
    frames, is_presence,
};

const IDENTITY: SessionIdentity = SessionIdentity {
    cid: Cid(7),
    key: Key(9),
};

fn names() -> Names {
    Names {
        uid: "me".into(),
        channel: "c".into(),
    }
}

/// A step of the world.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The client publishes a message, which it waits for.
    Publish,
    /// The client announces itself.
    Hint,
    /// Another member publishes.
    Other,
    /// Another member announces itself.
    OtherHint,
    /// What the client has queued leaves it.
    Write,
    /// The server takes so many frames of the client.
    Serve(usize),
    /// The client takes so many frames of the server.
    Receive(usize),
    /// The server drops so many frames from the front of the client's queue.
    DropOldest(usize),
    /// The connection is cut, with all that is on its way.
    Cut,
    Restart,
    ForgetPublisher,
    /// The server keeps only the last messages.
    Trim(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => Just(Step::Publish),
        1 => Just(Step::Hint),
        5 => Just(Step::Other),
        1 => Just(Step::OtherHint),
        5 => Just(Step::Write),
        5 => (1..4_usize).prop_map(Step::Serve),
        6 => (1..6_usize).prop_map(Step::Receive),
        1 => (1..6_usize).prop_map(Step::DropOldest),
        3 => Just(Step::Cut),
        1 => Just(Step::Restart),
        1 => Just(Step::ForgetPublisher),
        1 => (0..4_u64).prop_map(Step::Trim),
    ]
}

/// A message in the order: its number, and who has published it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    is_own: bool,
    number: u64,
}

/// A server of one channel and one client that asks.
struct NaiveServer {
    /// All orders that there were. The last is the present one.
    orders: Vec<Vec<Entry>>,
    /// Number of messages that are no longer kept.
    trimmed: u64,
    published: Option<u64>,
    /// What the client has sent and the server has not taken.
    up: VecDeque<Bytes>,
    /// What the server has sent and the client has not taken.
    down: VecDeque<Bytes>,
}

impl NaiveServer {
    fn position(&self) -> Position {
        Position {
            epoch: Epoch(self.epoch()),
            offset: self.order().len() as u64,
        }
    }

    fn epoch(&self) -> u64 {
        self.orders.len() as u64
    }

    fn order(&self) -> &Vec<Entry> {
        self.orders.last().unwrap()
    }

    fn frame(entry: Entry) -> Bytes {
        let message = entry.number.to_string();
        let (cid, uid) = if entry.is_own {
            (IDENTITY.cid, "me")
        } else {
            (Cid(1), "other")
        };
        let message = Message {
            uid,
            channel: "c",
            message: message.as_bytes(),
        };
        encode_frame(cid, IDENTITY.key, &message).unwrap()
    }

    fn join(&mut self, request: &ResumeRequest) {
        self.up.clear();
        self.down.clear();
        let (mut first, mut recovered, mut missed) = (self.trimmed, true, Some(0));
        if let Some(since) = request.since {
            if since.epoch != Epoch(self.epoch()) {
                (recovered, missed) = (false, None);
            } else if since.offset < self.trimmed {
                (recovered, missed) = (false, Some(self.trimmed - since.offset));
            } else {
                first = since.offset;
            }
        }
        let replay = self.position().offset - first;
        let welcome = Welcome {
            position: self.position(),
            start: None,
            replay,
            recovered,
            missed,
            published: self.published,
        };
        self.published = Some(self.published.unwrap_or(0));
        self.down.push_back(Notice::Welcome(welcome).encode());
        let replayed = self.order()[usize::try_from(first).unwrap()..].to_vec();
        self.down.extend(replayed.into_iter().map(Self::frame));
    }

    fn commit(&mut self, entry: Entry) {
        self.orders.last_mut().unwrap().push(entry);
        if entry.is_own {
            *self.published.as_mut().unwrap() += 1;
            let position = self.position();
            let count = 1;
            self.down
                .push_back(Notice::Receipt { count, position }.encode());
        } else {
            self.down.push_back(Self::frame(entry));
        }
    }

    fn serve(&mut self) {
        let Some(frame) = self.up.pop_front() else {
            return;
        };
        if !is_presence(&frame) {
            let message = Message::decode(&frame[HEADER_LEN..]).unwrap();
            let number = String::from_utf8_lossy(message.message).parse().unwrap();
            self.commit(Entry {
                is_own: true,
                number,
            });
        }
    }

    /// Leaves the oldest `count` frames behind the welcome out.
    fn drop_oldest(&mut self, count: usize) {
        let is_welcome = |frame: &Bytes| matches!(Notice::decode(frame), Some(Notice::Welcome(_)));
        let keeps = usize::from(self.down.front().is_some_and(is_welcome));
        let dropped: Vec<_> = self
            .down
            .drain(keeps..(keeps + count).min(self.down.len()).max(keeps))
            .collect();
        let (mut before, mut own, mut after) = (0, 0, 0);
        let mut last = None;
        for frame in dropped {
            match Notice::decode(&frame) {
                Some(Notice::Gap { missed, .. }) => after += missed,
                Some(Notice::Receipt { count, position }) => {
                    before += std::mem::take(&mut after);
                    own += count;
                    last = Some(position);
                }
                _ if !is_presence(&frame) => after += 1,
                _ => {}
            }
        }
        let gap = |missed| {
            (missed > 0).then_some(Notice::Gap {
                missed,
                members: false,
            })
        };
        let receipt = last.map(|position| Notice::Receipt {
            count: own,
            position,
        });
        let notices = [gap(before), receipt, gap(after)];
        for notice in notices.into_iter().flatten().rev() {
            self.down.insert(keeps, notice.encode());
        }
    }
}

/// The client, and what its user was told.
struct World {
    server: NaiveServer,
    tracker: Tracker,
    told: Vec<Event>,
    taken: u64,
    numbers: u64,
    /// Own messages whose fate was told, in their order.
    fates: u64,
    confirmed: BTreeMap<u64, Position>,
    delivered: BTreeMap<(u64, u64), u64>,
    /// Where the client began in each order.
    begun: BTreeMap<u64, u64>,
    /// How many are missing in each order, as was told.
    missed: BTreeMap<u64, u64>,
    has_gaps: bool,
    has_unconfirmed: bool,
    awaited: Option<u64>,
}

impl World {
    fn new() -> Self {
        let outgoing = Outgoing::new(names(), IDENTITY, true);
        let matcher = Some(ReplayMatcher::new(100));
        let tracker = Tracker::new("me".into(), None, Some(3), matcher, outgoing);
        let server = NaiveServer {
            orders: vec![Vec::new()],
            trimmed: 0,
            published: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
        };
        let mut world = Self {
            server,
            tracker,
            told: Vec::new(),
            taken: 0,
            numbers: 0,
            fates: 0,
            confirmed: BTreeMap::new(),
            delivered: BTreeMap::new(),
            begun: BTreeMap::new(),
            missed: BTreeMap::new(),
            has_gaps: false,
            has_unconfirmed: false,
            awaited: None,
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        let request = self.tracker.request();
        self.tracker.joined(IDENTITY, Instant::now());
        self.server.join(&request);
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Publish => {
                let number = self.taken.to_string();
                self.tracker.outgoing_mut().push(number.as_bytes()).unwrap();
                self.tracker.outgoing_mut().await_last();
                self.awaited = Some(self.taken);
                self.taken += 1;
            }
            Step::Hint => self.tracker.outgoing_mut().push(b"").unwrap(),
            Step::Other => {
                self.numbers += 1;
                let number = 1_000_000 + self.numbers;
                self.server.commit(Entry {
                    is_own: false,
                    number,
                });
            }
            Step::OtherHint => {
                let message = Message {
                    uid: "other",
                    channel: "c",
                    message: b"",
                };
                let hint = encode_frame(Cid(1), IDENTITY.key, &message).unwrap();
                self.server.down.push_back(hint);
            }
            Step::Write => self.write(),
            Step::Serve(count) => (0..count).for_each(|_| self.server.serve()),
            Step::Receive(count) => (0..count).for_each(|_| self.receive()),
            Step::DropOldest(count) => self.server.drop_oldest(count),
            Step::Cut => self.connect(),
            Step::Restart => {
                self.server.orders.push(Vec::new());
                self.server.trimmed = 0;
                self.server.published = None;
                self.connect();
            }
            Step::ForgetPublisher => {
                self.server.published = None;
                self.connect();
            }
            Step::Trim(kept) => {
                let newest = self.server.position().offset;
                self.server.trimmed = self.server.trimmed.max(newest.saturating_sub(kept));
            }
        }
    }

    fn write(&mut self) {
        if !self.tracker.may_publish() {
            return;
        }
        let run = Bytes::copy_from_slice(self.tracker.outgoing().unwritten());
        let sent = frames(&run).map(|frame| run.slice_ref(frame));
        self.server.up.extend(sent);
        self.tracker.outgoing_mut().advance(run.len());
    }

    fn receive(&mut self) {
        let Some(frame) = self.server.down.pop_front() else {
            return;
        };
        let mut told = std::mem::take(&mut self.told);
        self.tracker.take(frame, Instant::now(), &mut told);
        if let Some(position) = self.tracker.position() {
            self.begun
                .entry(position.epoch.0)
                .or_insert(position.offset);
        }
        for event in told.drain(..) {
            self.check(event);
        }
        self.told = told;
    }

    fn entry(&self, position: Position) -> Entry {
        let order = &self.server.orders[usize::try_from(position.epoch.0).unwrap() - 1];
        order[usize::try_from(position.offset).unwrap() - 1]
    }

    fn check(&mut self, event: Event) {
        match event {
            Event::Message(message) if message.is_announcement() => {
                assert_eq!(message.position(), None);
            }
            Event::Message(message) => {
                let position = message.position().unwrap();
                let entry = self.entry(position);
                assert_eq!(message.text(), entry.number.to_string(), "at {position}");
                let key = (position.epoch.0, position.offset);
                let again = self.delivered.insert(key, entry.number);
                assert_eq!(again, None, "twice at {position}");
            }
            Event::Gap { missed } => {
                self.has_gaps = true;
                let epoch = self.tracker.position().unwrap().epoch.0;
                *self.missed.entry(epoch).or_default() += missed.unwrap_or(0);
            }
            Event::Confirmed { count, position } => {
                for behind in (0..count).rev() {
                    let offset = position.offset - behind;
                    let epoch = position.epoch;
                    self.confirmed
                        .insert(self.fates, Position { epoch, offset });
                    self.fates += 1;
                }
            }
            Event::Unconfirmed { count } => {
                self.has_unconfirmed = true;
                self.fates += count;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Lets everything arrive that can.
    fn settle(&mut self) {
        for _ in 0..3 {
            while !self.server.down.is_empty() {
                self.receive();
            }
            self.write();
            while !self.server.up.is_empty() {
                self.server.serve();
            }
        }
        while !self.server.down.is_empty() {
            self.receive();
        }
    }

    /// Returns where an own message has its places, in all orders.
    fn places(&self, number: u64) -> Vec<Position> {
        let mut places = Vec::new();
        for (epoch, order) in (1..).zip(&self.server.orders) {
            for (offset, entry) in (1..).zip(order) {
                if *entry
                    == (Entry {
                        is_own: true,
                        number,
                    })
                {
                    let epoch = Epoch(epoch);
                    places.push(Position { epoch, offset });
                }
            }
        }
        places
    }

    fn check_the_end(&self) {
        assert_eq!(self.tracker.offer(), Offer::Given);
        assert_eq!(self.tracker.position(), Some(self.server.position()));
        assert_eq!(self.fates, self.taken, "every message has a fate");
        for number in 0..self.taken {
            let places = self.places(number);
            assert!(places.len() <= 1, "{number} is doubled: {places:?}");
            let Some(confirmed) = self.confirmed.get(&number) else {
                continue;
            };
            let place = places[0];
            assert_eq!(confirmed.epoch, place.epoch);
            assert!(confirmed.offset >= place.offset, "{confirmed} < {place}");
            assert!(
                self.has_gaps || self.has_unconfirmed || *confirmed == place,
                "{number}: {confirmed} is not {place}"
            );
        }
        if let Some(number) = self.awaited {
            let expected = self.confirmed.get(&number).copied();
            let expected = expected.map_or(Outcome::Unknown, Outcome::Confirmed);
            assert_eq!(self.tracker.outgoing().outcome(), Some(expected));
        }
        self.check_what_was_delivered();
    }

    /// In the present order, each message of others was delivered since the client began there, or told as missing.
    /// Own ones may be told as missing too.
    fn check_what_was_delivered(&self) {
        let epoch = self.server.epoch();
        let begun = self.begun[&epoch];
        let missed = self.missed.get(&epoch).copied().unwrap_or(0);
        let undelivered: Vec<_> = (1..)
            .zip(self.server.order())
            .filter(|(offset, _)| *offset > begun)
            .filter(|(offset, _)| !self.delivered.contains_key(&(epoch, *offset)))
            .collect();
        let all = undelivered.len() as u64;
        let own = undelivered.iter().filter(|(_, entry)| entry.is_own).count() as u64;
        assert!(
            (all - own..=all).contains(&missed),
            "{missed} were told as missing, and these are: {undelivered:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn nothing_is_doubled_nor_lost_without_a_word(steps in vec(step(), 0..120)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.settle();
        world.check_the_end();
    }
}
