//! Channels that go on from what was saved, against the lists of all messages of each order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::channel::{
    Channel, ChannelSettings, Fanout, History, HistoryMemory, HistoryRun, Origin, PageLimit,
    PastEpoch, Place, PublisherId, SavedPublisher, SavedState, SessionId,
};
use mles::protocol::{
    Cid, Epoch, Key, Message, Position, ResumeRequest, encode_frame, frames, is_presence,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::channel_history::settings;
use crate::frames::{Frames, run};

const ALL: PageLimit = PageLimit {
    messages: usize::MAX,
    bytes: usize::MAX,
};

#[derive(Clone, Debug)]
enum Op {
    /// Publish a run of messages of these lengths; `None` is a hint of presence.
    Publish(Vec<Option<usize>>, Origin),
    PublishSmall(usize),
    Pass(u64),
    Trim,
    /// What is new is saved.
    Save,
    /// The server ends, and knows that all is saved.
    Stop,
    /// The server ends without that, and what is not saved is lost.
    Crash,
    /// Read what follows a position in one of the orders, the newest first, so far from its end.
    Read(usize, u64),
}

fn op() -> impl Strategy<Value = Op> {
    let origin = prop_oneof![5 => Just(Origin::Member), 1 => Just(Origin::Upstream(0))];
    let item = prop_oneof![4 => (0..300_usize).prop_map(Some), 1 => Just(None)];
    prop_oneof![
        6 => (vec(item, 1..20), origin).prop_map(|(items, origin)| Op::Publish(items, origin)),
        3 => (1..80_usize).prop_map(Op::PublishSmall),
        2 => (0..40_u64).prop_map(Op::Pass),
        1 => Just(Op::Trim),
        4 => Just(Op::Save),
        1 => Just(Op::Stop),
        2 => Just(Op::Crash),
        8 => (0..4_usize, 0..60_u64).prop_map(|(order, back)| Op::Read(order, back)),
    ]
}

fn hint() -> Bytes {
    let message = Message {
        uid: "u",
        channel: "c",
        message: &[],
    };
    encode_frame(Cid(1), Key(2), &message).unwrap()
}

/// An order, and all messages that were ever in it.
struct Order {
    epoch: Epoch,
    log: Vec<Bytes>,
}

/// A channel, what is saved of it, and the truth.
struct World {
    settings: ChannelSettings,
    allowed: usize,
    channel: Channel<()>,
    made: Frames,
    /// Oldest first; the last is that of the channel.
    orders: Vec<Order>,
    saved: u64,
    disk: Vec<HistoryRun>,
    past: Vec<PastEpoch>,
    now: Instant,
}

impl World {
    fn new(settings: ChannelSettings, allowed: usize) -> Self {
        let now = Instant::now();
        let history = History::new(HistoryMemory::new(allowed));
        let mut channel = Channel::new(Arc::new(settings.clone()), history, now);
        let epoch = Epoch(1);
        channel.number(|| epoch);
        channel.record_changes();
        let log = Vec::new();
        Self {
            settings,
            allowed,
            channel,
            made: Frames::default(),
            orders: vec![Order { epoch, log }],
            saved: 0,
            disk: Vec::new(),
            past: Vec::new(),
            now,
        }
    }

    fn log(&mut self) -> &mut Vec<Bytes> {
        &mut self.orders.last_mut().unwrap().log
    }

    fn commit(&mut self, frames: &[Bytes], origin: Origin) {
        let run = run(frames);
        let stored = Some((&run, origin));
        self.channel.commit(&run, SessionId::NONE, stored, self.now);
        let messages = frames.iter().filter(|frame| !is_presence(frame)).cloned();
        self.log().extend(messages);
    }

    fn publish(&mut self, count: usize) {
        for _ in 0..count {
            let frame = self.made.frame(8);
            self.commit(&[frame], Origin::Member);
        }
    }

    fn save(&mut self) {
        let first = self.channel.oldest();
        self.disk.extend(self.channel.unsaved(self.saved));
        self.disk.retain(|run| run.end >= first);
        self.saved = self.channel.newest().unwrap().offset;
    }

    /// Begins anew with what is saved.
    fn restart(&mut self, is_clean: bool) {
        let epoch = self.orders.last().unwrap().epoch;
        let (epoch, past) = if is_clean {
            (epoch, self.past.clone())
        } else {
            let end = self.saved;
            self.past.push(PastEpoch { epoch, end });
            let log = self.log()[..usize::try_from(end).unwrap()].to_vec();
            let epoch = Epoch(epoch.0 + 1);
            self.orders.push(Order { epoch, log });
            (epoch, self.past.clone())
        };
        let state = SavedState {
            epoch,
            past,
            newest: self.saved,
            runs: self.disk.clone(),
            publishers: Vec::new(),
            idle_since: None,
        };
        let before = self.young();
        let history = History::new(HistoryMemory::new(self.allowed));
        let settings = Arc::new(self.settings.clone());
        self.channel = Channel::restore(settings, history, state, self.now);
        if is_clean && self.settings.history_bytes.min(self.allowed) == usize::MAX {
            assert!(self.young() >= before, "{} of {before}", self.young());
        }
    }

    fn young(&self) -> usize {
        let history = self.channel.history();
        let entries = history.entries(self.now, &self.settings);
        entries.filter(|(frame, _)| !is_presence(frame)).count()
    }

    /// What is on disk is the end of the order up to what is saved, in runs without a gap.
    fn check_disk(&mut self) {
        let mut end = self.saved;
        let saved = usize::try_from(end).unwrap();
        let texts: Vec<_> = self
            .disk
            .iter()
            .flat_map(|run| frames(run.run.bytes()))
            .collect();
        let messages: Vec<_> = texts
            .into_iter()
            .filter(|frame| !is_presence(frame))
            .collect();
        let log = &self.orders.last().unwrap().log[saved - messages.len()..saved];
        assert!(messages.iter().zip(log).all(|(a, b)| *a == &b[..]));
        for run in self.disk.iter().rev() {
            assert_eq!((run.end, run.run.messages()), (end, run.messages as usize));
            assert!(run.messages > 0);
            end -= u64::from(run.messages);
        }
    }

    fn check_read(&self, order: usize, back: u64) -> Result<(), TestCaseError> {
        let Some(at) = self.orders.len().checked_sub(1 + order) else {
            return Ok(());
        };
        let asked = &self.orders[at];
        let offset = (asked.log.len() as u64).saturating_sub(back);
        let position = Position {
            epoch: asked.epoch,
            offset,
        };
        let current = &self.orders.last().unwrap().log;
        let newest = current.len() as u64;
        let oldest = newest - self.young() as u64;
        let pairs = asked.log.iter().zip(current);
        let common = pairs.take_while(|(a, b)| a == b).count() as u64;
        let is_known = offset <= common;
        let begin = offset.min(common).max(oldest);
        let read = self.channel.since(Some(position), ALL, self.now).unwrap();
        let missed = is_known.then(|| begin - offset);
        prop_assert_eq!(read.missed, missed);
        prop_assert_eq!(read.is_recovered, missed == Some(0));
        prop_assert_eq!(
            (read.epoch, read.next),
            (self.orders.last().unwrap().epoch, newest)
        );
        let mut next = begin;
        for (first, run) in &read.runs {
            prop_assert_eq!(*first, next + 1);
            for frame in frames(run).filter(|frame| !is_presence(frame)) {
                prop_assert_eq!(frame, &current[usize::try_from(next).unwrap()][..]);
                next += 1;
            }
        }
        prop_assert_eq!(next, newest);
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match op {
            Op::Publish(items, origin) => {
                let frames: Vec<_> = items
                    .iter()
                    .map(|item| item.map_or_else(hint, |len| self.made.frame(len)))
                    .collect();
                self.commit(&frames, *origin);
            }
            Op::PublishSmall(count) => self.publish(*count),
            Op::Pass(ms) => self.now += Duration::from_millis(*ms),
            Op::Trim => self.channel.trim(self.now),
            Op::Save => {
                self.save();
                self.check_disk();
            }
            Op::Stop => {
                self.save();
                self.restart(true);
            }
            Op::Crash => self.restart(false),
            Op::Read(order, back) => self.check_read(*order, *back)?,
        }
        Ok(())
    }

    /// A publisher joins, and knows a position. Returns how many of its messages have their place.
    fn join(&mut self, session: u64, since: Position) -> Option<u64> {
        let request = ResumeRequest {
            since: Some(since),
            publisher: Some(PUBLISHER.0),
            members: None,
        };
        let seat = (Cid(7), SessionId(session));
        let place =
            |local: &mut Fanout<()>, skip| Place::Local(local.insert(SessionId(session), (), skip));
        let joined = self
            .channel
            .join_resuming(seat, &request, None, self.now, place);
        joined.unwrap().resumed.unwrap().welcome.published
    }

    fn publish_from(&mut self, session: u64) {
        let run = run(&[self.made.frame(8)]);
        let stored = Some((&run, Origin::Member));
        self.channel
            .commit(&run, SessionId(session), stored, self.now);
    }

    /// Ends the server, and begins with what is saved now.
    fn crash(&mut self, epoch: Epoch, past: Vec<PastEpoch>) {
        let changed = self.channel.take_changed_publishers();
        let known = changed
            .into_iter()
            .filter_map(|(id, saved)| Some((id, saved?)));
        let state = SavedState {
            epoch,
            past,
            newest: self.channel.newest().unwrap().offset,
            runs: self.channel.unsaved(0),
            publishers: known.collect(),
            idle_since: None,
        };
        let history = History::new(HistoryMemory::new(self.allowed));
        let settings = Arc::new(self.settings.clone());
        self.channel = Channel::restore(settings, history, state, self.now);
    }
}

const PUBLISHER: PublisherId = PublisherId(77);

fn at(epoch: u64, offset: u64) -> Position {
    Position {
        epoch: Epoch(epoch),
        offset,
    }
}

proptest! {
    #[test]
    fn a_position_of_an_order_that_went_on_is_known_as_far_as_both_are_the_same(
        settings in settings(),
        allowed in prop_oneof![300..20_000_usize, Just(usize::MAX)],
        ops in vec(op(), 1..120),
    ) {
        let mut world = World::new(settings, allowed);
        for op in &ops {
            world.step(op)?;
        }
    }
}

#[test]
fn a_publisher_is_told_what_has_its_place_after_a_restart() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    assert_eq!(world.join(1, at(1, 0)), None);
    world.publish_from(1);
    world.publish_from(1);
    world.crash(Epoch(1), Vec::new());
    assert_eq!(world.join(2, at(1, 1)), Some(2));
    world.publish_from(2);
    // Another order goes on from this one.
    let past = PastEpoch {
        epoch: Epoch(1),
        end: 3,
    };
    world.crash(Epoch(2), vec![past]);
    assert_eq!(world.join(3, at(1, 2)), Some(3));
}

#[test]
fn a_publisher_may_have_been_counted_anew_where_an_order_was_cut_off() {
    let past = |end| {
        let epoch = Epoch(1);
        vec![PastEpoch { epoch, end }]
    };
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    world.join(1, at(1, 0));
    world.publish_from(1);
    world.publish_from(1);
    world.crash(Epoch(2), past(2));
    // What it was told at the end of the first order was not saved.
    assert_eq!(world.join(2, at(1, 2)), None);
    world.publish_from(2);
    world.crash(Epoch(2), past(2));
    assert_eq!(world.join(3, at(2, 3)), Some(1));

    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    world.join(1, at(1, 0));
    world.publish_from(1);
    world.publish_from(1);
    world.crash(Epoch(2), past(2));
    // Before that it has lost nothing that was told.
    assert_eq!(world.join(2, at(1, 1)), Some(2));
}

#[test]
fn a_publisher_that_knows_what_was_lost_is_counted_anew() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    world.join(1, at(1, 0));
    world.publish_from(1);
    let past = PastEpoch {
        epoch: Epoch(1),
        end: 1,
    };
    world.crash(Epoch(2), vec![past]);
    assert_eq!(world.join(2, at(1, 2)), None);
}

#[test]
fn a_publisher_is_introduced_where_it_would_be_counted_anew() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    world.publish(1);
    world.channel.take_changed_publishers();
    let is_counted_anew = |world: &World, since| {
        let channel = &world.channel;
        channel.is_counted_anew(PUBLISHER, since, world.now)
    };
    // Nobody knows it, and it has no position yet.
    assert!(is_counted_anew(&world, None));
    world.channel.introduce(PUBLISHER, world.now);
    let changed = world.channel.take_changed_publishers();
    let [(PUBLISHER, Some(saved))] = changed[..] else {
        panic!("{changed:?}");
    };
    assert_eq!((saved.published.count, saved.published.since), (0, 1));
    // From there on it is known, and what it has published counts.
    assert!(!is_counted_anew(&world, Some(at(1, 1))));
    assert_eq!(world.join(1, at(1, 1)), Some(0));
    world.publish_from(1);
    world.channel.leave(Cid(7), SessionId(1), world.now);
    assert!(!is_counted_anew(&world, Some(at(1, 1))));
    // Who goes on from before that has not been told so.
    assert!(is_counted_anew(&world, Some(at(1, 0))));
    world.channel.introduce(PUBLISHER, world.now);
    assert_eq!(world.join(2, at(1, 2)), Some(0));
}

#[test]
fn publishers_that_change_are_told_once() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    world.join(1, at(1, 0));
    let ids = |world: &mut World| {
        let changed = world.channel.take_changed_publishers();
        let changed = changed.into_iter();
        let changed = changed.map(|(id, saved)| (id, saved.map(|s| (s.published.count, s.at))));
        changed.collect::<Vec<_>>()
    };
    assert_eq!(ids(&mut world), [(PUBLISHER, Some((0, None)))]);
    assert_eq!(ids(&mut world), []);
    world.publish_from(1);
    assert_eq!(ids(&mut world), [(PUBLISHER, Some((1, None)))]);
    world.channel.mark_publishers_changed([PUBLISHER]);
    let now = world.now;
    world.channel.leave(Cid(7), SessionId(1), now).unwrap();
    assert_eq!(ids(&mut world), [(PUBLISHER, Some((1, Some(now))))]);
    let age = world.settings.publishers_age;
    world.now += age + Duration::from_millis(1);
    world.channel.trim(world.now);
    assert_eq!(ids(&mut world), [(PUBLISHER, None)]);
}

#[test]
fn publishers_that_are_not_remembered_are_forgotten_when_they_leave() {
    let settings = ChannelSettings {
        publishers_limit: 0,
        ..ChannelSettings::default()
    };
    let mut world = World::new(settings, usize::MAX);
    world.join(1, at(1, 0));
    world.channel.take_changed_publishers();
    world.channel.leave(Cid(7), SessionId(1), world.now);
    assert_eq!(world.channel.take_changed_publishers(), [(PUBLISHER, None)]);
}

#[test]
fn what_is_committed_after_its_publisher_has_left_counts() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    world.join(1, at(1, 0));
    world.publish_from(1);
    world.channel.leave(Cid(7), SessionId(1), world.now);
    world.publish_from(1);
    world.channel.count_late(PUBLISHER, 1, world.now);
    assert_eq!(world.join(2, at(1, 1)), Some(2));
    // One that is forgotten stays so.
    world.channel.count_late(PublisherId(5), 1, world.now);
    assert!(
        world
            .channel
            .first_receipt(PublisherId(5), world.now)
            .is_none()
    );
}

#[test]
fn ages_go_on() {
    let settings = ChannelSettings {
        history_age: Some(Duration::from_secs(10)),
        ..ChannelSettings::default()
    };
    let mut world = World::new(settings, usize::MAX);
    world.publish(1);
    let left = world.now;
    world.now += Duration::from_secs(9);
    world.publish(1);
    world.now += Duration::from_secs(2);
    let published = Default::default();
    let age = world.settings.publishers_age;
    let saved = |at| SavedPublisher { published, at };
    let state = SavedState {
        epoch: Epoch(1),
        past: Vec::new(),
        newest: 2,
        runs: world.channel.unsaved(0),
        publishers: vec![
            (PublisherId(1), saved(Some(left))),
            (PublisherId(2), saved(None)),
        ],
        idle_since: Some(left),
    };
    let history = History::new(HistoryMemory::new(usize::MAX));
    let now = left + age + Duration::from_millis(1);
    let channel =
        Channel::<()>::restore(world.channel.settings().clone(), history, state, world.now);
    assert_eq!(channel.oldest(), 2);
    assert!(channel.first_receipt(PublisherId(2), now).is_none());
    assert!(channel.is_expired(left + channel.settings().idle_ttl));
    assert!(!channel.is_expired(world.now));
}
