//! Members that do not keep up, compared with naive members that hold lists of frames.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::channel::{
    ChannelSettings, Dropped, ENTRY_COST, Fanout, FrameRun, MemberKey, SessionId, SlowPolicy,
    SlowReason, Verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::{Frames, run};

const DEADLINE: Duration = Duration::from_millis(50);
const MEMBERS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    /// Deliver a run of frames with these payload lengths, to all but one member or to all.
    Deliver(Vec<usize>, Option<usize>),
    /// A member's socket takes this share (of 256) of what is queued for it.
    Write(usize, u8),
    /// A member's socket is found full.
    Fill(usize),
    /// Milliseconds pass.
    Pass(u64),
    /// A member's deadline may have come.
    Check(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let run = vec(0..60_usize, 1..6);
    prop_oneof![
        4 => (run, proptest::option::of(0..MEMBERS)).prop_map(|(run, not)| Op::Deliver(run, not)),
        3 => (0..MEMBERS, any::<u8>()).prop_map(|(at, share)| Op::Write(at, share)),
        1 => (0..MEMBERS).prop_map(|at| Op::Write(at, 255)),
        2 => (0..MEMBERS).prop_map(Op::Fill),
        2 => (0..40_u64).prop_map(Op::Pass),
        2 => (0..MEMBERS).prop_map(Op::Check),
    ]
}

/// One frame in the queue of a naive member.
#[derive(Clone, Debug)]
struct Queued {
    frame: Bytes,
    /// Which entry of the queue it is in.
    entry: usize,
    is_history: bool,
}

#[derive(Debug, Default)]
struct Naive {
    queue: VecDeque<Queued>,
    /// Entries ever made.
    entries: usize,
    /// Small entries at the end, behind the first of all: 32 become one.
    small: Vec<usize>,
    /// Of the first frame.
    written: usize,
    /// When the socket last took something, while it is full.
    stalled: Option<Instant>,
    over_since: Option<Instant>,
}

impl Naive {
    fn queued(&self) -> usize {
        self.queue.iter().map(|q| q.frame.len()).sum::<usize>() - self.written
    }

    /// Cost of what is queued besides the history: each entry but the first of all costs more than its
    /// bytes.
    fn live(&self) -> usize {
        let live = || self.queue.iter().filter(|q| !q.is_history);
        let bytes: usize = live().map(|q| q.frame.len()).sum();
        let mut entries: Vec<_> = live().map(|q| q.entry).collect();
        entries.dedup();
        let first = self.queue.front().filter(|q| !q.is_history);
        let (written, first) = first.map_or((0, 0), |_| (self.written, 1));
        bytes - written + (entries.len() - first) * ENTRY_COST
    }

    fn push(&mut self, frames: &[Bytes], is_history: bool) {
        let entry = self.entries;
        self.entries += 1;
        let is_first = self.queue.is_empty();
        self.queue.extend(frames.iter().map(|frame| Queued {
            frame: frame.clone(),
            entry,
            is_history,
        }));
        let len: usize = frames.iter().map(Bytes::len).sum();
        if is_first || len > 512 {
            self.small.clear();
        } else {
            self.small.push(entry);
        }
        if self.small.len() == 32 {
            let merged = std::mem::take(&mut self.small);
            let queued = self.queue.iter_mut();
            queued
                .filter(|q| merged.contains(&q.entry))
                .for_each(|q| q.entry = entry);
        }
    }

    /// What has become the first of all is not merged, nor what is gone.
    fn moved_up(&mut self) {
        let first = self.queue.front().map(|first| first.entry);
        let queue = &self.queue;
        let is_behind =
            |entry: &usize| Some(*entry) != first && queue.iter().any(|q| q.entry == *entry);
        self.small.retain(is_behind);
    }

    fn bytes(&self) -> Vec<u8> {
        let all: Vec<u8> = self.queue.iter().flat_map(|q| q.frame.to_vec()).collect();
        all[self.written..].to_vec()
    }

    fn write(&mut self, n: usize, now: Instant, settings: &ChannelSettings) {
        self.written += n;
        while self
            .queue
            .front()
            .is_some_and(|q| q.frame.len() <= self.written)
        {
            self.written -= self.queue.pop_front().unwrap().frame.len();
        }
        self.moved_up();
        if let Some(progress) = &mut self.stalled {
            *progress = now;
        }
        if self.live() <= settings.queue_bytes / 4 {
            self.over_since = None;
        }
        if self.queue.is_empty() {
            self.stalled = None;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let progress = self.stalled?;
        Some(self.over_since.map_or(progress, |over| over.min(progress)) + DEADLINE)
    }

    fn enforce(&mut self, now: Instant, settings: &ChannelSettings) -> Verdict {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            return Verdict::Disconnect(match self.over_since {
                Some(_) => SlowReason::HeldBack,
                None => SlowReason::NoProgress,
            });
        }
        match settings.slow_policy {
            SlowPolicy::Disconnect if self.live() > settings.queue_bytes => {
                Verdict::Disconnect(SlowReason::QueueFull)
            }
            SlowPolicy::DropOldest if self.live() > settings.queue_bytes => {
                let mut dropped = Dropped::default();
                let begun = usize::from(self.written > 0);
                self.queue.iter_mut().for_each(|q| q.is_history = false);
                if begun > 0 {
                    self.queue[0].entry = usize::MAX;
                }
                while self.live() > settings.queue_bytes && self.queue.len() > begun {
                    dropped.frames += 1;
                    dropped.bytes += self.queue.remove(begun).unwrap().frame.len();
                }
                self.moved_up();
                Verdict::Dropped(dropped)
            }
            SlowPolicy::Backpressure if self.live() > settings.queue_bytes / 2 => {
                self.over_since.get_or_insert(now);
                Verdict::Keep
            }
            _ => Verdict::Keep,
        }
    }
}

/// The real members and the naive ones, side by side. Members that were disconnected are `None`.
struct World {
    fanout: Fanout<()>,
    members: Vec<Option<(MemberKey, SessionId, Naive)>>,
    settings: ChannelSettings,
    frames: Frames,
    now: Instant,
}

impl World {
    fn new(settings: ChannelSettings, histories: &[Vec<usize>]) -> Self {
        let mut world = Self {
            fanout: Fanout::default(),
            members: Vec::new(),
            settings,
            frames: Frames::default(),
            now: Instant::now(),
        };
        for (conn, history) in (1..).map(SessionId).zip(histories) {
            let key = world.fanout.insert(conn, (), 0);
            let history = world.frames.frames(history);
            world.fanout.replay(key, history.iter().cloned());
            let mut naive = Naive::default();
            for frame in history {
                naive.push(&[frame], true);
            }
            naive.small.clear();
            world.members.push(Some((key, conn, naive)));
        }
        world
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Deliver(payloads, except) => self.deliver(&payloads, except),
            Op::Write(at, share) => self.write(at, share),
            Op::Fill(at) => {
                let Some((key, _, naive)) = &mut self.members[at] else {
                    return;
                };
                if naive.queued() > 0 {
                    let news = self.fanout.set_stalled(*key, true, self.now);
                    assert_eq!(news, naive.stalled.is_none());
                    naive.stalled.get_or_insert(self.now);
                }
            }
            Op::Pass(ms) => self.now += Duration::from_millis(ms),
            Op::Check(at) => self.enforce(at),
        }
    }

    fn deliver(&mut self, payloads: &[usize], except: Option<usize>) {
        let made = self.frames.frames(payloads);
        let except = except.map_or(SessionId::NONE, |at| SessionId(at as u64 + 1));
        let count = self.fanout.deliver(&run(&made), except, None);
        let limit = match self.settings.slow_policy {
            SlowPolicy::Backpressure => self.settings.queue_bytes / 2,
            SlowPolicy::Disconnect | SlowPolicy::DropOldest => self.settings.queue_bytes,
        };
        let (mut expected, mut over) = (0, Vec::new());
        for (_, conn, naive) in self.members.iter_mut().flatten() {
            if *conn == except {
                continue;
            }
            expected += made.len();
            naive.push(&made, false);
            if naive.live() > limit {
                over.push(*conn);
            }
        }
        assert_eq!(count, expected);
        while self.fanout.next_dirty().is_some() {}
        for conn in over {
            self.enforce(usize::try_from(conn.0).unwrap() - 1);
        }
    }

    fn write(&mut self, at: usize, share: u8) {
        let Some((key, _, naive)) = &mut self.members[at] else {
            return;
        };
        let n = (naive.queued() * usize::from(share)).div_ceil(255);
        if n == 0 {
            return;
        }
        self.fanout.wrote(*key, n, self.now, &self.settings);
        naive.write(n, self.now, &self.settings);
        if naive.queue.is_empty() {
            self.fanout.set_stalled(*key, false, self.now);
        }
    }

    fn enforce(&mut self, at: usize) {
        let Some((key, conn, naive)) = &mut self.members[at] else {
            return;
        };
        let verdict = self.fanout.enforce(*key, self.now, &self.settings);
        assert_eq!(verdict, naive.enforce(self.now, &self.settings));
        match verdict {
            Verdict::Keep => {}
            Verdict::Dropped(_) => {
                let rest_of_begun = match naive.written {
                    0 => 0,
                    written => naive.queue[0].frame.len() - written,
                };
                let bound = self.settings.queue_bytes.max(rest_of_begun);
                let left = self.fanout.at(*key).unwrap().outbox.cost();
                assert!(left <= bound, "{left} bytes left of {bound}");
            }
            Verdict::Disconnect(_) => {
                assert!(self.fanout.remove(*key, *conn).is_some());
                self.members[at] = None;
            }
        }
    }

    fn check(&self) {
        let live = self.members.iter().flatten();
        for (key, conn, naive) in live.clone() {
            let member = self.fanout.get(*key, *conn).unwrap();
            let mut slices = [std::io::IoSlice::new(&[]); 1000];
            let count = member.outbox.slices(&mut slices);
            let queued: Vec<u8> = slices[..count].iter().flat_map(|s| s.to_vec()).collect();
            assert_eq!(queued, naive.bytes());
            assert_eq!(member.is_stalled(), naive.stalled.is_some());
            assert_eq!(self.fanout.deadline(*key, &self.settings), naive.deadline());
        }
        assert_eq!(self.fanout.len(), live.clone().count());
        let is_pressed = live.clone().any(|(_, _, naive)| naive.over_since.is_some());
        assert_eq!(self.fanout.is_pressed(), is_pressed);
    }
}

fn settings(slow_policy: SlowPolicy, queue_bytes: usize) -> ChannelSettings {
    ChannelSettings {
        queue_bytes,
        write_deadline: DEADLINE,
        slow_policy,
        ..ChannelSettings::default()
    }
}

fn policy() -> impl Strategy<Value = SlowPolicy> {
    prop_oneof![
        Just(SlowPolicy::Disconnect),
        Just(SlowPolicy::DropOldest),
        Just(SlowPolicy::Backpressure),
    ]
}

proptest! {
    #[test]
    fn members_are_judged_as_the_naive_ones(
        policy in policy(),
        queue_bytes in 0..2000_usize,
        histories in vec(vec(0..60_usize, 0..20), MEMBERS),
        ops in vec(op(), 1..60),
    ) {
        let mut world = World::new(settings(policy, queue_bytes), &histories);
        world.check();
        for op in ops {
            world.apply(op);
            world.check();
        }
    }
}

#[test]
fn a_history_larger_than_the_queue_makes_nobody_slow() {
    for policy in [
        SlowPolicy::Disconnect,
        SlowPolicy::DropOldest,
        SlowPolicy::Backpressure,
    ] {
        let mut frames = Frames::default();
        let settings = settings(policy, 1000);
        let mut fanout = Fanout::default();
        let key = fanout.insert(SessionId(1), (), 0);
        fanout.replay(key, [run(&frames.frames(&[100; 50])).bytes().clone()]);
        fanout.deliver(&run(&frames.frames(&[8])), SessionId::NONE, None);
        let verdict = fanout.enforce(key, Instant::now(), &settings);
        assert_eq!(verdict, Verdict::Keep, "{policy:?}");
        assert!(!fanout.is_pressed());
    }
}

#[test]
fn a_key_is_of_one_session_only() {
    let mut fanout = Fanout::default();
    let key = fanout.insert(SessionId(1), "first", 0);
    assert!(fanout.remove(key, SessionId(2)).is_none());
    assert_eq!(fanout.remove(key, SessionId(1)).unwrap().handle, "first");
    let again = fanout.insert(SessionId(3), "second", 0);
    assert_eq!(again, key, "the place is used again");
    assert!(fanout.get(key, SessionId(1)).is_none());
    assert!(fanout.remove(key, SessionId(1)).is_none());
    assert_eq!(fanout.get(key, SessionId(3)).unwrap().handle, "second");
}

fn all_dirty<T>(fanout: &mut Fanout<T>) -> Vec<MemberKey> {
    std::iter::from_fn(|| fanout.next_dirty()).collect()
}

#[test]
fn dirty_members_are_listed_once() {
    let mut frames = Frames::default();
    let mut fanout = Fanout::default();
    let keys = [1, 2].map(|conn| fanout.insert(SessionId(conn), (), 0));
    assert!(!fanout.is_dirty());
    for _ in 0..3 {
        fanout.deliver(&run(&frames.frames(&[8])), SessionId(1), None);
    }
    assert!(fanout.is_dirty());
    assert_eq!(all_dirty(&mut fanout), [keys[1]]);
    assert!(!fanout.is_dirty());
    fanout.mark_dirty(keys[0]);
    fanout.mark_dirty(keys[0]);
    fanout.replay(keys[1], [frames.frame(8)]);
    assert_eq!(all_dirty(&mut fanout), keys);
}

#[test]
fn publishers_pause_while_writing_does_not_keep_up() {
    let mut frames = Frames::default();
    for payload in [1, 8 << 10] {
        let mut fanout = Fanout::default();
        let keys = [1, 2].map(|conn| fanout.insert(SessionId(conn), (), 0));
        let mut runs = 0;
        while !fanout.is_pressed() {
            fanout.deliver(&run(&frames.frames(&[payload])), SessionId::NONE, None);
            runs += 1;
            assert!(runs <= 65, "more runs than one write takes");
        }
        assert!(runs * payload <= (32 << 10) + payload);
        // The next round of writes takes all of that.
        assert_eq!(fanout.next_dirty(), Some(keys[0]));
        assert!(!fanout.is_pressed());
        while !fanout.is_pressed() {
            fanout.deliver(&run(&frames.frames(&[payload])), SessionId::NONE, None);
        }
        assert_eq!(all_dirty(&mut fanout), [keys[1], keys[0]]);
        assert!(!fanout.is_pressed());
    }
}

/// A crowd that stands still costs one copy of what is merged; who has left out a frame of its own has its own.
#[test]
fn members_that_are_behind_share_what_is_merged() {
    let mut frames = Frames::default();
    let mut fanout = Fanout::default();
    let conns = (1..=100).map(SessionId);
    let keys: Vec<_> = conns.map(|conn| fanout.insert(conn, (), 0)).collect();
    let mut sent = Vec::new();
    for n in 0..33 {
        let frame = frames.frame(8);
        let run = FrameRun::exact(frame.clone(), 1);
        fanout.deliver(
            &run,
            if n == 10 {
                SessionId(7)
            } else {
                SessionId::NONE
            },
            None,
        );
        sent.push(frame);
    }
    let fanout = &fanout;
    let second = |key: MemberKey| {
        let mut slices = [std::io::IoSlice::new(&[]); 40];
        let outbox = &fanout.at(key).unwrap().outbox;
        let count = outbox.slices(&mut slices);
        (count, slices[1].as_ptr(), slices[1].to_vec())
    };
    let (count, place, bytes) = second(keys[0]);
    assert_eq!((count, &bytes), (2, &sent[1..].concat()));
    for key in keys.iter().filter(|key| **key != keys[6]) {
        assert_eq!(second(*key), (2, place, bytes.clone()));
    }
    let publisher = &fanout.at(keys[6]).unwrap().outbox;
    assert_eq!(
        publisher.bytes(),
        bytes.len() + sent[0].len() - sent[10].len()
    );
    assert_eq!(
        second(keys[6]).0,
        32,
        "it has one less, and they are not merged yet"
    );
}
