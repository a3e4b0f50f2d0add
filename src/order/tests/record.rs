//! Records as bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::{FIRST_EPOCH, START_MS, named, run_of, run_section, seat_section, with_checksum};
use crate::channel::PublisherId;
use crate::order::record::BadRecord;
use crate::order::{
    Author, Basis, Content, Incarnation, Record, RecordBody, RecordHead, Section, SegmentDigest,
    Sequence,
};

fn record(body: RecordBody) -> Record {
    let head = RecordHead {
        incarnation: Incarnation(0xA),
        batch: 3,
        basis: Basis {
            epoch: FIRST_EPOCH,
            sequence: Sequence(5),
            at_ms: START_MS,
        },
    };
    Record { head, body }
}

fn of_all_kinds() -> Vec<Section> {
    let hints = Section {
        channel: "c".into(),
        session: 4,
        ticket: 5,
        content: Content::Hints { run: run_of(&[""]) },
    };
    vec![
        run_section("c", 1, Author::Unnamed, &["one", "", "two"]),
        run_section(
            "channel d",
            2,
            Author::Publisher(PublisherId(8)),
            &["three"],
        ),
        run_section("", 0, named(6, 7), &["four"]),
        seat_section("c", 3, 8),
        hints,
    ]
}

#[test]
fn what_is_decoded_is_what_was_encoded() {
    let digest = SegmentDigest {
        segment: 1,
        digest: 2,
    };
    let bodies = [
        RecordBody::Sections(of_all_kinds()),
        RecordBody::Epoch,
        RecordBody::Heartbeat(None),
        RecordBody::Heartbeat(Some(digest)),
    ];
    for body in bodies {
        let record = record(body);
        let decoded = Record::decode(&record.encode()).expect("just encoded");
        assert_eq!(decoded.head, record.head);
        assert_eq!(decoded.encode(), record.encode(), "{decoded:?}");
    }
}

#[test]
fn messages_are_counted_and_hints_are_none() {
    let encoded = record(RecordBody::Sections(of_all_kinds())).encode();
    let RecordBody::Sections(sections) = Record::decode(&encoded).expect("just encoded").body
    else {
        panic!("it has sections");
    };
    let messages: Vec<_> = sections.iter().map(Section::messages).collect();
    assert_eq!(messages, [2, 1, 1, 0, 0]);
    let lens = sections.iter().map(Section::encoded_len).sum::<usize>();
    assert_eq!(lens + crate::order::record::SECTIONS_AT, encoded.len());
}

#[test]
fn a_run_that_is_most_of_its_record_is_not_copied() {
    let long = "x".repeat(1000);
    let section = run_section("c", 1, Author::Unnamed, &[&long]);
    let encoded = record(RecordBody::Sections(vec![section])).encode();
    let RecordBody::Sections(sections) = Record::decode(&encoded).expect("just encoded").body
    else {
        panic!("it has sections");
    };
    let Content::Run { run, .. } = &sections[0].content else {
        panic!("it is a run");
    };
    assert!(encoded.as_ptr_range().contains(&run.bytes().as_ptr()));
}

#[test]
fn a_later_version_is_told_from_damage() {
    let mut encoded = record(RecordBody::Epoch).encode().to_vec();
    let last = encoded.len() - 1;
    encoded[last] ^= 1;
    let damaged = Record::decode(&encoded.clone().into());
    assert_eq!(damaged.expect_err("damaged"), BadRecord::Checksum);
    encoded[0] = 2;
    let other = Record::decode(&encoded.clone().into());
    assert_eq!(other.expect_err("no record"), BadRecord::Checksum);
    let later = Record::decode(&with_checksum(2, &encoded[9..]));
    assert_eq!(later.expect_err("later"), BadRecord::Version(2));
    let nothing = Record::decode(&Bytes::new());
    assert_eq!(nothing.expect_err("empty"), BadRecord::Fields);
}

proptest! {
    #[test]
    fn any_bytes_are_a_record_or_not(rest: Vec<u8>) {
        if let Ok(record) = Record::decode(&with_checksum(1, &rest)) {
            prop_assert_eq!(record.encode(), with_checksum(1, &rest));
        }
    }

    #[test]
    fn a_record_with_any_byte_changed_is_none_or_another(
        at in 0_usize..1000, to: u8, len in 0_usize..1000,
    ) {
        let encoded = record(RecordBody::Sections(of_all_kinds())).encode();
        let mut rest = encoded[9..].to_vec();
        let at = at % rest.len();
        rest[at] = to;
        rest.truncate(1 + len % rest.len());
        if let Ok(record) = Record::decode(&with_checksum(1, &rest)) {
            prop_assert_eq!(record.encode(), with_checksum(1, &rest));
        }
    }
}
