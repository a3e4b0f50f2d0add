//! What a member that has asked for positions is sent, against the list of all messages.

mod cases;

use std::io::IoSlice;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::channel::{
    Channel, ChannelSettings, Difference, FrameRun, History, HistoryMemory, MemberKey, MemberNews,
    Origin, Place, PublisherId, SessionId, SlowPolicy, Verdict,
};
use mles::protocol::{
    Cid, Epoch, Key, Message, NOTICE_MAGIC, Notice, Position, ResumeRequest, encode_frame,
    frame_len, is_presence,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::{Frames, run};

const EPOCH: Epoch = Epoch(0xABC);
/// The connection id of the member that asks, and what it calls itself as a publisher.
const CID: Cid = Cid(7);
const PUBLISHER: u64 = 77;
const OTHER: SessionId = SessionId(1);

#[derive(Clone, Copy, Debug)]
enum Item {
    Message(usize),
    Hint,
}

#[derive(Clone, Debug)]
enum Op {
    /// A run of somebody else, or of the member itself.
    Publish(Vec<Item>, bool),
    /// Small runs of somebody else, or of both by turns.
    PublishSmall(usize, bool),
    /// The socket takes so many 256ths of what is queued, and nothing more.
    Write(u8),
    /// The socket takes all.
    Drain,
    /// Others join, which is announced.
    Announce(usize),
    /// Changes of members are told.
    Notify,
    /// It is cut off and comes back, knowing what it has read, or nothing.
    Return(bool),
    /// Let milliseconds pass.
    Pass(u64),
    /// Where others decide the order: the next message comes so far behind the one before.
    Jump(u64),
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![5 => (0..400_usize).prop_map(Item::Message), 1 => Just(Item::Hint)]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (vec(item(), 1..12), any::<bool>()).prop_map(|(items, own)| Op::Publish(items, own)),
        4 => (1..70_usize, any::<bool>()).prop_map(|(count, both)| Op::PublishSmall(count, both)),
        6 => any::<u8>().prop_map(Op::Write),
        1 => Just(Op::Drain),
        1 => (1..4_usize).prop_map(Op::Announce),
        1 => Just(Op::Notify),
        1 => any::<bool>().prop_map(Op::Return),
        1 => (0..40_u64).prop_map(Op::Pass),
        4 => (0..5_u64).prop_map(Op::Jump),
    ]
}

fn settings() -> impl Strategy<Value = ChannelSettings> {
    let policy = prop_oneof![
        4 => Just(SlowPolicy::DropOldest),
        1 => Just(SlowPolicy::Disconnect),
        1 => Just(SlowPolicy::Backpressure),
    ];
    let frames = prop_oneof![Just(0_usize), 1..20_usize, Just(1000)];
    let age = prop_oneof![3 => Just(None), 1 => (1..60_u64).prop_map(Some)];
    (policy, 0..6000_usize, frames, age).prop_map(|(slow_policy, queue_bytes, frames, age)| {
        ChannelSettings {
            slow_policy,
            queue_bytes,
            history_frames: frames,
            history_age: age.map(Duration::from_millis),
            ..ChannelSettings::default()
        }
    })
}

fn hint() -> Bytes {
    let message = Message {
        uid: "u",
        channel: "c",
        message: &[],
    };
    encode_frame(Cid(1), Key(2), &message).unwrap()
}

/// A message in the channel's order.
struct Logged {
    frame: Bytes,
    is_own: bool,
    offset: u64,
}

/// A channel with a member that has asked for positions, what its client has read, and the truth.
struct World {
    channel: Channel<()>,
    /// `true` if offsets need not follow one another.
    jumps: bool,
    /// Offset of the newest position.
    newest: u64,
    name: Rc<str>,
    made: Frames,
    log: Vec<Logged>,
    session: SessionId,
    key: MemberKey,
    now: Instant,
    next_cid: u32,
    /// Input of the client that is no whole frame yet.
    input: Vec<u8>,
    /// The position of the last that the client knows.
    known: Position,
    /// Own messages that receipts on this session have told of.
    confirmed: u64,
    /// Offset of the newest message when this session began.
    began: u64,
    /// Offset of the newest message when the counting of its own began; `None` before its first session.
    counted_from: Option<u64>,
    /// Messages that gaps have told of.
    missed: u64,
    /// Frames that the channel says it has dropped, on this session.
    dropped: u64,
    /// Set if changes of members have been left out, and the client was not told yet.
    owes_members: bool,
}

impl World {
    fn new(settings: ChannelSettings, jumps: bool) -> Self {
        let now = Instant::now();
        let history = History::new(HistoryMemory::new(usize::MAX));
        let mut channel = Channel::new(Arc::new(settings), history, now);
        if jumps {
            channel.begin_order(EPOCH, 0);
        } else {
            channel.number(|| EPOCH);
        }
        // The channel is never empty, so announcements are collected.
        let place = |local: &mut mles::channel::Fanout<()>, skip| {
            Place::Local(local.insert(OTHER, (), skip))
        };
        let joined = channel.join(Cid(1), OTHER, None, now, place).unwrap();
        assert!(joined.replay.is_empty());
        let mut world = Self {
            channel,
            jumps,
            newest: 0,
            name: "c".into(),
            made: Frames::default(),
            log: Vec::new(),
            session: OTHER,
            key: first_key(),
            now,
            next_cid: 100,
            input: Vec::new(),
            known: Position {
                epoch: EPOCH,
                offset: 0,
            },
            confirmed: 0,
            began: 0,
            counted_from: None,
            missed: 0,
            dropped: 0,
            owes_members: false,
        };
        world.join(None).unwrap();
        world
    }

    /// The member joins, on a new session.
    fn join(&mut self, since: Option<Position>) -> Result<(), TestCaseError> {
        self.session = SessionId(self.session.0 + 1);
        let session = self.session;
        let mut key = None;
        let place = |local: &mut mles::channel::Fanout<()>, skip| {
            Place::Local(*key.insert(local.insert(session, (), skip)))
        };
        let request = ResumeRequest {
            since,
            publisher: Some(PUBLISHER),
            members: Some(1),
        };
        let announcement = hint();
        let joined = self.channel.join_resuming(
            (CID, session),
            &request,
            Some(&announcement),
            self.now,
            place,
        );
        let joined = joined.unwrap();
        let resumed = joined.resumed.unwrap();
        self.key = key.unwrap();
        self.channel
            .local
            .resume(self.key, &self.name, &resumed, joined.replay);
        let welcome = resumed.welcome;
        let from = self
            .counted_from
            .filter(|&from| since.is_some_and(|since| since.offset >= from));
        let published = from.map(|from| {
            let counted = self.behind(from);
            counted.iter().filter(|logged| logged.is_own).count() as u64
        });
        prop_assert_eq!(welcome.published, published);
        self.counted_from = from.or(Some(self.newest));
        prop_assert_eq!(welcome.position.offset, self.newest);
        let begin = welcome.begins_at().offset;
        let replay = self.behind(begin).len() as u64;
        prop_assert_eq!(welcome.replay, replay);
        match since {
            Some(since) if self.jumps => {
                let lost = self.behind(since.offset).len() as u64 - replay;
                prop_assert_eq!(welcome.missed, (lost == 0).then_some(0));
            }
            Some(since) => prop_assert_eq!(welcome.missed, Some(begin - since.offset)),
            None => prop_assert_eq!(welcome.missed, Some(0)),
        }
        prop_assert_eq!(welcome.recovered, welcome.missed == Some(0));
        prop_assert_eq!(welcome.start.is_some(), self.jumps);
        self.input.clear();
        (self.confirmed, self.missed, self.dropped) = (0, 0, 0);
        self.owes_members = false;
        self.began = self.newest;
        Ok(())
    }

    /// Returns the messages behind an offset.
    fn behind(&self, offset: u64) -> &[Logged] {
        let at = self.log.partition_point(|logged| logged.offset <= offset);
        &self.log[at..]
    }

    /// Returns the message at an offset.
    fn at(&self, offset: u64) -> Option<&Logged> {
        let at = self.log.partition_point(|logged| logged.offset < offset);
        self.log.get(at).filter(|logged| logged.offset == offset)
    }

    /// Everything is read that has come, and the session is over; it comes back.
    fn come_back(&mut self, knows: bool) -> Result<(), TestCaseError> {
        self.channel.leave(CID, self.session, self.now).unwrap();
        let known = self.known;
        self.join(knows.then_some(known))
    }

    fn commit(&mut self, frames: &[Bytes], is_own: bool) {
        if let Some(collected) = self.channel.take_collected() {
            self.channel
                .commit(&collected, SessionId::NONE, None, self.now);
        }
        let run = run(frames);
        let from = if is_own { self.session } else { OTHER };
        let stored = Some((&run, Origin::Member));
        let committed = self.channel.commit(&run, from, stored, self.now);
        let messages = frames.iter().filter(|frame| !is_presence(frame));
        let first = self.newest + 1;
        self.log
            .extend((first..).zip(messages).map(|(offset, frame)| Logged {
                frame: frame.clone(),
                is_own,
                offset,
            }));
        let numbers = committed.numbers.unwrap();
        self.newest += u64::from(numbers.count);
        assert_eq!(numbers.newest, self.newest);
    }

    fn outbox_len(&self) -> usize {
        let member = self.channel.local.get(self.key, self.session).unwrap();
        member.outbox.bytes()
    }

    /// What is written next.
    fn queued(&self) -> Vec<u8> {
        let member = self.channel.local.get(self.key, self.session).unwrap();
        let mut slices = [IoSlice::new(&[]); 64];
        let count = member.outbox.slices(&mut slices);
        let slices = slices[..count].iter();
        slices.flat_map(|slice| slice.iter().copied()).collect()
    }

    /// The socket takes `n` bytes, which the client reads.
    fn write(&mut self, n: usize) -> Result<(), TestCaseError> {
        let mut left = n;
        while left > 0 {
            let ready = self.queued();
            let taken = ready.len().min(left);
            self.input.extend_from_slice(&ready[..taken]);
            let (local, settings) = self.channel.local_and_settings();
            local.wrote(self.key, taken, self.now, settings);
            left -= taken;
        }
        while let Some(len) = frame_len(&self.input).filter(|&len| len <= self.input.len()) {
            let frame: Vec<u8> = self.input.drain(..len).collect();
            self.read(&frame)?;
        }
        Ok(())
    }

    /// The client reads a frame, and counts.
    fn read(&mut self, frame: &[u8]) -> Result<(), TestCaseError> {
        if frame[0] != NOTICE_MAGIC {
            if !is_presence(frame) {
                self.known.offset += 1;
                let logged = self.at(self.known.offset).unwrap();
                prop_assert_eq!(frame, &logged.frame[..]);
                // Its own messages come from the history only.
                prop_assert!(!logged.is_own || self.known.offset <= self.began);
            }
            return Ok(());
        }
        match Notice::decode(frame).unwrap() {
            Notice::Welcome(welcome) => self.known = welcome.begins_at(),
            Notice::Receipt { count: 0, position } => {
                prop_assert!(self.jumps);
                self.known = position;
            }
            Notice::Receipt { count, position } => {
                prop_assert_eq!(position.epoch, EPOCH);
                prop_assert!(self.at(position.offset).unwrap().is_own);
                self.known = position;
                self.confirmed += count;
                let session = self.behind(self.began).iter();
                let until = session.take_while(|logged| logged.offset <= position.offset);
                let own = until.filter(|logged| logged.is_own).count();
                prop_assert_eq!(self.confirmed, own as u64);
            }
            Notice::Gap { missed, members } => {
                self.known.offset += missed;
                self.missed += missed;
                prop_assert!(missed > 0 || members || self.jumps);
                if members {
                    prop_assert!(self.owes_members);
                    self.owes_members = false;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The socket is full: the policy acts.
    fn enforce(&mut self) -> Result<(), TestCaseError> {
        let (now, key) = (self.now, self.key);
        let (local, settings) = self.channel.local_and_settings();
        local.set_stalled(key, true, now);
        match local.enforce(key, now, settings) {
            Verdict::Keep => {}
            Verdict::Dropped(dropped) => {
                self.dropped += dropped.frames as u64;
                self.owes_members = true;
            }
            Verdict::Disconnect(_) => return self.come_back(true),
        }
        let (local, _) = self.channel.local_and_settings();
        local.set_stalled(key, false, now);
        Ok(())
    }

    fn drain(&mut self) -> Result<(), TestCaseError> {
        self.write(self.outbox_len())?;
        prop_assert!(self.input.is_empty());
        prop_assert!(self.behind(self.known.offset).is_empty());
        prop_assert!(self.jumps || self.known.offset == self.newest);
        prop_assert!(self.known.offset <= self.newest);
        prop_assert!(self.missed <= self.dropped);
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match op {
            Op::Publish(items, is_own) => {
                let frames: Vec<_> = items
                    .iter()
                    .map(|item| match item {
                        Item::Message(len) => self.made.frame(*len),
                        Item::Hint => hint(),
                    })
                    .collect();
                self.commit(&frames, *is_own);
            }
            Op::PublishSmall(count, both) => {
                for n in 0..*count {
                    let frame = self.made.frame(8);
                    self.commit(&[frame], *both && n % 2 == 0);
                }
            }
            Op::Write(share) => {
                self.write(self.outbox_len() * usize::from(*share) / 256)?;
                self.enforce()?;
            }
            Op::Drain => self.drain()?,
            Op::Announce(count) => {
                for _ in 0..*count {
                    self.next_cid += 1;
                    let (cid, session) = (Cid(self.next_cid), SessionId(self.next_cid.into()));
                    let place = |_: &mut mles::channel::Fanout<()>, _| Place::Relay(1);
                    let joined = self
                        .channel
                        .join(cid, session, Some(&hint()), self.now, place);
                    joined.unwrap();
                }
            }
            Op::Notify => {
                let news = MemberNews {
                    count: 2,
                    changes: Difference {
                        joined: vec!["somebody".into()],
                        left: Vec::new(),
                    },
                    list: Some(vec!["u".into(), "somebody".into()]),
                };
                self.channel.local.tell_members(&news);
            }
            Op::Return(knows) => self.come_back(*knows)?,
            Op::Jump(n) if self.jumps => {
                self.newest += n;
                self.channel.advance_to(self.newest);
            }
            Op::Jump(_) => {}
            Op::Pass(ms) => self.now += Duration::from_millis(*ms),
        }
        Ok(())
    }
}

/// The key of the first member of a fan-out.
fn first_key() -> MemberKey {
    mles::channel::Fanout::default().insert(OTHER, (), 0)
}

proptest! {
    /// Whatever is left out, a client that counts knows the position of every message that it gets, and of the last.
    #[test]
    fn who_counts_knows_the_position_of_every_message(
        settings in settings(),
        jumps in any::<bool>(),
        ops in vec(op(), 1..80),
    ) {
        let mut world = World::new(settings, jumps);
        for op in &ops {
            world.step(op)?;
        }
        world.drain()?;
    }
}
