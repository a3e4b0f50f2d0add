//! The oracle finds each kind of fault of an order that comes to the disk later, and whose server is killed.

use mles::protocol::{Epoch, Position};

use crate::log::{Entry, Event, Stop};
use crate::notice::Welcome;
use crate::oracle::{Facts, judge};
use crate::payload::{Body, Tag};
use crate::right::{
    ALICE, BOB, EPOCH, LAST, POSTER, at, facts, join, message, page, posted, receipt, tag, tagged,
    welcome,
};
use crate::scenario::Storage;

/// The order that goes on from [`EPOCH`], up to its second message.
const NEXT: Epoch = Epoch(8);
fn later() -> Facts {
    Facts {
        storage: Storage::DiskLater,
        ..facts()
    }
}

/// Returns an event with its positions in the next order.
fn next(mut event: Event) -> Event {
    let go_on = |position: &mut Position| position.epoch = NEXT;
    match &mut event {
        Event::Welcome(welcome) => go_on(&mut welcome.position),
        Event::Receipt { receipt, .. } => go_on(&mut receipt.position),
        Event::Posted { first, last, .. } => [first, last].into_iter().for_each(go_on),
        Event::Page(page) => {
            let positions = page.messages.iter_mut().map(|(position, _)| position);
            positions.for_each(go_on);
            go_on(&mut page.next);
            page.since.as_mut().map(go_on);
        }
        Event::Message { .. } => {}
        other => panic!("{other:?}"),
    }
    event
}

/// What a client is told that was ahead of the disk.
fn behind(position: u64, replay: u64) -> Event {
    next(Event::Welcome(Welcome {
        position: at(position),
        replay,
        recovered: false,
        missed: None,
        start: None,
        published: None,
    }))
}

/// Two messages of Alice are on disk when the server is killed, and one of the poster is not: the order goes on with
/// alice/2 and poster/1.
fn right() -> Vec<Entry> {
    let all = [
        tagged(ALICE, 0),
        tagged(ALICE, 1),
        tagged(ALICE, 2),
        tagged(POSTER, 1),
    ];
    let events = [
        (LAST, Event::Server(EPOCH)),
        (ALICE, join(None)),
        (ALICE, welcome(0, 0, None)),
        (BOB, join(None)),
        (BOB, welcome(0, 0, None)),
        (ALICE, receipt(2, &[tag(ALICE, 0), tag(ALICE, 1)])),
        // What is asked for next is how much is on disk when the two have their place.
        (LAST, Event::Written(3)),
        (LAST, Event::Written(4)),
        (BOB, message(ALICE, 0)),
        (BOB, message(ALICE, 1)),
        (POSTER, posted(3, 0)),
        (BOB, message(POSTER, 0)),
        (LAST, Event::Written(6)),
        (LAST, Event::Stop(Stop::Sudden)),
        (LAST, Event::Server(NEXT)),
        (ALICE, join(Some(2))),
        (ALICE, next(welcome(2, 0, Some(2)))),
        (BOB, join(Some(3))),
        (BOB, behind(2, 0)),
        (ALICE, next(receipt(3, &[tag(ALICE, 2)]))),
        (POSTER, next(posted(4, 1))),
        (BOB, message(ALICE, 2)),
        (BOB, message(POSTER, 1)),
        (ALICE, message(POSTER, 1)),
        (LAST, next(Event::Page(page(None, 1, &all)))),
        (LAST, next(Event::Page(page(Some(4), 5, &[])))),
        (LAST, Event::Ends(vec![(EPOCH, 2)])),
    ];
    let entries = events.into_iter();
    entries
        .map(|(actor, event)| Entry { actor, event })
        .collect()
}

/// Returns what the oracle says to the right log when `doctor` has changed the last event for which `is_it` returns
/// `true`.
fn doctored(
    actor: usize,
    is_it: impl Fn(&Event) -> bool,
    doctor: impl FnOnce(&mut Event),
) -> String {
    let mut log = right();
    let mut all = log.iter_mut().rev();
    let entry = all.find(|entry| entry.actor == actor && is_it(&entry.event));
    doctor(&mut entry.unwrap().event);
    judge(&later(), &log).unwrap_err().what
}

fn is_welcome(event: &Event) -> bool {
    matches!(event, Event::Welcome(_))
}

fn is_page(event: &Event) -> bool {
    matches!(event, Event::Page(page) if page.since.is_none())
}

fn is_end(event: &Event) -> bool {
    matches!(event, Event::Ends(_))
}

#[track_caller]
fn assert_says(said: &str, expected: &str) {
    assert!(
        said.contains(expected),
        "{said:?} does not say {expected:?}"
    );
}

#[test]
fn what_is_right_is_right() {
    let tally = judge(&later(), &right()).unwrap();
    assert_eq!((tally.on_disk, tally.lost), (2, 1));
    assert_eq!((tally.resumed, tally.in_new_epochs), (1, 1));
}

#[test]
fn what_was_on_disk_and_is_gone() {
    let mut log = right();
    // The store has written often enough since the third message, too.
    let stop = log
        .iter()
        .position(|entry| matches!(entry.event, Event::Stop(_)));
    for written in [8, 7] {
        let event = Event::Written(written);
        log.insert(stop.unwrap(), Entry { actor: LAST, event });
    }
    judge(&later(), &log).unwrap();
    let event = Event::Written(9);
    log.insert(stop.unwrap() + 2, Entry { actor: LAST, event });
    let fault = judge(&later(), &log).unwrap_err();
    assert_says(&fault.what, ":3 was on disk, and 2 is where");
}

#[test]
fn what_was_kept_and_is_another_message_now() {
    let said = doctored(LAST, is_page, |event| {
        let Event::Page(page) = event else {
            panic!("no page");
        };
        page.messages[1].1 = tagged(ALICE, 7);
    });
    assert_says(
        &said,
        "at 2, where Some(Tagged(Tag { actor: 0, number: 7 })) was",
    );
}

/// The right log, where another message has the place of poster/1.
fn with_last(tag: Tag) -> Vec<Entry> {
    let mut log = right();
    let change = |body: &mut Body| {
        if *body == tagged(POSTER, 1) {
            *body = Body::Tagged(tag);
        }
    };
    for entry in &mut log {
        match &mut entry.event {
            Event::Posted { tags, .. } if tags[0].number == 1 => tags[0] = tag,
            Event::Message { body, .. } => change(body),
            Event::Page(page) => page.messages.iter_mut().for_each(|(_, body)| change(body)),
            _ => {}
        }
    }
    log
}

#[test]
fn what_was_kept_and_is_there_twice() {
    // What was lost may be published once more.
    judge(&later(), &with_last(tag(POSTER, 0))).unwrap();
    let fault = judge(&later(), &with_last(tag(ALICE, 0))).unwrap_err();
    assert_says(&fault.what, "doubled");
}

#[test]
fn a_position_on_disk_that_does_not_count() {
    let told = doctored(ALICE, is_welcome, |event| *event = behind(2, 0));
    assert_says(&told, "recovered and missed have to be (true, Some(0))");
}

#[test]
fn a_position_ahead_of_the_disk_that_counts() {
    let told = doctored(BOB, is_welcome, |event| *event = next(welcome(2, 0, None)));
    assert_says(&told, "recovered and missed have to be (false, None)");
    let all = doctored(BOB, is_welcome, |event| *event = behind(2, 2));
    assert_says(&all, "2 messages are replayed where 0 are kept");
}

#[test]
fn a_publisher_whose_count_is_not_what_was_kept() {
    let said = doctored(ALICE, is_welcome, |event| {
        *event = next(welcome(2, 0, Some(1)))
    });
    assert_says(&said, "published: 1");
}

#[test]
fn an_order_of_which_nobody_tells_the_end() {
    let said = doctored(LAST, is_end, |event| *event = Event::Ends(Vec::new()));
    assert!(!said.is_empty());
}

#[test]
fn an_order_that_goes_on_after_a_kill_and_one_that_ends_in_order() {
    let said = doctored(
        LAST,
        |event| matches!(event, Event::Server(_)),
        |event| {
            *event = Event::Server(EPOCH);
        },
    );
    assert_says(&said, "though its server was killed");
    let said = doctored(
        LAST,
        |event| matches!(event, Event::Stop(_)),
        |event| {
            *event = Event::Stop(Stop::Orderly);
        },
    );
    assert_says(&said, "has begun, in order");
}
