//! The oracle finds each kind of fault: a log that is as it should be is doctored, once in each test.

use mles::protocol::Epoch;

use crate::log::{Entry, Event};
use crate::notice::{Changes, Gap, Members, Welcome};
use crate::oracle::{Fault, Tally, judge};
use crate::payload::Body;
use crate::right::{
    ALICE, BOB, LAST, PLAIN, POSTER, at, facts, message, posted, receipt, right, tag, tagged,
    welcome,
};

/// Returns what the oracle says to the right log when `doctor` has changed the `n`th event of an actor.
fn doctored(actor: usize, n: usize, doctor: impl FnOnce(&mut Event)) -> String {
    let mut log = right();
    let mut own = log.iter_mut().filter(|entry| entry.actor == actor);
    doctor(&mut own.nth(n).unwrap().event);
    judge(&facts(), &log).unwrap_err().what
}

/// Returns what the oracle says to the right log without the `n`th event of an actor.
fn without(actor: usize, n: usize) -> String {
    let mut log = right();
    let own = log
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.actor == actor);
    let at = own.map(|(at, _)| at).nth(n).unwrap();
    log.remove(at);
    judge(&facts(), &log).unwrap_err().what
}

fn change_welcome(n: usize, change: impl FnOnce(&mut Welcome)) -> String {
    doctored(BOB, n, |event| match event {
        Event::Welcome(welcome) => change(welcome),
        other => panic!("{other:?}"),
    })
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
    let tally = judge(&facts(), &right()).unwrap();
    assert_eq!((tally.receipts, tally.resumed, tally.gaps), (4, 2, 1));
}

#[test]
fn a_message_that_is_lost() {
    for n in [2, 6, 7, 8] {
        let said = without(BOB, n);
        assert!(!said.is_empty(), "{n}");
    }
}

#[test]
fn a_message_that_comes_twice() {
    let mut log = right();
    let at = log.iter().position(|entry| entry.actor == BOB).unwrap();
    let again = Entry {
        actor: BOB,
        event: message(POSTER, 0),
    };
    log.insert(at + 5, again);
    let fault = judge(&facts(), &log).unwrap_err();
    assert_says(&fault.what, "at 2");
}

#[test]
fn messages_that_are_swapped() {
    let swapped = doctored(BOB, 6, |event| *event = message(ALICE, 1));
    assert_says(
        &swapped,
        "where Some(Tagged(Tag { actor: 0, number: 0 })) was",
    );
}

#[test]
fn a_message_that_is_torn() {
    let torn = doctored(BOB, 2, |event| {
        *event = Event::Message {
            body: Body::Torn,
            told: None,
        };
    });
    assert_says(&torn, "none that was sent");
}

#[test]
fn a_message_that_is_published_twice() {
    let doubled = doctored(POSTER, 1, |event| *event = posted(4, 0));
    assert_says(&doubled, "doubled");
}

#[test]
fn a_receipt_for_another_place() {
    let moved = doctored(ALICE, 3, |event| {
        *event = receipt(4, &[tag(ALICE, 0), tag(ALICE, 1)]);
    });
    assert_says(&moved, "is due");
}

#[test]
fn a_receipt_for_more_than_was_sent() {
    let more = doctored(ALICE, 3, |event| {
        let Event::Receipt { tags, .. } = event else {
            panic!("no receipt");
        };
        tags.pop();
    });
    assert_says(&more, "a receipt for 2 where 1");
}

#[test]
fn a_message_that_is_confirmed_and_gone() {
    let gone = doctored(LAST, 1, |event| {
        let Event::Page(page) = event else {
            panic!("no page");
        };
        page.messages.truncate(2);
        page.next = at(2);
    });
    assert_says(&gone, "is gone");
    // Nobody has seen it but its publisher.
    let unseen = doctored(ALICE, 6, |event| {
        *event = Event::Placed(vec![tag(ALICE, 2), tag(ALICE, 3)]);
    });
    assert_says(&unseen, "was confirmed, and is not there");
}

#[test]
fn a_publisher_whose_messages_change_places() {
    let mut log = right();
    for entry in &mut log {
        let (a, b) = (tagged(ALICE, 1), tagged(ALICE, 0));
        let swap = |body: &mut Body| match *body {
            body_now if body_now == a => *body = b,
            body_now if body_now == b => *body = a,
            _ => {}
        };
        match &mut entry.event {
            Event::Message { body, .. } | Event::PlainMessage(body) => swap(body),
            Event::Receipt { tags, .. } => tags.reverse(),
            Event::Page(page) => page.messages.iter_mut().for_each(|(_, body)| swap(body)),
            _ => {}
        }
    }
    let fault = judge(&facts(), &log).unwrap_err();
    assert_says(&fault.what, "comes behind number 1");
}

#[test]
fn a_count_of_published_that_is_wrong() {
    for wrong in [2, 4] {
        let said = doctored(ALICE, 6, |event| *event = welcome(6, 3, Some(wrong)));
        assert_says(&said, &format!("published: {wrong}"));
    }
}

#[test]
fn a_publisher_that_is_forgotten_too_soon() {
    let said = doctored(ALICE, 7, |event| {
        *event = Event::Doubtful(vec![tag(ALICE, 2)])
    });
    assert_says(&said, "should not be");
}

#[test]
fn a_welcome_that_hides_a_hole() {
    // It says that nothing is missing, and begins later.
    let hidden = change_welcome(5, |welcome| welcome.replay = 1);
    assert_says(&hidden, "recovered and missed");
    let wrong = change_welcome(5, |welcome| {
        welcome.replay = 1;
        welcome.recovered = false;
        welcome.missed = Some(2);
    });
    assert_says(&wrong, "recovered and missed");
}

#[test]
fn a_welcome_that_gives_less_than_is_kept() {
    let less = change_welcome(5, |welcome| {
        welcome.replay = 1;
        welcome.recovered = false;
        welcome.missed = Some(1);
    });
    assert_says(&less, "where 2 are kept");
}

#[test]
fn a_welcome_that_begins_again() {
    let again = change_welcome(5, |welcome| welcome.replay = 3);
    assert_says(&again, "begins again");
}

#[test]
fn a_new_epoch_that_is_told_as_recovered() {
    let recovered = change_welcome(5, |welcome| welcome.position.epoch = Epoch(8));
    assert_says(&recovered, "(false, None)");
}

#[test]
fn a_welcome_that_is_behind_what_is_known() {
    let behind = doctored(BOB, 4, |event| {
        *event = Event::Join {
            since: Some(at(1)),
            floor: Some(at(4)),
        };
    });
    assert_says(&behind, "which was known");
}

#[test]
fn a_gap_that_is_wrong() {
    let more = doctored(BOB, 9, |event| {
        *event = Event::Gap(Gap {
            missed: 2,
            members: false,
        })
    });
    assert_says(&more, "was left out at 6");
    let nothing = doctored(BOB, 9, |event| {
        *event = Event::Gap(Gap {
            missed: 0,
            members: false,
        })
    });
    assert_says(&nothing, "a gap of nothing");
    let needless = doctored(ALICE, 9, |event| {
        *event = Event::Gap(Gap {
            missed: 1,
            members: false,
        });
    });
    assert_says(&needless, "nobody drops");
}

#[test]
fn a_place_that_is_told_wrong() {
    let told = doctored(BOB, 2, |event| {
        *event = Event::Message {
            body: tagged(POSTER, 0),
            told: Some(at(2)),
        };
    });
    assert_says(&told, "is due");
}

#[test]
fn a_page_that_leaves_something_out() {
    let page = doctored(LAST, 1, |event| {
        let Event::Page(page) = event else {
            panic!("no page");
        };
        page.messages.remove(1);
    });
    assert_says(&page, "was left out at 2");
}

#[test]
fn a_page_that_hides_a_hole() {
    let page = doctored(LAST, 2, |event| {
        let Event::Page(page) = event else {
            panic!("no page");
        };
        page.missed = Some(1);
    });
    assert_says(&page, "recovered: true");
}

#[test]
fn a_plain_member_that_misses_something() {
    assert_says(
        &without(PLAIN, 2),
        "message 0 of its session is at 3, and message 2 at 6",
    );
    let unknown = doctored(PLAIN, 1, |event| {
        *event = Event::PlainMessage(tagged(ALICE, 9))
    });
    assert_says(&unknown, "nobody else has seen");
}

/// Returns what the oracle says if Bob is told who is there, and then of a change.
fn watched(count: u64, joined: &[&str], left: &[&str]) -> Result<Tally, Fault> {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let members = Members {
        count: 3,
        uids: names(&["alice", "bob", "bob"]),
    };
    let changes = Changes {
        count,
        joined: names(joined),
        left: names(left),
    };
    let mut log = right();
    let after = log.iter().rposition(|entry| entry.actor == BOB).unwrap() + 1;
    for event in [Event::Changes(changes), Event::Members(members)] {
        log.insert(after, Entry { actor: BOB, event });
    }
    judge(&facts(), &log)
}

#[test]
fn a_change_of_members_that_is_wrong() {
    watched(3, &["carol"], &["bob"]).unwrap();
    let wrong = |watched: Result<Tally, Fault>| watched.unwrap_err().what;
    assert_says(&wrong(watched(3, &["carol"], &[])), "3 members, and 4");
    assert_says(&wrong(watched(2, &[], &["dave"])), "dave has left");
    assert_says(
        &wrong(watched(1, &[], &["alice", "alice"])),
        "alice has left",
    );
}

#[test]
fn a_fault_says_where_it_was_seen() {
    let mut log = right();
    log.swap(7, 8);
    let Fault { at, .. } = judge(&facts(), &log).unwrap_err();
    assert_eq!(at, Some(7));
}
