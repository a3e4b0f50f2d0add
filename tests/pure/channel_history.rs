//! History against the list of all frames ever published.

use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::channel::{ChannelSettings, Form, FrameRun, History, Origin};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::Frames;

/// What the documentation grants a run for its entry, above its buffer.
const RUN_OVERHEAD: usize = 96;

#[derive(Clone, Debug)]
enum Op {
    /// Publish a run of frames with these payload lengths, in a buffer this much larger.
    Push(Vec<usize>, usize),
    /// Let milliseconds pass.
    Pass(u64),
    Trim,
}

fn op() -> impl Strategy<Value = Op> {
    let slack = prop_oneof![Just(0), 0..4096_usize];
    prop_oneof![
        6 => (vec(0..200_usize, 1..20), slack).prop_map(|(run, slack)| Op::Push(run, slack)),
        2 => (0..40_u64).prop_map(Op::Pass),
        1 => Just(Op::Trim),
    ]
}

fn settings() -> impl Strategy<Value = ChannelSettings> {
    let frames = prop_oneof![Just(0), 1..60_usize, Just(usize::MAX)];
    let bytes = prop_oneof![Just(0), 100..8000_usize, Just(usize::MAX)];
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

/// How many of the newest frames fit into `bytes` however badly they are stored: each in a run of
/// its own, in a buffer twice its length.
fn fit_at_least(published: &[(Bytes, Instant)], bytes: usize) -> usize {
    let mut left = bytes;
    let newest = published.iter().rev();
    newest
        .take_while(|(frame, _)| {
            let cost = 2 * frame.len() + RUN_OVERHEAD;
            left.checked_sub(cost).map(|rest| left = rest).is_some()
        })
        .count()
}

proptest! {
    #[test]
    fn it_holds_the_newest_frames_within_its_caps(
        settings in settings(),
        available in prop_oneof![Just(usize::MAX), 0..8000_usize],
        ops in vec(op(), 1..40),
    ) {
        let mut frames = Frames::default();
        let (mut history, mut now) = (History::default(), Instant::now());
        let mut published: Vec<(Bytes, Instant)> = Vec::new();
        let mut trimmed_at = now;
        let bytes = settings.history_bytes.min(available);
        for op in ops {
            match op {
                Op::Push(payloads, slack) => {
                    let made = frames.frames(&payloads);
                    let (whole, count) = (made.concat(), u32::try_from(made.len()).unwrap());
                    let capacity = whole.len() + slack;
                    let run = FrameRun::slice_of(whole.into(), count, capacity);
                    history.push(&run, Origin::Member, now, &settings, available);
                    published.extend(made.into_iter().map(|frame| (frame, now)));
                    trimmed_at = now;
                }
                Op::Pass(ms) => now += Duration::from_millis(ms),
                Op::Trim => {
                    history.trim(now, &settings);
                    trimmed_at = now;
                }
            }
            let is_old = |at: Instant, now: Instant| {
                settings.history_age.is_some_and(|age| now - at > age)
            };
            let replay: Vec<Bytes> = history.replay(now, &settings, Form::Frames);
            let replayed = replay.concat();

            // The newest frames, in order, none of them old.
            let young: Vec<_> = published.iter().filter(|(_, at)| !is_old(*at, now)).collect();
            let all = young.iter().map(|(frame, _)| &frame[..]).collect::<Vec<_>>();
            let count = replay.iter().flat_map(|run| mles::protocol::frames(run)).count();
            prop_assert!(count <= young.len());
            prop_assert_eq!(&replayed, &all[young.len() - count..].concat());

            // As many as the caps allow.
            let least = fit_at_least(&published, bytes).min(settings.history_frames);
            prop_assert!(count >= least.min(young.len()), "{count} of {least}");
            if bytes == usize::MAX {
                prop_assert_eq!(count, young.len().min(settings.history_frames));
            }

            // Within the caps, as it tells itself and as can be told from outside.
            prop_assert!(history.frames() <= settings.history_frames);
            prop_assert!(history.cost() <= bytes);
            let kept = published[published.len() - history.frames()..].iter();
            let kept_bytes: usize = kept.clone().map(|(frame, _)| frame.len()).sum();
            prop_assert!(history.cost() >= kept_bytes);
            prop_assert!(history.cost() <= 2 * kept_bytes + RUN_OVERHEAD * history.frames());
            prop_assert!(!kept.clone().any(|(_, at)| is_old(*at, trimmed_at)));
            prop_assert_eq!(history.is_empty(), history.frames() == 0);
        }
    }

    /// A run whose buffer is much larger than its frames is copied, so that the buffer can go; one
    /// that nearly fills its buffer is shared.
    #[test]
    fn it_does_not_keep_large_buffers_alive(payload in 100..200_usize, slack in 0..4096_usize) {
        let frame = Frames::default().frame(payload);
        let capacity = frame.len() + slack;
        let mut history = History::default();
        let settings = ChannelSettings::default();
        let now = Instant::now();
        let run = FrameRun::slice_of(frame.clone(), 1, capacity);
        history.push(&run, Origin::Member, now, &settings, usize::MAX);
        let kept = history.replay(now, &settings, Form::Frames);
        let is_shared = kept[0].as_ptr() == frame.as_ptr();
        prop_assert_eq!(is_shared, capacity <= 2 * frame.len());
        let pinned = if is_shared { capacity } else { frame.len() };
        prop_assert_eq!(history.cost(), pinned + RUN_OVERHEAD);
    }
}

/// A crowd of joiners that does not read must not cost a copy for each.
#[test]
fn what_is_made_for_one_joiner_is_shared_by_the_next() {
    let settings = ChannelSettings::default();
    let now = Instant::now();
    let mut history = History::default();
    let mut made = Frames::default();
    for payload in [50_000, 10] {
        let frame = made.frame(payload);
        history.push(
            &FrameRun::exact(frame, 1),
            Origin::Member,
            now,
            &settings,
            usize::MAX,
        );
    }
    let before = history.cost();
    for form in [Form::Bodies, Form::Payloads] {
        let first = history.replay(now, &settings, form);
        let cost = history.cost();
        let second = history.replay(now, &settings, form);
        assert_eq!(history.cost(), cost, "nothing is made twice");
        let places = |runs: &[Bytes]| runs.iter().map(|run| run.as_ptr()).collect::<Vec<_>>();
        assert_eq!(places(&first), places(&second));
        assert_eq!(first.len(), 2);
    }
    assert!(
        history.cost() > before + 2 * 50_000,
        "what is made is counted"
    );
    history.trim(
        now + Duration::from_secs(1),
        &ChannelSettings {
            history_frames: 1,
            ..settings
        },
    );
    assert!(history.cost() < 1000, "and goes with its frame");
}
