//! The queue of one member, against a list of frames.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use mles::channel::{ENTRY_COST, FRAMES, Form, Merger, Outbox};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::Frames;

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

/// Returns what the outbox would write, taken in pieces of a few slices at a time.
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
                    outbox.advance(n, &mut Form::from(&FRAMES));
                    naive.write(n);
                }
                Op::WriteFrames(count) => {
                    let len: usize = naive.frames.iter().take(count).map(Bytes::len).sum();
                    let n = len.saturating_sub(naive.written);
                    outbox.advance(n, &mut Form::from(&FRAMES));
                    naive.write(n);
                }
                Op::Drop(share) => {
                    let keep = outbox.cost() * usize::from(share) / 256;
                    let dropped = outbox.drop_oldest(keep, &mut Form::from(&FRAMES));
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
        prop_assert_eq!(outbox.drop_oldest(0, &mut Form::from(&FRAMES)).frames, left);
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
    outbox.advance(1, &mut Form::from(&FRAMES));
    let dropped = outbox.drop_oldest(small.len(), &mut Form::from(&FRAMES));
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
    outbox.advance(bytes, &mut Form::from(&FRAMES));
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
        outbox.advance(frame.len(), &mut Form::from(&FRAMES));
    }
}
