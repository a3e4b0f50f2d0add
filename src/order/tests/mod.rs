//! Tests of records, of packing and of what is applied.

mod applied;
mod packer;
mod record;
mod world;

use bytes::Bytes;

use super::{Author, Content, FleetEpoch, NamedPublication, Section, Sequence};
use crate::channel::{FrameRun, PublisherId};
use crate::log::LogState;
use crate::protocol::{Cid, Epoch, Key, Message, encode_frame};

/// The epoch that the logs of these tests are made with.
const FIRST_EPOCH: FleetEpoch = FleetEpoch {
    number: 1,
    id: Epoch(0xE1),
};
/// A time of the log, in milliseconds since 1970.
const START_MS: u64 = 1_700_000_000_000;

/// Returns a log that has lost nothing yet.
fn empty_log() -> LogState {
    LogState {
        first: Sequence(1),
        last: Sequence(0),
        last_at_ms: 0,
        epoch: FIRST_EPOCH,
        max_record: 1 << 20,
    }
}

/// Returns a run of one frame for each text; an empty one is a hint.
fn run_of(texts: &[&str]) -> FrameRun {
    let frames = texts.iter().map(|text| {
        let message = Message {
            uid: "u",
            channel: "c",
            message: text.as_bytes(),
        };
        encode_frame(Cid(7), Key(9), &message).expect("it is short")
    });
    let frames: Vec<_> = frames.collect();
    let count = u32::try_from(frames.len()).expect("few");
    FrameRun::exact(frames.concat().into(), count)
}

fn run_section(channel: &str, session: u64, by: Author, texts: &[&str]) -> Section {
    let run = run_of(texts);
    Section {
        channel: channel.into(),
        session,
        ticket: 0,
        content: Content::Run {
            messages: u32::try_from(run.messages()).expect("few"),
            run,
            by,
        },
    }
}

fn seat_section(channel: &str, session: u64, publisher: u64) -> Section {
    Section {
        channel: channel.into(),
        session,
        ticket: 0,
        content: Content::Seat {
            publisher: PublisherId(publisher),
            counts_anew: false,
        },
    }
}

fn named(publisher: u64, content: u64) -> Author {
    Author::Publication(NamedPublication {
        publisher: PublisherId(publisher),
        content,
    })
}

/// Gives bytes behind the checksum the checksum that they have to have.
fn with_checksum(version: u8, rest: &[u8]) -> Bytes {
    let sum = xxhash_rust::xxh3::xxh3_64_with_seed(rest, version.into()).to_le_bytes();
    [&[version][..], &sum, rest].concat().into()
}
