//! Reads of any size: the runs that come out, the memory taken meanwhile, and that all of it is given back.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Waker;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::*;
use crate::protocol::{Cid, HEADER_LEN, Key, MAX_BODY_LEN, Message, encode_frame, frames};

const ALLOWANCE: usize = 1 << 20;
const ANY: Frames<'_> = Frames {
    max_body: MAX_BODY_LEN,
    check: None,
};

/// A socket: every chunk is what one read finds, then nothing or the end.
#[derive(Debug, Default)]
struct Script {
    chunks: VecDeque<Vec<u8>>,
    ends: bool,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(mut chunk) = self.chunks.pop_front() else {
            return if self.ends {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        let later = chunk.split_off(chunk.len().min(buf.remaining()));
        buf.put_slice(&chunk);
        if !later.is_empty() {
            self.chunks.push_front(later);
        }
        Poll::Ready(Ok(()))
    }
}

/// A connection and what it has read so far.
#[derive(Debug, Default)]
struct Reader {
    input: Input,
    socket: Script,
    whole: Vec<u8>,
    runs: Vec<FrameRun>,
}

impl Reader {
    fn feed(&mut self, chunk: &[u8]) {
        self.socket.chunks.push_back(chunk.to_vec());
    }

    /// Reads until there is nothing more to read, or something other than frames is found.
    fn read(&mut self, scratch: &mut Scratch) -> Option<Next> {
        loop {
            let mut cx = Context::from_waker(Waker::noop());
            let socket = &mut self.socket;
            let poll = self.input.poll_read(&mut cx, socket, scratch, &ANY);
            let Poll::Ready(step) = poll else {
                return None;
            };
            let ReadStep { run, next } = step.unwrap();
            if let Some(run) = run {
                assert_eq!(run.frames(), frames(run.bytes()).count());
                self.whole.extend_from_slice(run.bytes());
                self.runs.push(run);
            }
            match next {
                Next::Wait | Next::Again => {}
                Next::Eof { .. } | Next::Bad(_) | Next::Overdrawn => return Some(next),
            }
        }
    }

    /// Checks what the connection holds while it waits for more.
    fn check_memory(&self, scratch: &Scratch) {
        let held = self.input.partial.capacity();
        let len = self.input.partial.len();
        let charged = if held > FREE { held } else { 0 };
        assert_eq!(scratch.allowance.held(&self.input.share), charged);
        assert_eq!(scratch.allowance.left(), ALLOWANCE - charged);
        assert!(held <= (2 * len).max(CHUNK + COPIED), "{held} for {len}");
        assert_eq!(held == 0, len == 0, "nothing is held for nothing");
    }
}

fn frame(payload: usize) -> Bytes {
    let message = vec![0xA5; payload];
    let message = Message {
        uid: "u",
        channel: "c",
        message: &message,
    };
    encode_frame(Cid(1), Key(2), &message).unwrap()
}

fn stream(payloads: &[usize]) -> Vec<u8> {
    let frames: Vec<_> = payloads.iter().map(|&len| frame(len)).collect();
    frames.concat()
}

#[test]
fn a_stream_may_be_split_anywhere() {
    let stream = stream(&[0, 30, COPIED, 10]);
    let mut scratch = Scratch::new(ALLOWANCE);
    for at in 1..stream.len() {
        let mut reader = Reader::default();
        for part in [&stream[..at], &stream[at..]] {
            reader.feed(part);
            assert!(reader.read(&mut scratch).is_none());
            reader.check_memory(&scratch);
        }
        assert_eq!(reader.whole, stream, "split at {at}");
        assert_eq!(reader.input.partial.capacity(), 0);
    }
}

proptest! {
    #[test]
    fn two_streams_come_out_as_they_went_in(
        payloads in vec(prop_oneof![0..200_usize, 0..200_000_usize], 1..8),
        chunks in vec((any::<bool>(), prop_oneof![1..50_usize, 1..100_000_usize]), 1..100),
    ) {
        let stream = stream(&payloads);
        let mut scratch = Scratch::new(ALLOWANCE);
        let mut readers = [Reader::default(), Reader::default()];
        let mut rest = [&stream[..], &stream[..]];
        let all = [(false, stream.len()), (true, stream.len())];
        for (which, len) in chunks.into_iter().chain(all) {
            let at = usize::from(which);
            let (chunk, later) = rest[at].split_at(len.min(rest[at].len()));
            if chunk.is_empty() {
                continue;
            }
            rest[at] = later;
            readers[at].feed(chunk);
            prop_assert!(readers[at].read(&mut scratch).is_none());
            let held = readers.iter().map(|r| r.input.partial.capacity());
            let held: usize = held.filter(|&held| held > FREE).sum();
            prop_assert_eq!(scratch.allowance.left() + held, ALLOWANCE);
        }
        for reader in &readers {
            prop_assert!(reader.whole == stream);
            prop_assert_eq!(reader.input.partial.capacity(), 0);
            for run in &reader.runs {
                // Copied to size, or in a buffer at least half full.
                prop_assert!(run.pinned() >= run.bytes().len());
                prop_assert!(run.pinned() <= 2 * run.bytes().len() + 2 * COPIED);
            }
        }
    }
}

#[test]
fn memory_follows_the_bytes_and_not_the_length_announced() {
    let large = frame(10 << 20);
    let mut scratch = Scratch::new(ALLOWANCE);
    let mut reader = Reader::default();
    for end in [4, 10, 5000, 70_000, 200_000] {
        let start = reader.input.partial.len();
        reader.feed(&large[start..end]);
        assert!(reader.read(&mut scratch).is_none());
        assert_eq!(reader.input.partial.len(), end);
        reader.check_memory(&scratch);
    }
    reader.input.release(&mut scratch);
    assert_eq!(scratch.allowance.left(), ALLOWANCE);
}

#[test]
fn the_frames_before_one_that_finds_no_memory_are_whole() {
    let mut scratch = Scratch::new(100);
    let mut reader = Reader::default();
    let good = stream(&[10, 20]);
    reader.feed(&[&good, &frame(2 * FREE)[..FREE + 1]].concat());
    assert!(matches!(reader.read(&mut scratch), Some(Next::Overdrawn)));
    assert_eq!(reader.whole, good);
    reader.input.release(&mut scratch);
    assert_eq!(scratch.allowance.left(), 100);
}

#[test]
fn a_growing_frame_is_stopped_at_the_allowance() {
    let allowance = 3 * CHUNK;
    let mut scratch = Scratch::new(allowance);
    let mut reader = Reader::default();
    reader.feed(&frame(10 * CHUNK));
    assert!(matches!(reader.read(&mut scratch), Some(Next::Overdrawn)));
    reader.input.release(&mut scratch);
    assert_eq!(scratch.allowance.left(), allowance);

    let mut other = Reader::default();
    other.feed(&frame(2 * CHUNK));
    assert!(other.read(&mut scratch).is_none());
    assert_eq!(other.runs.len(), 1);
    assert_eq!(scratch.allowance.left(), allowance);
}

#[test]
fn the_good_frames_before_bad_bytes_are_taken() {
    let mut scratch = Scratch::new(ALLOWANCE);
    let mut reader = Reader::default();
    let good = stream(&[10, 20]);
    reader.feed(&[&good, &b"X"[..]].concat());
    let expected = FrameError::BadMagic {
        found: b'X',
        at: good.len(),
    };
    assert!(matches!(reader.read(&mut scratch), Some(Next::Bad(error)) if error == expected));
    assert_eq!(reader.whole, good);
    assert_eq!(scratch.allowance.left(), ALLOWANCE);
}

#[test]
fn the_end_may_come_inside_a_frame() {
    for (end, is_torn) in [(0, false), (HEADER_LEN, true), (COPIED + 1, true)] {
        let mut scratch = Scratch::new(ALLOWANCE);
        let mut reader = Reader::default();
        reader.socket.ends = true;
        reader.feed(&[&frame(10), &frame(2 * COPIED)[..end]].concat());
        let next = reader.read(&mut scratch);
        assert!(
            matches!(next, Some(Next::Eof { torn }) if torn == is_torn),
            "{next:?}"
        );
        assert_eq!(reader.whole, frame(10));
    }
}

#[test]
fn a_frame_begun_elsewhere_is_finished_here() {
    let frame = frame(2 * COPIED);
    for at in [0, 1, HEADER_LEN, COPIED + 1, frame.len() - 1] {
        let mut scratch = Scratch::new(ALLOWANCE);
        let mut there = Reader::default();
        if at > 0 {
            there.feed(&frame[..at]);
        }
        assert!(there.read(&mut scratch).is_none());
        let begun = there.input.take_partial(&mut scratch);
        assert_eq!(scratch.allowance.left(), ALLOWANCE);

        let mut here = Reader::default();
        here.input.resume(&begun, &mut scratch, &ANY).unwrap();
        here.check_memory(&scratch);
        here.feed(&frame[at..]);
        assert!(here.read(&mut scratch).is_none());
        assert_eq!(here.whole, frame);
        assert_eq!(scratch.allowance.left(), ALLOWANCE);
    }
}
