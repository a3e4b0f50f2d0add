//! What a node appends.

use super::{FIRST_EPOCH, START_MS, run_section};
use crate::order::packer::TooLong;
use crate::order::{
    Author, Basis, Content, Incarnation, MAX_MESSAGES, Packer, Record, RecordBody, Section,
    Sequence,
};

const BASIS: Basis = Basis {
    epoch: FIRST_EPOCH,
    sequence: Sequence(5),
    at_ms: START_MS,
};

fn packer() -> Packer {
    Packer::new(Incarnation(0xA), 1 << 20)
}

fn message(ticket: u64, len: usize) -> Section {
    let text = "x".repeat(len);
    let mut section = run_section("c", 1, Author::Unnamed, &[&text]);
    section.ticket = ticket;
    section
}

/// Makes the next record, takes it as come back, and returns the tickets in it.
fn next(packer: &mut Packer) -> Option<Vec<u64>> {
    let bytes = packer.pack(BASIS)?.bytes.clone();
    let record = Record::decode(&bytes).expect("just packed");
    assert!(packer.take_back(record.head).is_some());
    let RecordBody::Sections(sections) = record.body else {
        panic!("it has sections");
    };
    Some(sections.iter().map(|section| section.ticket).collect())
}

#[test]
fn what_comes_while_a_record_is_in_flight_is_in_the_next() {
    let mut packer = packer();
    assert!(packer.pack(BASIS).is_none());
    packer.push(message(1, 10)).expect("it fits");
    let first = packer.pack(BASIS).expect("one waits").clone();
    packer.push(message(2, 10)).expect("it fits");
    packer.push(message(3, 10)).expect("it fits");
    assert!(packer.pack(BASIS).is_none(), "one is in flight");
    assert!(packer.heartbeat(BASIS, None).is_none(), "one is in flight");
    let record = Record::decode(&first.bytes).expect("just packed");
    let mut other = record.head;
    other.incarnation = Incarnation(0xB);
    assert!(packer.take_back(other).is_none(), "it is of another node");
    assert!(packer.take_back(record.head).is_some());
    assert!(
        packer.take_back(record.head).is_none(),
        "it was there before"
    );
    assert_eq!(next(&mut packer), Some(vec![2, 3]));
    assert_eq!(next(&mut packer), None);
}

#[test]
fn a_record_is_bounded_and_one_that_is_longer_is_alone() {
    let mut packer = packer();
    for ticket in 1..=3 {
        packer.push(message(ticket, 100 << 10)).expect("it fits");
    }
    packer.push(message(4, 900 << 10)).expect("it fits");
    packer.push(message(5, 10)).expect("it fits");
    assert_eq!(next(&mut packer), Some(vec![1, 2]));
    assert_eq!(next(&mut packer), Some(vec![3]));
    assert_eq!(next(&mut packer), Some(vec![4]));
    assert_eq!(next(&mut packer), Some(vec![5]));
    assert_eq!(next(&mut packer), None);
}

#[test]
fn what_fits_into_no_record_is_not_taken() {
    let mut packer = packer();
    let long = packer.push(message(1, 1 << 20));
    assert!(matches!(long, Err(TooLong::Bytes { .. })), "{long:?}");
    let mut many = message(2, 10);
    if let Content::Run { messages, .. } = &mut many.content {
        *messages = 1 << 16;
    }
    assert_eq!(packer.push(many), Err(TooLong::Messages(1 << 16)));
    let mut named = message(3, 10);
    named.channel = "c".repeat(1 << 16).into();
    assert_eq!(packer.push(named), Err(TooLong::Name(1 << 16)));
    assert_eq!(next(&mut packer), None);
}

#[test]
fn a_record_has_no_more_messages_than_offsets() {
    let mut packer = packer();
    let many = vec!["x"; 2000];
    for _ in 0..40 {
        let section = run_section("c", 1, Author::Unnamed, &many);
        packer.push(section).expect("it fits");
    }
    let mut all = 0;
    while let Some(in_flight) = packer.pack(BASIS) {
        let record = Record::decode(&in_flight.bytes).expect("just packed");
        let RecordBody::Sections(sections) = &record.body else {
            panic!("it has sections");
        };
        let messages = sections.iter().map(Section::messages).sum::<u64>();
        assert!(messages <= MAX_MESSAGES);
        all += messages;
        packer.take_back(record.head);
    }
    assert_eq!(all, 80_000);
}

#[test]
fn what_was_late_goes_first() {
    let mut packer = packer();
    packer.push(message(3, 10)).expect("it fits");
    packer.push_again([message(1, 10), message(2, 10)].into_iter());
    let dropped = packer.drop_waiting(|section| section.ticket != 2);
    assert_eq!(dropped.len(), 1);
    assert_eq!(next(&mut packer), Some(vec![1, 3]));
}

#[test]
fn records_are_counted_and_named() {
    let mut packer = packer();
    let heartbeat = packer.heartbeat(BASIS, None).expect("nothing is in flight");
    assert_eq!((heartbeat.batch, &*heartbeat.id), (1, "000000000000000a-1"));
    let head = Record::decode(&heartbeat.bytes).expect("just made").head;
    packer.take_back(head);
    let epoch = packer.begin_epoch(FIRST_EPOCH, 5).expect("none in flight");
    let head = Record::decode(&epoch.bytes).expect("just made").head;
    assert_eq!((head.batch, head.basis.at_ms), (2, 5));
}
