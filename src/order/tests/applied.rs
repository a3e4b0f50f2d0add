//! What a node makes of the log.

use super::{FIRST_EPOCH, START_MS, empty_log, named, run_section, seat_section, with_checksum};
use crate::channel::PublisherId;
use crate::log::LogState;
use crate::order::{
    Applied, Author, Basis, Continuity, Decision, FleetEpoch, Incarnation, LogEntry, NotApplied,
    OrderedRecord, Outcome, Record, RecordBody, RecordHead, Section, Sequence,
};
use crate::protocol::Epoch;

const A: Incarnation = Incarnation(0xA);
const B: Incarnation = Incarnation(0xB);
const MINUTE: u64 = 60_000;

/// A log and a node that has seen all of it.
struct World {
    entries: Vec<LogEntry>,
    now_ms: u64,
    epoch: FleetEpoch,
    applied: Applied,
    batches: u64,
}

impl World {
    fn new() -> Self {
        Self {
            entries: Vec::new(),
            now_ms: START_MS,
            epoch: FIRST_EPOCH,
            applied: Applied::new(A, &empty_log()),
            batches: 0,
        }
    }

    fn head(&mut self, by: Incarnation) -> RecordHead {
        self.batches += 1;
        RecordHead {
            incarnation: by,
            batch: self.batches,
            basis: Basis {
                epoch: self.epoch,
                ..self.applied.basis()
            },
        }
    }

    /// Lets time pass in which nodes show that they are there.
    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.heartbeat(B);
    }

    fn append_record(&mut self, record: &Record) -> OrderedRecord {
        self.append_bytes(record.encode()).expect("it is the next")
    }

    fn append_bytes(&mut self, bytes: bytes::Bytes) -> Result<OrderedRecord, NotApplied> {
        self.entries.push(LogEntry {
            sequence: Sequence(self.entries.len() as u64 + 1),
            at_ms: self.now_ms,
            bytes,
        });
        self.applied
            .apply(self.entries.last().expect("just pushed"))
    }

    fn append(&mut self, by: Incarnation, sections: Vec<Section>) -> Vec<Decision> {
        let head = self.head(by);
        let body = RecordBody::Sections(sections);
        decisions(&self.append_record(&Record { head, body }))
    }

    fn heartbeat(&mut self, by: Incarnation) -> OrderedRecord {
        let head = self.head(by);
        let body = RecordBody::Heartbeat(self.applied.digest());
        self.append_record(&Record { head, body })
    }

    /// Returns what the log is when only records from `first` on are kept.
    fn log_from(&self, first: u64) -> LogState {
        LogState {
            first: Sequence(first),
            last: Sequence(self.entries.len() as u64),
            last_at_ms: self.now_ms,
            ..empty_log()
        }
    }

    /// Returns a node that has started with the record `first`.
    fn node_from(&self, first: u64) -> Applied {
        let mut node = Applied::new(B, &self.log_from(first));
        let first = usize::try_from(first).expect("small") - 1;
        for entry in &self.entries[first..] {
            node.apply(entry).expect("it is the next");
        }
        node
    }
}

fn decisions(record: &OrderedRecord) -> Vec<Decision> {
    let Outcome::Decided(sections) = &record.outcome else {
        panic!("nothing is decided: {:?}", record.outcome);
    };
    sections.iter().map(|(_, decision)| *decision).collect()
}

fn by_publisher(session: u64) -> Section {
    let author = Author::Publisher(PublisherId(8));
    run_section("c", session, author, &["text"])
}

fn by_name(content: u64) -> Section {
    run_section("c", 0, named(6, content), &["text"])
}

fn commit(sequence: u64, index: u64) -> Decision {
    Decision::Commit {
        before: Sequence(sequence).offset(index),
    }
}

#[test]
fn messages_of_a_channel_are_counted_from_the_start_of_the_record() {
    let mut world = World::new();
    let run = |channel, texts: &[&str]| run_section(channel, 1, Author::Unnamed, texts);
    let sections = vec![
        run("c", &["one", "two", ""]),
        run("d", &["three"]),
        run("c", &["four"]),
        run("d", &["five"]),
    ];
    let decided = world.append(A, sections);
    assert_eq!(
        decided,
        [commit(1, 0), commit(1, 0), commit(1, 2), commit(1, 1)]
    );
}

#[test]
fn a_record_that_was_there_before_changes_nothing() {
    let mut world = World::new();
    world.heartbeat(A);
    let head = world.head(A);
    let record = Record {
        head,
        body: RecordBody::Sections(vec![by_publisher(1)]),
    };
    assert_eq!(decisions(&world.append_record(&record)).len(), 1);
    world.now_ms += MINUTE;
    let again = world.append_record(&record);
    assert!(matches!(again.outcome, Outcome::Repeat), "{again:?}");
    assert!(again.is_own);
}

#[test]
fn a_record_that_comes_late_is_void() {
    let mut world = World::new();
    world.heartbeat(B);
    let head = world.head(A);
    let body = RecordBody::Sections(vec![by_publisher(1), seat_section("c", 2, 9)]);
    world.now_ms += MINUTE + 1;
    let late = world.append_record(&Record { head, body });
    assert_eq!(decisions(&late), [Decision::Late, Decision::Late]);
    // The seat in it was not taken.
    let author = Author::Publisher(PublisherId(9));
    let decided = world.append(B, vec![run_section("c", 1, author, &["text"])]);
    assert_eq!(decided, [commit(3, 0)]);
}

#[test]
fn a_record_that_rests_on_what_is_lost_is_void() {
    let mut world = World::new();
    world.heartbeat(A);
    world.now_ms += 1;
    world.heartbeat(B);
    let decided = |world: &mut World, sequence, at_ms| {
        let mut head = world.head(A);
        head.basis.sequence = Sequence(sequence);
        head.basis.at_ms = at_ms;
        let body = RecordBody::Sections(vec![by_publisher(1)]);
        decisions(&world.append_record(&Record { head, body }))
    };
    let mut is_void = |sequence, at_ms| decided(&mut world, sequence, at_ms) == [Decision::Late];
    assert!(!is_void(1, START_MS));
    assert!(!is_void(2, START_MS + 1));
    assert!(is_void(2, START_MS), "another record was in that place");
    assert!(is_void(6, START_MS + 1), "it rests on itself");
    assert!(is_void(60, START_MS + 1), "it rests on what is to come");
}

#[test]
fn the_first_record_of_a_log_knows_of_none() {
    let mut world = World::new();
    let mut head = world.head(A);
    head.basis = world.applied.basis();
    let record = Record {
        head,
        body: RecordBody::Sections(vec![by_publisher(1)]),
    };
    assert_eq!(decisions(&world.append_record(&record)), [commit(1, 0)]);
    let head = RecordHead {
        incarnation: B,
        ..head
    };
    let record = Record { head, ..record };
    assert_eq!(decisions(&world.append_record(&record)), [Decision::Late]);
}

#[test]
fn who_has_lost_the_seat_is_fenced() {
    let mut world = World::new();
    let mut decided = world.append(A, vec![seat_section("c", 1, 8), by_publisher(1)]);
    decided.extend(world.append(B, vec![seat_section("c", 1, 8)]));
    // The same number is another session on another node.
    decided.extend(world.append(A, vec![by_publisher(1)]));
    decided.extend(world.append(B, vec![by_publisher(1)]));
    let mut elsewhere = by_publisher(1);
    elsewhere.channel = "d".into();
    decided.extend(world.append(A, vec![elsewhere]));
    assert_eq!(
        decided,
        [
            commit(1, 0),
            commit(1, 0),
            commit(2, 0),
            Decision::Fenced,
            commit(4, 0),
            commit(5, 0)
        ]
    );
}

#[test]
fn a_publication_with_a_name_has_one_place() {
    let mut world = World::new();
    let (first, last) = (Sequence(1).offset(1), Sequence(1).offset(1));
    assert_eq!(world.append(A, vec![by_name(1)]), [commit(1, 0)]);
    let again = world.append(B, vec![by_name(1), by_name(2)]);
    assert_eq!(
        again,
        [Decision::Repeat { first, last }, Decision::OtherContent]
    );
    // It is remembered since it was mentioned last.
    world.pass(10 * MINUTE);
    let again = world.append(A, vec![by_name(1)]);
    assert_eq!(again, [Decision::Repeat { first, last }]);
    world.pass(10 * MINUTE + 1);
    assert_eq!(world.append(A, vec![by_name(1)]), [commit(6, 0)]);
}

#[test]
fn the_first_epoch_of_a_number_begins() {
    let mut world = World::new();
    world.append(A, vec![seat_section("c", 1, 8), by_name(1)]);
    let old = world.head(A);
    let epoch = |id| FleetEpoch {
        number: 2,
        id: Epoch(id),
    };
    let mut begin = |id| {
        world.epoch = epoch(id);
        let head = world.head(B);
        let body = RecordBody::Epoch;
        world.append_record(&Record { head, body })
    };
    let (first, second) = (begin(0xE2), begin(0xE3));
    assert!(first.begins_epoch && first.epoch == Epoch(0xE2));
    assert!(!second.begins_epoch && second.epoch == Epoch(0xE2));
    let body = RecordBody::Sections(vec![by_publisher(1)]);
    let late = world.append_record(&Record { head: old, body });
    assert_eq!(decisions(&late), [Decision::Late]);
    assert_eq!(world.append(A, vec![by_name(1)]), [Decision::Late]);
    // Nothing is remembered of what was before.
    world.epoch = epoch(0xE2);
    let decided = world.append(A, vec![by_publisher(2), by_name(1)]);
    assert_eq!(decided, [commit(6, 0), commit(6, 1)]);
}

#[test]
fn what_is_out_of_order_or_damaged_or_newer_is_not_applied() {
    let mut world = World::new();
    world.heartbeat(A);
    let mut entry = world.entries[0].clone();
    let found = entry.sequence;
    let expected = Sequence(2);
    let error = world.applied.apply(&entry).expect_err("it was applied");
    assert_eq!(error, NotApplied::OutOfOrder { expected, found });
    entry.sequence = expected;
    let mut bytes = entry.bytes.to_vec();
    entry.bytes = with_checksum(2, &bytes[9..]);
    let error = world.applied.apply(&entry).expect_err("it is newer");
    let (at, version) = (expected, 2);
    assert_eq!(error, NotApplied::Newer { at, version });
    assert_eq!(world.applied.last(), Sequence(1));
    bytes[20] ^= 1;
    let error = world.append_bytes(bytes.into()).expect_err("it is damaged");
    assert!(matches!(error, NotApplied::Damaged { .. }), "{error}");
    assert_eq!(world.applied.last(), Sequence(2));
    assert_eq!(world.append(A, vec![by_name(1)]), [commit(3, 0)]);
}

#[test]
fn a_node_finds_out_what_the_log_does_not_have() {
    let mut world = World::new();
    for _ in 0..3 {
        world.now_ms += 1;
        world.heartbeat(A);
    }
    let resume = |log: &LogState, at: Option<usize>| {
        let mut node = world.node_from(1);
        let found = at.map(|at| LogEntry {
            sequence: Sequence(3),
            ..world.entries[at].clone()
        });
        let continuity = node.resume(log, found.as_ref());
        (continuity, node.last().0)
    };
    let whole = world.log_from(1);
    assert_eq!(resume(&whole, Some(2)), (Continuity::Unbroken, 3));
    assert_eq!(resume(&whole, Some(1)), (Continuity::Loss, 0));
    // The same record in the same place is another one at another time.
    let mut node = world.node_from(1);
    let mut again = world.entries[2].clone();
    again.at_ms += 1;
    assert_eq!(node.resume(&whole, Some(&again)), Continuity::Loss);
    let shorter = LogState {
        last: Sequence(2),
        ..whole
    };
    assert_eq!(resume(&shorter, None), (Continuity::Loss, 0));
    let empty = LogState {
        first: Sequence(4),
        ..whole
    };
    assert_eq!(resume(&empty, None), (Continuity::Unbroken, 3));
    let later = LogState {
        last: Sequence(9),
        ..empty
    };
    assert_eq!(resume(&later, None), (Continuity::Gap, 3));
    let much_later = LogState {
        first: Sequence(8),
        ..later
    };
    assert_eq!(resume(&much_later, None), (Continuity::Gap, 7));
}

#[test]
fn a_node_is_sure_once_the_others_have_forgotten_what_it_has_not_seen() {
    let mut world = World::new();
    world.append(A, vec![by_name(1), seat_section("c", 1, 8)]);
    for _ in 0..30 {
        world.now_ms += MINUTE / 2;
        world.append(B, vec![by_name(1)]);
    }
    let mut node = world.node_from(2);
    assert!(node.is_sure());
    assert!(!world.node_from(6).is_sure());
    // It agrees that the publication was there, and cannot know where.
    assert!(matches!(
        world.append(A, vec![by_name(1)])[..],
        [Decision::Repeat { .. }]
    ));
    let entry = world.entries.last().expect("just appended");
    let applied = node.apply(entry).expect("it is the next");
    assert_eq!(decisions(&applied), [Decision::OldRepeat]);
}

#[test]
fn an_epoch_begins_with_a_log_that_keeps_nothing() {
    let mut world = World::new();
    world.heartbeat(A);
    let log = LogState {
        first: Sequence(2),
        ..world.log_from(1)
    };
    let mut node = Applied::new(B, &log);
    assert!(!node.is_sure());
    let number = node.epoch_to_begin().expect("one has to begin");
    assert!(number > START_MS, "it is above all that there were");
    world.epoch = FleetEpoch {
        number,
        id: Epoch(0xE2),
    };
    let head = world.head(B);
    let body = RecordBody::Epoch;
    world.append_record(&Record { head, body });
    let begins = node.apply(&world.entries[1]).expect("it is the next");
    assert!(begins.begins_epoch && node.is_sure());
}

#[test]
fn nothing_is_sure_after_a_loss_until_an_epoch_begins() {
    let mut world = World::new();
    world.append(A, vec![by_name(1)]);
    let log = world.log_from(1);
    let mut node = world.node_from(1);
    assert_eq!(node.epoch_to_begin(), None);
    let lost = LogState {
        last: Sequence(0),
        ..log
    };
    assert_eq!(node.resume(&lost, None), Continuity::Loss);
    assert_eq!(node.last(), Sequence(0));
    let unsure = node.apply(&world.entries[0]).expect("it is the next");
    assert!(matches!(unsure.outcome, Outcome::Unsure));
    assert_eq!((node.epoch_to_begin(), node.is_sure()), (Some(2), false));
    world.epoch = FleetEpoch {
        number: 2,
        id: Epoch(0xE2),
    };
    let head = world.head(B);
    let body = RecordBody::Epoch;
    world.append_record(&Record { head, body });
    let begins = node.apply(&world.entries[1]).expect("it is the next");
    assert!(begins.begins_epoch && begins.is_own && node.is_sure());
    assert_eq!(node.epoch_to_begin(), None);
}

#[test]
fn nodes_that_differ_find_out() {
    let mut world = World::new();
    let mut other = Applied::new(B, &empty_log());
    for count in 0..3000 {
        let record = world.heartbeat(A);
        assert!(matches!(record.outcome, Outcome::Decided(_)));
        let mut entry = world.entries[count].clone();
        if count == 2000 {
            entry.bytes = vec![1; 9].into();
            other.apply(&entry).expect_err("it is damaged");
        } else {
            other.apply(&entry).expect("it is the next");
        }
    }
    assert_eq!(world.applied.differences(), 0);
    assert!(other.differences() > 0);
}
