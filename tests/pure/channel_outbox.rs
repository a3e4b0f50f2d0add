//! The queue of one member, against a list of frames.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;
use mles::channel::{Dropped, Form, Outbox};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::frames::Frames;

#[derive(Clone, Debug)]
enum Op {
    /// Queue a run of frames with these payload lengths.
    Push(Vec<usize>),
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

    fn drop_oldest(&mut self, keep: usize) -> Dropped {
        let begun = usize::from(self.written > 0);
        let mut dropped = Dropped::default();
        while self.queued().len() > keep && self.frames.len() > begun {
            dropped.frames += 1;
            dropped.bytes += self.frames.remove(begun).unwrap().len();
        }
        dropped
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
                    outbox.push(made.concat().into());
                    naive.frames.extend(made);
                }
                Op::Write(share) => {
                    let n = naive.queued().len() * usize::from(share) / 256;
                    outbox.advance(n);
                    naive.write(n);
                }
                Op::WriteFrames(count) => {
                    let len: usize = naive.frames.iter().take(count).map(Bytes::len).sum();
                    let n = len.saturating_sub(naive.written);
                    outbox.advance(n);
                    naive.write(n);
                }
                Op::Drop(share) => {
                    let keep = naive.queued().len() * usize::from(share) / 256;
                    prop_assert_eq!(outbox.drop_oldest(keep, Form::Frames), naive.drop_oldest(keep));
                }
            }
            let queued = naive.queued();
            prop_assert_eq!(outbox.bytes(), queued.len());
            prop_assert_eq!(outbox.is_empty(), queued.is_empty());
            prop_assert_eq!(&peek(&outbox, 1000), &queued);
            let few = peek(&outbox, slices);
            prop_assert!(queued.starts_with(&few) && few.is_empty() == queued.is_empty());
            if let Some(single) = outbox.single() {
                prop_assert_eq!(single, &queued[..]);
            }
        }
        let left = usize::from(naive.written > 0);
        prop_assert_eq!(outbox.drop_oldest(0, Form::Frames).frames, naive.frames.len() - left);
        naive.drop_oldest(0);
        prop_assert_eq!(peek(&outbox, 1000), naive.queued());
    }
}

#[test]
fn the_rest_of_a_begun_frame_counts_against_what_is_kept() {
    let mut frames = Frames::default();
    let (large, small) = (frames.frame(1000), frames.frame(10));
    let mut outbox = Outbox::default();
    outbox.push(large.clone());
    outbox.push(small.clone());
    outbox.advance(1);
    let dropped = outbox.drop_oldest(small.len(), Form::Frames);
    assert_eq!(dropped.frames, 1);
    assert_eq!(outbox.bytes(), large.len() - 1);
}
