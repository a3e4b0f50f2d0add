//! What should come of the log, and whether that is what nodes make of it.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::node::Node;
use crate::channel::FrameRun;
use crate::log::LogState;
use crate::log::memory::MemoryEngine;
use crate::order::tests::{FIRST_EPOCH, empty_log};
use crate::order::{
    Applied, Author, Content, Decision, FleetEpoch, Incarnation, LogEntry, OrderedRecord, Outcome,
    Section, Sequence,
};
use crate::protocol::{Epoch, HEADER_LEN, Message, frames};

/// Reads the whole log as one node would that has always been there, and compares.
///
/// That what it makes of the log is right is checked by what there is in its channels: each text once in an epoch, those
/// of one publisher in their order, and all that somebody was told of.
pub(super) struct Oracle {
    made_with: FleetEpoch,
    /// The log from its first record on, also what is not kept any more.
    entries: Vec<LogEntry>,
    applied: Applied,
    records: Vec<OrderedRecord>,
    /// The messages of each channel in this epoch.
    channels: HashMap<Box<str>, Vec<(u64, Bytes)>>,
    /// The texts that have a place in this epoch, with their offsets.
    placed: HashMap<Bytes, u64>,
    /// The number of the last message of each publisher in this epoch.
    last_of: HashMap<u64, u64>,
    /// All that ever had a place, also in what was lost.
    ever_placed: HashSet<Bytes>,
    tickets: u64,
    total: Total,
}

/// How often things have happened.
#[derive(Debug, Default)]
pub(super) struct Total {
    messages: u64,
    repeated_records: u64,
    late: u64,
    fenced: u64,
    repeats: u64,
    old_repeats: u64,
    epochs: u64,
    unsure: u64,
    compared: u64,
}

/// Returns the messages of a run.
pub(super) fn texts(run: &FrameRun) -> Vec<Bytes> {
    let messages = frames(run.bytes()).map(|frame| {
        let message = Message::decode(&frame[HEADER_LEN..]).expect("encoded here");
        Bytes::copy_from_slice(message.message)
    });
    messages.collect()
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self {
            made_with: FIRST_EPOCH,
            entries: Vec::new(),
            applied: Applied::new(Incarnation(0), &empty_log()),
            records: Vec::new(),
            channels: HashMap::new(),
            placed: HashMap::new(),
            last_of: HashMap::new(),
            ever_placed: HashSet::new(),
            tickets: 1 << 40,
            total: Total::default(),
        }
    }

    /// Returns a ticket that nobody else has.
    pub(super) fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    pub(super) fn made_with(&self) -> FleetEpoch {
        self.made_with
    }

    pub(super) fn last(&self) -> Sequence {
        Sequence(self.entries.len() as u64)
    }

    /// Reads what is new in the log.
    pub(super) fn read(&mut self, engine: &MemoryEngine) {
        while let Some(entry) = engine.entry(Sequence(self.last().0 + 1)) {
            self.apply(&entry);
            self.entries.push(entry);
        }
    }

    /// Takes in that the log has lost what is behind `last`, or all, and was made anew.
    pub(super) fn lose(&mut self, last: Sequence, made_with: FleetEpoch) {
        self.made_with = made_with;
        let log = LogState {
            epoch: made_with,
            ..empty_log()
        };
        self.applied = Applied::new(Incarnation(0), &log);
        self.records.clear();
        self.begin_epoch();
        self.entries.truncate(usize::try_from(last.0).expect("few"));
        for entry in self.entries.clone() {
            self.apply(&entry);
        }
    }

    fn begin_epoch(&mut self) {
        self.channels.clear();
        self.placed.clear();
        self.last_of.clear();
    }

    fn apply(&mut self, entry: &LogEntry) {
        let record = self.applied.apply(entry).expect("the log has an order");
        if record.begins_epoch {
            self.begin_epoch();
            self.total.epochs += 1;
        }
        match &record.outcome {
            Outcome::Decided(sections) => {
                for (section, decision) in sections {
                    self.check_section(section, *decision);
                }
            }
            Outcome::Repeat => self.total.repeated_records += 1,
            Outcome::Unsure => panic!("it has seen all of the log"),
        }
        self.records.push(record);
    }

    fn check_section(&mut self, section: &Section, decision: Decision) {
        match decision {
            Decision::Late => self.total.late += 1,
            Decision::Fenced => self.total.fenced += 1,
            Decision::Repeat { .. } => self.total.repeats += 1,
            Decision::OldRepeat | Decision::OtherContent => panic!("{decision:?}"),
            Decision::Commit { before } => {
                if let Content::Run { run, by, .. } = &section.content {
                    self.place(&section.channel, texts(run), *by, before);
                }
            }
        }
    }

    fn place(&mut self, channel: &str, texts: Vec<Bytes>, by: Author, before: u64) {
        for (offset, text) in (before + 1..).zip(texts) {
            let of_channel = self.channels.entry(channel.into()).or_default();
            let newest = of_channel.last().map_or(0, |(newest, _)| *newest);
            assert!(newest < offset, "{text:?} is not behind what was before");
            of_channel.push((offset, text.clone()));
            let before = self.placed.insert(text.clone(), offset);
            assert_eq!(before, None, "{text:?} has two places");
            if let Author::Publisher(publisher) = by {
                let number = std::str::from_utf8(&text).expect("text").split_once(':');
                let (_, number) = number.expect("a publisher's");
                let number = number.parse().expect("a number");
                let last = self.last_of.insert(publisher.0, number).unwrap_or(0);
                assert!(last < number, "{text:?} comes behind {last}");
            }
            self.ever_placed.insert(text);
            self.total.messages += 1;
        }
    }

    /// Compares what a node has made of a record.
    pub(super) fn compare(&mut self, node: Incarnation, record: &OrderedRecord) {
        let Sequence(sequence) = record.sequence;
        let own = &self.records[usize::try_from(sequence).expect("few") - 1];
        assert_eq!(own.head, record.head);
        let (Outcome::Decided(expected), Outcome::Decided(found)) = (&own.outcome, &record.outcome)
        else {
            self.total.unsure += 1;
            let is_same = matches!(
                (&own.outcome, &record.outcome),
                (_, Outcome::Unsure) | (Outcome::Repeat, Outcome::Repeat)
            );
            assert!(is_same, "{node:?} at {sequence}: {own:?}, but {record:?}");
            return;
        };
        self.total.compared += 1;
        let epochs = [
            (own.epoch, own.begins_epoch),
            (record.epoch, record.begins_epoch),
        ];
        assert_eq!(epochs[0], epochs[1], "{node:?} at {sequence}");
        assert_eq!(expected.len(), found.len());
        for ((section, expected), (_, found)) in expected.iter().zip(found) {
            let is_old = matches!(
                (expected, found),
                (Decision::Repeat { .. }, Decision::OldRepeat)
            );
            self.total.old_repeats += u64::from(is_old);
            assert!(
                is_old || expected == found,
                "{node:?} at {sequence}: {expected:?}, but {found:?} of {section:?}"
            );
        }
    }

    /// Takes in that somebody was told that a text has its place.
    pub(super) fn confirmed(&self, text: &str) {
        assert!(self.was_placed(text), "{text} has no place");
    }

    /// Takes in that somebody was told that a text has its place, and where.
    pub(super) fn answered(&self, text: &str, place: Option<(Epoch, u64)>) {
        self.confirmed(text);
        if let (Some((epoch, place)), Some(expected)) = (place, self.placed.get(text.as_bytes()))
            && epoch == self.applied.epoch().id
        {
            assert_eq!(place, *expected, "the place of {text}");
        }
    }

    pub(super) fn was_placed(&self, text: &str) -> bool {
        self.ever_placed.contains(text.as_bytes())
    }

    /// Compares the channels of a node that has applied the whole log.
    pub(super) fn check_channels(&self, node: &Node) {
        let unsure = node.unsure_to().end_offset();
        for (channel, expected) in &self.channels {
            let known = expected.iter().filter(|(offset, _)| *offset > unsure);
            let expected: Vec<_> = known.collect();
            let found: Vec<_> = node.channels.get(channel).into_iter().flatten().collect();
            assert_eq!(found, expected, "{channel}");
        }
    }
}

impl Total {
    pub(super) fn add(&mut self, oracle: &Oracle) {
        let other = &oracle.total;
        self.messages += other.messages;
        self.repeated_records += other.repeated_records;
        self.late += other.late;
        self.fenced += other.fenced;
        self.repeats += other.repeats;
        self.old_repeats += other.old_repeats;
        self.epochs += other.epochs;
        self.unsure += other.unsure;
        self.compared += other.compared;
    }

    /// Checks that what is to be found out has happened.
    pub(super) fn check(&self) {
        let counts = [
            self.messages,
            self.repeated_records,
            self.late,
            self.fenced,
            self.repeats,
            self.unsure,
            self.compared,
        ];
        assert!(counts.iter().all(|count| *count > 0), "{self:?}");
    }
}
