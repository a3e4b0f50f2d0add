//! The queues of WebSocket members: their history, and what is dropped from them.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::IoSlice;
use std::time::Instant;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::channel::{
    ChannelSettings, Fanout, FrameRun, MemberKey, Numbers, Resumed, SessionId, SlowPolicy, Verdict,
};
use crate::gateway::events;
use crate::protocol::{Cid, Epoch, Key, Message, Position, Welcome, encode_frame};

/// Makes frames that are all different.
#[derive(Default)]
struct Frames {
    made: u64,
}

impl Frames {
    /// A frame with a payload of at least eight bytes.
    fn frame(&mut self, payload: usize) -> Bytes {
        self.made += 1;
        let mut message = self.made.to_be_bytes().to_vec();
        message.resize(payload.max(8), 0xA5);
        let message = Message {
            uid: "u",
            channel: "c",
            message: &message,
        };
        encode_frame(Cid(1), Key(2), &message).unwrap()
    }

    fn frames(&mut self, payloads: &[usize]) -> Vec<Bytes> {
        payloads.iter().map(|&len| self.frame(len)).collect()
    }
}

fn run(frames: &[Bytes]) -> FrameRun {
    FrameRun::exact(frames.concat().into(), u32::try_from(frames.len()).unwrap())
}

/// Returns the bytes that can be written to the member.
fn ready(fanout: &Fanout<()>, key: MemberKey) -> Vec<u8> {
    let mut slices = [IoSlice::new(&[]); 10_000];
    let count = fanout.at(key).unwrap().outbox.slices(&mut slices);
    slices[..count]
        .iter()
        .flat_map(|s| s.iter().copied())
        .collect()
}

/// A member that is sent `history` first.
fn member(encoding: &'static Encoding, history: &[Vec<Bytes>]) -> (Fanout<()>, MemberKey) {
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
        let next = ready(fanout, key);
        if next.is_empty() {
            break;
        }
        let n = (next.len() * (1 + usize::from(*share)) / 256).max(1);
        all.extend_from_slice(&next[..n]);
        fanout.wrote(key, n, Instant::now(), &settings);
    }
    assert!(fanout.at(key).unwrap().outbox.is_empty());
    assert_eq!(fanout.at(key).unwrap().outbox.cost(), 0);
    all
}

const EPOCH: Epoch = Epoch(0xE);

/// Has a member ask for positions that is sent `missed` first, which end at `newest`.
fn resume(fanout: &mut Fanout<()>, key: MemberKey, missed: &[Vec<Bytes>], newest: usize) {
    let position = Position {
        epoch: EPOCH,
        offset: newest as u64,
    };
    let resumed = Resumed {
        welcome: Welcome {
            position,
            start: None,
            replay: missed.iter().map(|frames| frames.len() as u64).sum(),
            recovered: true,
            missed: Some(0),
            published: None,
        },
        members: None,
    };
    let runs = missed.iter().map(|frames| frames.concat().into());
    fanout.resume(key, &"c".into(), &resumed, runs);
}

fn numbers(newest: usize, count: usize) -> Option<Numbers> {
    Some(Numbers {
        epoch: EPOCH,
        newest: newest as u64,
        jumps: false,
        count: u32::try_from(count).unwrap(),
    })
}

proptest! {
    /// Messages have the positions in the history that they had live.
    #[test]
    fn who_resumes_gets_what_was_missed_as_if_it_had_been_there(
        encoding in 0..3_usize,
        history in vec(vec(0..300_usize, 1..20), 0..20),
        live in vec(vec(0..300_usize, 1..5), 0..40),
        shares in vec(any::<u8>(), 1..8),
    ) {
        let encoding = [&BODIES, &MARKED_PAYLOADS, events::EVENTS.encoding][encoding];
        let mut frames = Frames::default();
        let mut all = |runs: Vec<Vec<usize>>| -> Vec<Vec<Bytes>> {
            runs.iter().map(|payloads| frames.frames(payloads)).collect()
        };
        let (history, live) = (all(history), all(live));
        let missed = history.iter().map(Vec::len).sum();
        let (mut joiner, key) = member(encoding, &[]);
        let (mut there, early) = member(encoding, &[]);
        resume(&mut joiner, key, &history, missed);
        resume(&mut there, early, &[], 0);
        let mut newest = 0;
        for frames in history.iter().chain(&live) {
            newest += frames.len();
            let numbers = numbers(newest, frames.len());
            there.deliver(&run(frames), SessionId::NONE, numbers);
            if newest > missed {
                joiner.deliver(&run(frames), SessionId::NONE, numbers);
            }
        }
        let without_welcome = |all: Vec<u8>| {
            let end_of_event = || all.windows(2).position(|two| two == b"\n\n").unwrap() + 2;
            let is_stream = encoding == events::EVENTS.encoding;
            let end = if is_stream { end_of_event() } else { server_frame_len(&all).unwrap() };
            all[end..].to_vec()
        };
        let (joiner, there) = (written(&mut joiner, key, &shares), written(&mut there, early, &shares));
        prop_assert_eq!(without_welcome(joiner), without_welcome(there));
    }

    /// Its history is encoded while it is written, and is what it would have got had it been there.
    #[test]
    fn a_joiner_over_websocket_gets_its_history_as_if_it_had_been_there(
        is_v1 in any::<bool>(),
        history in vec(vec(0..300_usize, 1..20), 0..20),
        live in vec(vec(0..300_usize, 1..5), 0..40),
        shares in vec(any::<u8>(), 1..8),
    ) {
        let encoding = if is_v1 { &BODIES } else { &PAYLOADS };
        let mut frames = Frames::default();
        let mut all = |runs: Vec<Vec<usize>>| -> Vec<Vec<Bytes>> {
            runs.iter().map(|payloads| frames.frames(payloads)).collect()
        };
        let (history, live) = (all(history), all(live));
        let (mut joiner, key) = member(encoding, &history);
        let (mut there, early) = member(encoding, &[]);
        for frames in &history {
            there.deliver(&run(frames), SessionId::NONE, None);
        }
        for frames in &live {
            joiner.deliver(&run(frames), SessionId::NONE, None);
            there.deliver(&run(frames), SessionId::NONE, None);
        }
        prop_assert_eq!(written(&mut joiner, key, &shares), written(&mut there, early, &shares));
    }
}

/// One run is encoded ahead, however long the history is.
#[test]
fn no_more_of_a_history_is_encoded_than_is_written_next() {
    let mut frames = Frames::default();
    let history: Vec<_> = (0..100).map(|_| frames.frames(&[1000; 10])).collect();
    let (fanout, key) = member(&BODIES, &history);
    let next = ready(&fanout, key);
    assert!(next.len() < 11_000, "{}", next.len());
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
    let (mut fanout, key) = member(&PAYLOADS, &history);
    let first = fanout.at(key).unwrap().outbox.bytes();
    fanout.wrote(key, 1, Instant::now(), &settings);
    let live: Vec<_> = (0..20).map(|_| frames.frame(100)).collect();
    for frame in &live {
        fanout.deliver(&run(std::slice::from_ref(frame)), SessionId::NONE, None);
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
