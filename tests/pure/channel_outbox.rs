//! The queue of one member, against a list of frames.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;
use mles::channel::{
    ChannelSettings, ENTRY_COST, Encoding, Fanout, MemberKey, Merger, Outbox, SessionId,
    SlowPolicy, Verdict,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::{Frames, run};

#[derive(Clone, Debug)]
enum Op {
    /// Queue a run of frames with these payload lengths.
    Push(Vec<usize>),
    /// Queue that many runs of one small frame.
    PushSmall(usize),
    /// Write this share (of 256) of what is queued.
    Write(u8),
    /// Write up to the end of the n-th frame.
    WriteFrames(usize),
    /// Drop down to this share (of 256) of what is queued.
    Drop(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => vec(0..60_usize, 1..6).prop_map(Op::Push),
        2 => (1..100_usize).prop_map(Op::PushSmall),
        3 => any::<u8>().prop_map(Op::Write),
        1 => (1..4_usize).prop_map(Op::WriteFrames),
        2 => any::<u8>().prop_map(Op::Drop),
    ]
}

/// The frames queued, the first maybe partly written.
#[derive(Debug, Default)]
struct Naive {
    frames: VecDeque<Bytes>,
    written: usize,
}

impl Naive {
    fn queued(&self) -> Vec<u8> {
        let all: Vec<u8> = self.frames.iter().flatten().copied().collect();
        all[self.written..].to_vec()
    }

    fn write(&mut self, n: usize) {
        self.written += n;
        while self.frames.front().is_some_and(|f| f.len() <= self.written) {
            self.written -= self.frames.pop_front().unwrap().len();
        }
    }

    /// Drops the oldest whole frames. Returns how many bytes that is, and the length of the last.
    fn drop_oldest(&mut self, frames: usize) -> (usize, usize) {
        let begun = usize::from(self.written > 0);
        let dropped = self.frames.drain(begun..begun + frames);
        let dropped: Vec<_> = dropped.map(|frame| frame.len()).collect();
        (dropped.iter().sum(), dropped.last().copied().unwrap_or(0))
    }
}

/// What the outbox would write, taken in pieces of a few slices at a time.
fn peek(outbox: &Outbox, slices: usize) -> Vec<u8> {
    let mut out = vec![IoSlice::new(&[]); slices];
    let count = outbox.slices(&mut out);
    assert!(out[..count].iter().all(|slice| !slice.is_empty()));
    out[..count]
        .iter()
        .flat_map(|s| s.iter().copied())
        .collect()
}

proptest! {
    #[test]
    fn it_is_a_list_of_frames(ops in vec(op(), 1..40), slices in 1..4_usize) {
        let (mut outbox, mut naive) = (Outbox::default(), Naive::default());
        let mut frames = Frames::default();
        for op in ops {
            match op {
                Op::Push(payloads) => {
                    let made = frames.frames(&payloads);
                    outbox.push_merging(made.concat().into(), &mut Merger::default());
                    naive.frames.extend(made);
                }
                Op::PushSmall(count) => {
                    for _ in 0..count {
                        let frame = frames.frame(8);
                        outbox.push_merging(frame.clone(), &mut Merger::default());
                        naive.frames.push_back(frame);
                    }
                }
                Op::Write(share) => {
                    let n = naive.queued().len() * usize::from(share) / 256;
                    outbox.advance(n, Encoding::Frames);
                    naive.write(n);
                }
                Op::WriteFrames(count) => {
                    let len: usize = naive.frames.iter().take(count).map(Bytes::len).sum();
                    let n = len.saturating_sub(naive.written);
                    outbox.advance(n, Encoding::Frames);
                    naive.write(n);
                }
                Op::Drop(share) => {
                    let keep = outbox.cost() * usize::from(share) / 256;
                    let dropped = outbox.drop_oldest(keep, Encoding::Frames);
                    let (bytes, last) = naive.drop_oldest(dropped.frames);
                    prop_assert_eq!(dropped.bytes, bytes);
                    // As many as have to go, and no more.
                    let begun = usize::from(naive.written > 0);
                    prop_assert!(outbox.cost() <= keep || naive.frames.len() == begun);
                    if dropped.frames > 0 {
                        prop_assert!(outbox.cost() + last + 2 * ENTRY_COST > keep);
                    }
                }
            }
            let queued = naive.queued();
            prop_assert_eq!(outbox.bytes(), queued.len());
            prop_assert_eq!(outbox.is_empty(), queued.is_empty());
            prop_assert_eq!(&peek(&outbox, 10_000), &queued);
            let mut slices_of_all = vec![IoSlice::new(&[]); 10_000];
            let entries = outbox.slices(&mut slices_of_all);
            let cost = queued.len() + entries.saturating_sub(1) * ENTRY_COST;
            prop_assert_eq!(outbox.cost(), cost);
            let few = peek(&outbox, slices);
            prop_assert!(queued.starts_with(&few) && few.is_empty() == queued.is_empty());
            if let Some(single) = outbox.single() {
                prop_assert_eq!(single, &queued[..]);
            }
        }
        let left = naive.frames.len() - usize::from(naive.written > 0);
        prop_assert_eq!(outbox.drop_oldest(0, Encoding::Frames).frames, left);
        naive.drop_oldest(left);
        prop_assert_eq!(peek(&outbox, 10_000), naive.queued());
    }
}

#[test]
fn the_rest_of_a_begun_frame_counts_against_what_is_kept() {
    let mut frames = Frames::default();
    let (large, small) = (frames.frame(1000), frames.frame(10));
    let mut outbox = Outbox::default();
    outbox.push(large.clone());
    outbox.push(small.clone());
    outbox.advance(1, Encoding::Frames);
    let dropped = outbox.drop_oldest(small.len(), Encoding::Frames);
    assert_eq!(dropped.frames, 1);
    assert_eq!(outbox.bytes(), large.len() - 1);
}

/// Small runs are merged once they are many, each byte copied once, and large ones stay shared.
#[test]
fn small_runs_cost_little_more_than_their_bytes() {
    let mut frames = Frames::default();
    let (small, large) = (frames.frame(8), frames.frame(1000));
    let mut outbox = Outbox::default();
    for _ in 0..100_000 {
        outbox.push_merging(small.clone(), &mut Merger::default());
    }
    let bytes = 100_000 * small.len();
    assert_eq!(outbox.bytes(), bytes);
    assert!(outbox.cost() < bytes + bytes / 8, "{}", outbox.cost());
    outbox.push(large.clone());
    outbox.advance(bytes, Encoding::Frames);
    let single = outbox.single().unwrap();
    assert_eq!(single.as_ptr(), large.as_ptr(), "it is not copied");
}

/// What is merged is never what a member that keeps up has queued.
#[test]
fn a_few_runs_are_shared_however_small() {
    let frame = Frames::default().frame(8);
    let mut outbox = Outbox::default();
    for _ in 0..32 {
        outbox.push_merging(frame.clone(), &mut Merger::default());
    }
    for _ in 0..32 {
        let mut slices = [IoSlice::new(&[])];
        assert_eq!(outbox.slices(&mut slices), 1);
        assert_eq!(slices[0].as_ptr(), frame.as_ptr());
        outbox.advance(frame.len(), Encoding::Frames);
    }
}

/// Members who are sent what a WebSocket connection takes: `history` first, then what is delivered.
fn websocket_member(encoding: Encoding, history: &[Vec<Bytes>]) -> (Fanout<()>, MemberKey) {
    let mut fanout = Fanout::default();
    let key = fanout.insert(SessionId(1), (), 0);
    fanout.set_encoding(key, encoding);
    let runs = history.iter().map(|frames| frames.concat().into());
    fanout.replay(key, runs);
    (fanout, key)
}

/// Writes a share (of 256) of what can be written, until nothing is left, and returns all of it.
fn written(fanout: &mut Fanout<()>, key: MemberKey, shares: &[u8]) -> Vec<u8> {
    let (mut all, settings) = (Vec::new(), ChannelSettings::default());
    for share in shares.iter().cycle() {
        let ready = peek(&fanout.at(key).unwrap().outbox, 10_000);
        if ready.is_empty() {
            break;
        }
        let n = (ready.len() * (1 + usize::from(*share)) / 256).max(1);
        all.extend_from_slice(&ready[..n]);
        fanout.wrote(key, n, Instant::now(), &settings);
    }
    assert!(fanout.at(key).unwrap().outbox.is_empty());
    assert_eq!(fanout.at(key).unwrap().outbox.cost(), 0);
    all
}

proptest! {
    /// Its history is made into its form on the way, and is what it would have got had it been there.
    #[test]
    fn a_joiner_over_websocket_gets_its_history_as_if_it_had_been_there(
        is_v1 in any::<bool>(),
        history in vec(vec(0..300_usize, 1..20), 0..20),
        live in vec(vec(0..300_usize, 1..5), 0..40),
        shares in vec(any::<u8>(), 1..8),
    ) {
        let encoding = if is_v1 { Encoding::Bodies } else { Encoding::Payloads };
        let mut frames = Frames::default();
        let mut all = |runs: Vec<Vec<usize>>| -> Vec<Vec<Bytes>> {
            runs.iter().map(|payloads| frames.frames(payloads)).collect()
        };
        let (history, live) = (all(history), all(live));
        let (mut joiner, key) = websocket_member(encoding, &history);
        let (mut there, early) = websocket_member(encoding, &[]);
        for frames in &history {
            there.deliver(&run(frames), SessionId::NONE);
        }
        for frames in &live {
            joiner.deliver(&run(frames), SessionId::NONE);
            there.deliver(&run(frames), SessionId::NONE);
        }
        prop_assert_eq!(written(&mut joiner, key, &shares), written(&mut there, early, &shares));
    }
}

/// What is made for it beside the frames that everybody shares is one run, however long its history is.
#[test]
fn no_more_of_a_history_is_made_than_is_written_next() {
    let mut frames = Frames::default();
    let history: Vec<_> = (0..100).map(|_| frames.frames(&[1000; 10])).collect();
    let (fanout, key) = websocket_member(Encoding::Bodies, &history);
    let ready = peek(&fanout.at(key).unwrap().outbox, 10_000);
    assert!(ready.len() < 11_000, "{}", ready.len());
}

/// It is the oldest, and goes first.
#[test]
fn a_history_that_was_not_read_is_dropped_before_what_came_live() {
    let settings = ChannelSettings {
        queue_bytes: 1000,
        slow_policy: SlowPolicy::DropOldest,
        ..ChannelSettings::default()
    };
    let mut frames = Frames::default();
    let history: Vec<_> = (0..10).map(|_| frames.frames(&[100; 10])).collect();
    let (mut fanout, key) = websocket_member(Encoding::Payloads, &history);
    let first = fanout.at(key).unwrap().outbox.bytes();
    fanout.wrote(key, 1, Instant::now(), &settings);
    let live: Vec<_> = (0..20).map(|_| frames.frame(100)).collect();
    for frame in &live {
        fanout.deliver(&run(std::slice::from_ref(frame)), SessionId::NONE);
    }
    let verdict = fanout.enforce(key, Instant::now(), &settings);
    let Verdict::Dropped(dropped) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(dropped.bytes < first + 20 * 104);
    // The message that has begun is completed.
    let outbox = &fanout.at(key).unwrap().outbox;
    assert!(outbox.cost() <= 1000, "{}", outbox.cost());
    let left = written(&mut fanout, key, &[255]);
    let (begun, live_left) = left.split_at(101);
    assert_eq!(begun.len(), 101);
    assert_eq!(live_left.len() % 102, 0);
    let left = live_left.len() / 102;
    assert_eq!(dropped.frames, 99 + 20 - left);
    assert!(live_left.ends_with(&[0xA5; 92]));
}
