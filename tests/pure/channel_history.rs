//! Histories that share their memory, against the list of all frames ever published.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::channel::{ChannelSettings, FrameRun, History, HistoryMemory, Origin};
use mles::protocol::frames;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::Frames;

/// The size in bytes that the documentation grants a run for its entry, above its buffer.
const RUN_COST: usize = 192;
const HISTORIES: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    /// Publish a run of frames with these payload lengths, in a buffer this much larger.
    Push(usize, Vec<usize>, usize, Origin),
    /// Publish that many runs of one small frame.
    PushSmall(usize, usize),
    /// Let milliseconds pass.
    Pass(u64),
    Trim(usize),
    /// The channel is closed and opened again.
    Reopen(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..HISTORIES;
    let slack = prop_oneof![Just(0), 0..4096_usize];
    let origin = prop_oneof![
        5 => Just(Origin::Member),
        1 => Just(Origin::Upstream(0)),
    ];
    let push = (at(), vec(0..200_usize, 1..20), slack, origin);
    prop_oneof![
        6 => push.prop_map(|(at, run, slack, origin)| Op::Push(at, run, slack, origin)),
        3 => (at(), 1..80_usize).prop_map(|(at, count)| Op::PushSmall(at, count)),
        2 => (0..40_u64).prop_map(Op::Pass),
        1 => at().prop_map(Op::Trim),
        1 => at().prop_map(Op::Reopen),
    ]
}

/// Settings of histories with any caps.
pub fn settings() -> impl Strategy<Value = ChannelSettings> {
    let frames = prop_oneof![Just(0), 1..60_usize, Just(usize::MAX)];
    let bytes = prop_oneof![Just(0), 100..20_000_usize, Just(usize::MAX)];
    let age = proptest::option::of((0..100_u64).prop_map(Duration::from_millis));
    (frames, bytes, age).prop_map(
        |(history_frames, history_bytes, history_age)| ChannelSettings {
            history_frames,
            history_bytes,
            history_age,
            ..ChannelSettings::default()
        },
    )
}

/// Histories of one shard.
struct World {
    settings: ChannelSettings,
    allowed: usize,
    memory: HistoryMemory,
    histories: Vec<History>,
    now: Instant,
}

impl World {
    fn new(settings: &ChannelSettings, allowed: usize, now: Instant) -> Self {
        let memory = HistoryMemory::new(allowed);
        let histories = (0..HISTORIES).map(|_| History::new(memory.clone()));
        Self {
            settings: settings.clone(),
            allowed,
            histories: histories.collect(),
            memory,
            now,
        }
    }

    fn push(&mut self, at: usize, run: &FrameRun, origin: Origin) {
        self.histories[at].push(run, origin, 0, self.now, &self.settings);
    }

    fn trim(&mut self, at: usize) {
        self.histories[at].trim(self.now, &self.settings);
    }

    fn reopen(&mut self, at: usize) {
        self.histories[at] = History::new(self.memory.clone());
    }

    fn cost_of_others(&self, at: usize) -> usize {
        self.memory.used() - self.histories[at].cost()
    }

    fn check(&self) {
        let mut sum = 0;
        for history in &self.histories {
            assert_eq!(history.cost(), history.recounted());
            assert!(history.cost() <= self.settings.history_bytes);
            assert!(history.frames() <= self.settings.history_frames);
            assert_eq!(history.is_empty(), history.frames() == 0);
            sum += history.cost();
        }
        assert_eq!(self.memory.used(), sum);
        assert!(sum <= self.allowed);
    }
}

/// Returns the number of the newest frames that fit into `bytes` however badly they are stored: each in a run of
/// its own, in a buffer twice its length.
fn fit_at_least(published: &[(Bytes, Instant)], bytes: usize) -> usize {
    let mut left = bytes;
    let newest = published.iter().rev();
    newest
        .take_while(|(frame, _)| {
            let cost = 2 * frame.len() + RUN_COST;
            left.checked_sub(cost).map(|rest| left = rest).is_some()
        })
        .count()
}

/// The content of a history, and what was published since.
type Published = Vec<(Bytes, Instant)>;

/// A history has the newest frames and none that are too old. Returns how many.
fn newest_of(world: &World, at: usize, published: &Published) -> usize {
    let replay = world.histories[at].replay(world.now, &world.settings);
    let count = replay.iter().flat_map(|run| frames(run)).count();
    let newest = &published[published.len() - count..];
    let all: Vec<_> = newest.iter().map(|(frame, _)| &frame[..]).collect();
    assert_eq!(replay.concat(), all.concat());
    let age = world.settings.history_age.unwrap_or(Duration::MAX);
    assert!(newest.iter().all(|(_, at)| world.now - *at <= age));
    count
}

/// Returns the number of frames that are so young that each has to be there. A 32nd part earlier than they are too old they
/// may be gone together with others.
fn young(world: &World, published: &Published) -> usize {
    let age = world.settings.history_age.unwrap_or(Duration::MAX);
    let newest = published.iter().rev();
    newest
        .take_while(|(_, at)| world.now - *at <= age - age / 32)
        .count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn histories_hold_the_newest_frames_within_their_caps(
        settings in settings(),
        allowed in prop_oneof![Just(usize::MAX), 0..30_000_usize],
        ops in vec(op(), 1..60),
    ) {
        let mut made = Frames::default();
        let mut world = World::new(&settings, allowed, Instant::now());
        let mut published = vec![Published::new(); HISTORIES];
        for op in ops {
            let mut pushed = None;
            let runs = match op {
                Op::Push(at, payloads, slack, origin) => {
                    pushed = Some(at);
                    vec![(made.frames(&payloads), slack, origin)]
                }
                Op::PushSmall(at, count) => {
                    pushed = Some(at);
                    (0..count).map(|_| (vec![made.frame(8)], 0, Origin::Member)).collect()
                }
                Op::Pass(ms) => {
                    world.now += Duration::from_millis(ms);
                    Vec::new()
                }
                Op::Trim(at) => {
                    world.trim(at);
                    Vec::new()
                }
                Op::Reopen(at) => {
                    world.reopen(at);
                    published[at].clear();
                    Vec::new()
                }
            };
            for (run, slack, origin) in runs {
                let at = pushed.unwrap();
                let (whole, count) = (run.concat(), u32::try_from(run.len()).unwrap());
                let capacity = whole.len() + slack;
                let shared = FrameRun::slice_of(whole.into(), count, capacity);
                world.push(at, &shared, origin);
                published[at].extend(run.into_iter().map(|frame| (frame, world.now)));
            }
            world.check();
            for (at, published) in published.iter_mut().enumerate() {
                let count = newest_of(&world, at, published);
                // As many as the caps allow; without a push only those go that are too old.
                let young = young(&world, published);
                let mut least = young.min(settings.history_frames);
                if pushed == Some(at) {
                    let bytes = settings.history_bytes.min(allowed - world.cost_of_others(at));
                    least = least.min(fit_at_least(published, bytes));
                }
                prop_assert!(count >= least, "{count} of {least}");
                let gone = published.len() - count;
                published.drain(..gone);
            }
        }
        world.histories.clear();
        prop_assert_eq!(world.memory.used(), 0);
    }

    /// A run whose buffer is much larger than its frames is copied, so that the buffer can go; one
    /// that nearly fills its buffer is shared.
    #[test]
    fn it_does_not_keep_large_buffers_alive(payload in 100..200_usize, slack in 0..4096_usize) {
        let frame = Frames::default().frame(payload);
        let capacity = frame.len() + slack;
        let mut history = history();
        let settings = ChannelSettings::default();
        let now = Instant::now();
        let run = FrameRun::slice_of(frame.clone(), 1, capacity);
        history.push(&run, Origin::Member, 0, now, &settings);
        let kept = history.replay(now, &settings);
        let is_shared = kept[0].as_ptr() == frame.as_ptr();
        prop_assert_eq!(is_shared, capacity <= 2 * frame.len());
        let pinned = if is_shared { capacity } else { frame.len() };
        prop_assert_eq!(history.cost(), pinned + RUN_COST);
    }

    /// So is a part of a run, which a queue counts by its length.
    #[test]
    fn a_part_does_not_keep_the_run_alive(lens in vec(8..300_usize, 2..40), at in any::<prop::sample::Index>()) {
        let made = Frames::default().frames(&lens);
        let run = FrameRun::exact(made.concat().into(), u32::try_from(made.len()).unwrap());
        let at = at.index(made.len());
        let start = made[..at].concat().len();
        let part = run.part(start..run.bytes().len(), u32::try_from(made.len() - at).unwrap()).unwrap();
        prop_assert_eq!(part.bytes(), &made[at..].concat());
        prop_assert!(part.pinned() <= 2 * part.bytes().len());
        let is_shared = part.bytes().as_ptr() == run.bytes()[start..].as_ptr();
        prop_assert_eq!(is_shared, part.pinned() == run.bytes().len());
    }
}

/// Frames of a history that are queued for a server are few pieces of the history's own buffers.
#[test]
fn parts_are_as_few_as_gaps_and_runs() {
    let now = Instant::now();
    let mut made = Frames::default();
    let settings = ChannelSettings {
        history_frames: 10_000,
        ..ChannelSettings::default()
    };
    let (mut history, mut all) = (history(), Vec::new());
    for _ in 0..40 {
        let frames = made.frames(&[1000; 50]);
        let run = FrameRun::exact(frames.concat().into(), 50);
        history.push(&run, Origin::Member, 0, now, &settings);
        all.extend(frames);
    }
    let replay = history.replay(now, &settings);
    let pick = |wanted: &dyn Fn(usize) -> bool| {
        let indices: Vec<_> = (0..all.len()).filter(|index| wanted(*index)).collect();
        let parts = history.parts(now, &settings, indices.iter().copied());
        let expected: Vec<_> = indices.iter().map(|index| all[*index].clone()).collect();
        assert_eq!(parts.concat(), expected.concat());
        parts
    };
    assert_eq!(pick(&|_| false).len(), 0);
    assert_eq!(pick(&|_| true).len(), 40);
    assert_eq!(pick(&|index| index >= 1990).len(), 1);
    assert_eq!(pick(&|index| index % 50 != 7).len(), 80);
    // A large part shares the run's buffer, a small one does not keep it alive.
    let large = &pick(&|index| index < 40)[0];
    assert_eq!(large.as_ptr(), replay[0].as_ptr());
    let small = &pick(&|index| index < 10)[0];
    assert_ne!(small.as_ptr(), replay[0].as_ptr());
}

fn history() -> History {
    History::new(HistoryMemory::new(usize::MAX))
}

/// However a publisher cuts what it sends, a joiner's queue is short and the history costs little
/// more than its bytes.
#[test]
fn many_small_runs_become_few() {
    let now = Instant::now();
    for (body, most) in [(1, 400), (300, 2000)] {
        let frame = [
            &[b'M', 0][..],
            &u16::to_be_bytes(body),
            &vec![0; 12 + usize::from(body)],
        ]
        .concat();
        let run = FrameRun::exact(frame.clone().into(), 1);
        let settings = ChannelSettings {
            history_frames: 100_000,
            history_bytes: 64 << 20,
            ..ChannelSettings::default()
        };
        let mut history = history();
        for _ in 0..150_000 {
            history.push(&run, Origin::Member, 0, now, &settings);
        }
        assert_eq!(history.frames(), 100_000);
        let replay = history.replay(now, &settings);
        assert!(replay.len() <= most, "{}", replay.len());
        let bytes = 100_000 * frame.len();
        assert_eq!(replay.iter().map(Bytes::len).sum::<usize>(), bytes);
        assert!(history.cost() < bytes + bytes / 10, "{}", history.cost());
    }
}

/// Frames that came from different servers stay apart, and so do those that are far apart in time.
#[test]
fn only_what_is_alike_is_merged() {
    let run = FrameRun::exact(Frames::default().frame(8), 1);
    let settings = ChannelSettings {
        history_frames: 1000,
        history_age: Some(Duration::from_secs(32)),
        ..ChannelSettings::default()
    };
    let runs = |ms: u64, origin: fn(u32) -> Origin| {
        let (mut history, mut now) = (history(), Instant::now());
        for n in 0..64 {
            history.push(&run, origin(n), 0, now, &settings);
            now += Duration::from_millis(ms);
        }
        history.replay(now, &settings).len()
    };
    assert_eq!(runs(0, |_| Origin::Member), 1);
    assert_eq!(
        runs(0, |n| Origin::Upstream(u8::try_from(n % 2).unwrap())),
        64
    );
    assert_eq!(runs(100, |_| Origin::Member), 8);
    assert_eq!(runs(200, |_| Origin::Member), 64);
}
