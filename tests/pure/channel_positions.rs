//! Positions, against the list of all messages ever published.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel_history::settings;
use bytes::Bytes;
use mles::channel::{
    Channel, ChannelSettings, FrameRun, History, HistoryMemory, Origin, PageLimit, PublisherId,
    Receipt, SessionId,
};
use mles::protocol::{Cid, Epoch, Key, Message, Position, encode_frame, frames, is_presence};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::{Frames, run};

const EPOCH: Epoch = Epoch(0xABC);
const ALL: PageLimit = PageLimit {
    messages: usize::MAX,
    bytes: usize::MAX,
};

/// A frame of a published run.
#[derive(Clone, Copy, Debug)]
enum Item {
    Message(usize),
    Hint,
}

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<Item>, Origin),
    PublishSmall(usize),
    /// Somebody asks for a position, for the first time perhaps.
    Number,
    /// Let milliseconds pass.
    Pass(u64),
    Trim,
    /// Read what follows an offset, so far back or ahead from the newest, in pages of so many messages and bytes.
    Read(i64, usize, usize),
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![4 => (0..300_usize).prop_map(Item::Message), 1 => Just(Item::Hint)]
}

fn op() -> impl Strategy<Value = Op> {
    let origin = prop_oneof![5 => Just(Origin::Member), 1 => Just(Origin::Upstream(0))];
    let limit = || prop_oneof![1..20_usize, Just(usize::MAX)];
    let bytes = prop_oneof![1..3000_usize, Just(usize::MAX)];
    prop_oneof![
        6 => (vec(item(), 1..20), origin).prop_map(|(items, origin)| Op::Publish(items, origin)),
        3 => (1..80_usize).prop_map(Op::PublishSmall),
        1 => Just(Op::Number),
        2 => (0..40_u64).prop_map(Op::Pass),
        1 => Just(Op::Trim),
        8 => (-3..100_i64, limit(), bytes).prop_map(|(back, most, bytes)| Op::Read(back, most, bytes)),
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

/// A channel, and all that was published in it since it is numbered.
struct World {
    channel: Channel<()>,
    memory: HistoryMemory,
    made: Frames,
    /// All messages that have an offset, from 1.
    log: Vec<Bytes>,
    is_numbered: bool,
    now: Instant,
}

impl World {
    fn new(settings: ChannelSettings, allowed: usize) -> Self {
        let (memory, now) = (HistoryMemory::new(allowed), Instant::now());
        let history = History::new(memory.clone());
        Self {
            channel: Channel::new(Arc::new(settings), history, now),
            memory,
            made: Frames::default(),
            log: Vec::new(),
            is_numbered: false,
            now,
        }
    }

    fn commit(&mut self, frames: &[Bytes], origin: Origin) {
        let run = run(frames);
        let stored = Some((&run, origin));
        self.channel.commit(&run, SessionId::NONE, stored, self.now);
        if self.is_numbered {
            let messages = frames.iter().filter(|frame| !is_presence(frame));
            self.log.extend(messages.cloned());
        }
    }

    fn publish(&mut self, count: usize) {
        for _ in 0..count {
            let frame = self.made.frame(8);
            self.commit(&[frame], Origin::Member);
        }
    }

    fn number(&mut self) -> Position {
        let newest = self.channel.number(|| EPOCH);
        if !std::mem::replace(&mut self.is_numbered, true) {
            let kept = self.kept();
            self.log = kept;
        }
        newest
    }

    /// All messages in the history, whatever their age.
    fn kept(&self) -> Vec<Bytes> {
        let settings = ChannelSettings {
            history_age: None,
            ..ChannelSettings::clone(self.channel.settings())
        };
        let entries = self.channel.history().entries(self.now, &settings);
        let messages = entries.map(|(frame, _)| frame);
        messages.filter(|frame| !is_presence(frame)).collect()
    }

    /// All messages that a reader may have.
    fn young(&self) -> usize {
        let entries = self
            .channel
            .history()
            .entries(self.now, self.channel.settings());
        entries.filter(|(frame, _)| !is_presence(frame)).count()
    }

    fn check_read(&self, offset: u64, limit: PageLimit) -> Result<(), TestCaseError> {
        let position = Position {
            epoch: EPOCH,
            offset,
        };
        let read = self.channel.since(Some(position), limit, self.now).unwrap();
        let newest = self.log.len() as u64;
        let oldest = newest - self.young() as u64;
        prop_assert_eq!(self.channel.newest().unwrap().offset, newest);
        let is_known = offset <= newest;
        let begin = if is_known { offset.max(oldest) } else { oldest };
        let missed = is_known.then(|| begin - offset);
        prop_assert_eq!(read.missed, missed);
        prop_assert_eq!(read.is_recovered, missed == Some(0));
        let (mut next, mut bytes, mut messages) = (begin, 0, 0);
        for (first, run) in &read.runs {
            prop_assert_eq!(*first, next + 1);
            bytes += run.len();
            for frame in frames(run).filter(|frame| !is_presence(frame)) {
                let index = usize::try_from(next).unwrap();
                prop_assert_eq!(frame, &self.log[index][..]);
                next += 1;
                messages += 1;
            }
        }
        prop_assert_eq!(read.next, if messages == 0 { newest } else { next });
        prop_assert!(messages <= limit.messages);
        prop_assert!(bytes <= limit.bytes || messages == 1, "{bytes} bytes");
        // Who reads on comes to the end.
        prop_assert!(messages > 0 || begin == newest);
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match op {
            Op::Publish(items, origin) => {
                let frames: Vec<_> = items
                    .iter()
                    .map(|item| match item {
                        Item::Message(len) => self.made.frame(*len),
                        Item::Hint => hint(),
                    })
                    .collect();
                self.commit(&frames, *origin);
            }
            Op::PublishSmall(count) => self.publish(*count),
            Op::Number => {
                self.number();
            }
            Op::Pass(ms) => self.now += Duration::from_millis(*ms),
            Op::Trim => self.channel.trim(self.now),
            Op::Read(back, messages, bytes) => {
                self.number();
                let newest = i64::try_from(self.log.len()).unwrap();
                let offset = u64::try_from((newest - back).max(0)).unwrap();
                let (messages, bytes) = (*messages, *bytes);
                self.check_read(offset, PageLimit { messages, bytes })?;
                self.check_read(offset, ALL)?;
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn what_follows_a_position_is_given_or_counted_as_missed(
        settings in settings(),
        allowed in prop_oneof![300..20_000_usize, Just(usize::MAX)],
        ops in vec(op(), 1..120),
    ) {
        let mut world = World::new(settings, allowed);
        for op in &ops {
            world.step(op)?;
        }
    }

    #[test]
    fn a_position_is_its_text(epoch: u64, offset: u64, junk in "[0-9a-fA-F:+ -]{0,40}") {
        let position = Position { epoch: Epoch(epoch), offset };
        prop_assert_eq!(position.to_string().parse(), Ok(position));
        if let Ok(position) = junk.parse::<Position>() {
            prop_assert_eq!(position.to_string(), junk);
        }
    }
}

#[test]
fn only_the_one_text_of_a_position_is_taken() {
    let good = "00000000000000ab:10";
    let position = Position {
        epoch: Epoch(0xAB),
        offset: 10,
    };
    assert_eq!(good.parse(), Ok(position));
    assert_eq!(position.to_string(), good);
    for bad in [
        "",
        ":",
        "ab:10",
        "00000000000000AB:10",
        "00000000000000ab:",
        "00000000000000ab:+1",
        "00000000000000ab:010",
        "00000000000000ab:1 ",
        "00000000000000ab:18446744073709551616",
        "+0000000000000ab:1",
        "é0000000000000ab:1",
    ] {
        assert!(bad.parse::<Position>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_position_of_another_order_misses_an_unknown_number() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    world.publish(3);
    assert_eq!(world.number().offset, 3);
    let foreign = Position {
        epoch: Epoch(1),
        offset: 2,
    };
    let read = world.channel.since(Some(foreign), ALL, world.now).unwrap();
    assert_eq!((read.is_recovered, read.missed), (false, None));
    assert_eq!(read.runs[0].0, 1);
    let fresh = world.channel.since(None, ALL, world.now).unwrap();
    assert_eq!((fresh.is_recovered, fresh.missed), (true, Some(0)));
    assert_eq!(fresh.next, 3);
}

#[test]
fn a_channel_without_history_still_counts() {
    let settings = ChannelSettings {
        history_frames: 0,
        ..ChannelSettings::default()
    };
    let mut world = World::new(settings, usize::MAX);
    assert_eq!(world.number().offset, 0);
    world.publish(5);
    assert_eq!(world.number().offset, 5);
    let begin = Position {
        epoch: EPOCH,
        offset: 2,
    };
    let read = world.channel.since(Some(begin), ALL, world.now).unwrap();
    assert_eq!((read.missed, read.next), (Some(3), 5));
}

#[test]
fn an_empty_channel_has_a_position_and_is_kept_for_it() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    let ttl = world.channel.settings().idle_ttl;
    assert!(world.channel.is_expired(world.now));
    assert_eq!(world.number().offset, 0);
    assert!(!world.channel.is_expired(world.now));
    assert!(world.channel.touch(world.now + ttl / 2));
    assert!(!world.channel.is_expired(world.now + ttl));
    assert!(world.channel.is_expired(world.now + ttl * 2));
}

/// Publishes as `publisher`, unless that is known.
fn publish_once(world: &mut World, publisher: PublisherId) -> (Receipt, usize) {
    if let Some(receipt) = world.channel.first_receipt(publisher, world.now) {
        return (receipt, 0);
    }
    let before = world.number();
    world.publish(2);
    let receipt = world.channel.confirm(before, Some(publisher), world.now);
    (receipt.unwrap(), world.channel.take_forgotten())
}

#[test]
fn what_is_published_again_gets_its_first_receipt() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    let (first, _) = publish_once(&mut world, PublisherId(1));
    assert_eq!((first.first, first.last), (1, 2));
    let (other, _) = publish_once(&mut world, PublisherId(2));
    assert_eq!((other.first, other.last), (3, 4));
    let (again, _) = publish_once(&mut world, PublisherId(1));
    assert_eq!((again.first, again.last), (first.first, first.last));
    assert_eq!((first.is_repeat, again.is_repeat), (false, true));
    assert_eq!(world.log.len(), 4);
    assert_eq!(
        world.memory.used(),
        world.channel.history().cost() + world.channel.publishers_cost()
    );
}

#[test]
fn publishers_are_forgotten_by_number_by_age_and_for_memory() {
    let settings = ChannelSettings {
        history_frames: 0,
        publishers_limit: 2,
        ..ChannelSettings::default()
    };
    let age = settings.publishers_age;
    let mut world = World::new(settings, usize::MAX);
    let forgotten = [1, 2, 3].map(|id| publish_once(&mut world, PublisherId(id)).1);
    assert_eq!(forgotten, [0, 0, 1]);
    let known = |world: &World, id| world.channel.first_receipt(PublisherId(id), world.now);
    assert!(known(&world, 1).is_none() && known(&world, 2).is_some());
    world.now += age;
    assert!(known(&world, 3).is_some());
    world.now += Duration::from_millis(1);
    assert!(known(&world, 3).is_none());
    world.channel.trim(world.now);
    assert_eq!(world.memory.used(), 0);

    let mut poor = World::new(ChannelSettings::default(), 100);
    assert_eq!(publish_once(&mut poor, PublisherId(1)).1, 1);
    assert!(known(&poor, 1).is_none());
}

#[test]
fn a_history_that_fills_the_memory_leaves_room_for_publishers() {
    let mut world = World::new(ChannelSettings::default(), 10_000);
    world.number();
    for _ in 0..50 {
        let frame = world.made.frame(1000);
        world.commit(&[frame], Origin::Member);
    }
    let (receipt, forgotten) = publish_once(&mut world, PublisherId(1));
    assert_eq!(forgotten, 0);
    let again = publish_once(&mut world, PublisherId(1)).0;
    assert_eq!((again.first, again.is_repeat), (receipt.first, true));
    assert!(world.memory.used() <= 10_000);
    assert!(!world.channel.history().is_empty());
}

#[test]
fn hints_are_no_messages() {
    let mut world = World::new(ChannelSettings::default(), usize::MAX);
    let before = world.number();
    world.commit(&[hint()], Origin::Member);
    assert!(world.channel.confirm(before, None, world.now).is_none());
    assert_eq!(FrameRun::exact(hint(), 1).messages(), 0);
}
