//! The log of a run that is as it should be, for the tests of the oracle.

use mles::protocol::{Epoch, Position};

use crate::log::{Entry, Event, Page};
use crate::notice::{Gap, Receipt, Welcome};
use crate::oracle::{ActorFacts, Facts};
use crate::payload::{Body, Tag};
use crate::scenario::Storage;

pub const EPOCH: Epoch = Epoch(7);
/// A member that publishes, one that listens, an HTTP publisher, a member that asks for nothing, and the last reader.
pub const ALICE: usize = 0;
pub const BOB: usize = 1;
pub const POSTER: usize = 2;
pub const PLAIN: usize = 3;
pub const LAST: usize = 4;

pub const FACTS: Facts = Facts {
    history: 100,
    storage: Storage::Memory,
    drops: false,
    forgets: false,
    actors: Vec::new(),
    last_reader: LAST,
};

pub fn at(offset: u64) -> Position {
    Position {
        epoch: EPOCH,
        offset,
    }
}

pub fn tag(actor: usize, number: u32) -> Tag {
    Tag { actor, number }
}

pub fn tagged(actor: usize, number: u32) -> Body {
    Body::Tagged(tag(actor, number))
}

pub fn join(since: Option<u64>) -> Event {
    Event::Join {
        since: since.map(at),
        floor: None,
    }
}

pub fn welcome(position: u64, replay: u64, published: Option<u64>) -> Event {
    Event::Welcome(Welcome {
        position: at(position),
        start: None,
        replay,
        recovered: true,
        missed: Some(0),
        published,
    })
}

pub fn message(actor: usize, number: u32) -> Event {
    Event::Message {
        body: tagged(actor, number),
        told: None,
    }
}

pub fn receipt(offset: u64, tags: &[Tag]) -> Event {
    let receipt = Receipt {
        count: tags.len() as u64,
        position: at(offset),
    };
    let tags = tags.to_vec();
    Event::Receipt { receipt, tags }
}

pub fn posted(offset: u64, number: u32) -> Event {
    Event::Posted {
        tags: vec![tag(POSTER, number)],
        first: at(offset),
        last: at(offset),
    }
}

pub fn page(since: Option<u64>, first: u64, bodies: &[Body]) -> Page {
    let messages: Vec<_> = (first..).map(at).zip(bodies.iter().copied()).collect();
    let next = messages
        .last()
        .map_or(at(first - 1), |(position, _)| *position);
    Page {
        since: since.map(at),
        limit: 100,
        messages,
        is_recovered: true,
        missed: Some(0),
        next,
        floor: None,
    }
}

/// The order is: poster/0, alice/0, alice/1, poster/1, junk, alice/2.
pub fn right() -> Vec<Entry> {
    let all = [
        tagged(POSTER, 0),
        tagged(ALICE, 0),
        tagged(ALICE, 1),
        tagged(POSTER, 1),
        Body::Junk,
        tagged(ALICE, 2),
    ];
    let mut read = page(None, 1, &all);
    read.messages.remove(4);
    let events = [
        (LAST, Event::Server(EPOCH)),
        (PLAIN, Event::PlainJoin),
        (ALICE, join(None)),
        (ALICE, welcome(0, 0, None)),
        (BOB, join(None)),
        (BOB, welcome(0, 0, None)),
        (POSTER, posted(1, 0)),
        (ALICE, message(POSTER, 0)),
        (ALICE, receipt(3, &[tag(ALICE, 0), tag(ALICE, 1)])),
        (BOB, message(POSTER, 0)),
        (BOB, Event::End("cut".to_owned())),
        (ALICE, Event::End("cut".to_owned())),
        (POSTER, posted(4, 1)),
        (ALICE, join(Some(3))),
        // Its third message has its place, without a receipt.
        (ALICE, welcome(6, 3, Some(3))),
        (ALICE, Event::Placed(vec![tag(ALICE, 2)])),
        (ALICE, message(POSTER, 1)),
        (
            ALICE,
            Event::Message {
                body: Body::Junk,
                told: None,
            },
        ),
        (ALICE, message(ALICE, 2)),
        (BOB, join(Some(1))),
        (BOB, welcome(3, 2, None)),
        (BOB, message(ALICE, 0)),
        (BOB, message(ALICE, 1)),
        (BOB, message(POSTER, 1)),
        (
            BOB,
            Event::Gap(Gap {
                missed: 1,
                members: false,
            }),
        ),
        (BOB, message(ALICE, 2)),
        (PLAIN, Event::PlainMessage(tagged(ALICE, 1))),
        (PLAIN, Event::PlainMessage(tagged(POSTER, 1))),
        (PLAIN, Event::PlainMessage(Body::Junk)),
        (PLAIN, Event::PlainMessage(tagged(ALICE, 2))),
        (LAST, Event::Page(read)),
        (LAST, Event::Page(page(Some(6), 7, &[]))),
    ];
    let entries = events.into_iter();
    entries
        .map(|(actor, event)| Entry { actor, event })
        .collect()
}

pub fn facts() -> Facts {
    let mut facts = FACTS;
    for skips_junk in [false, true, false, false, true] {
        facts.actors.push(ActorFacts {
            name: String::new(),
            skips_junk,
            keeps_order: true,
        });
    }
    facts
}
