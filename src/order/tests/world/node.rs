//! A node of the simulated fleet: what the threads of a broker do, without clients' connections.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use rand::RngExt as _;
use rand::rngs::StdRng;

use super::oracle::Oracle;
use crate::channel::PublisherId;
use crate::log::memory::{MemoryEngine, MemoryLog, MemoryTail};
use crate::log::{Log as _, LogError, LogState, Tail as _};
use crate::order::{
    Applied, Author, Content, Continuity, Decision, FleetEpoch, Incarnation, OrderedRecord,
    Outcome, Packer, Section, Sequence,
};
use crate::protocol::Epoch;

/// What is proposed waits no longer to be appended, in milliseconds.
const PATIENCE_MS: u64 = 30_000;

/// Returns what a future comes to at once.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// What a node tells its clients.
#[derive(Debug)]
pub(super) enum News {
    /// A publisher has a seat, and so many of its messages have their place since the record `since`.
    Seated {
        publisher: u64,
        session: u64,
        since: Start,
        count: u64,
    },
    /// Messages of a publisher have their place.
    Placed {
        publisher: u64,
        session: u64,
        messages: u64,
    },
    /// A session of a publisher is over.
    Fenced { publisher: u64, session: u64 },
    /// A publication with a name has its place: at this offset, if that is known.
    Answered {
        request: u64,
        place: Option<(Epoch, u64)>,
    },
    /// All sessions are over.
    AllEnded,
}

/// Where the messages of a publisher began to be counted.
pub(super) type Start = (Epoch, Sequence);

/// What is known of a publisher's messages.
#[derive(Clone, Copy, Debug)]
struct Count {
    since: Start,
    count: u64,
}

/// A node.
pub(super) struct Node {
    log: MemoryLog,
    incarnation: Incarnation,
    applied: Option<Applied>,
    packer: Packer,
    tail: Option<MemoryTail>,
    /// Messages of each channel with their offsets.
    pub(super) channels: HashMap<Box<str>, Vec<(u64, Bytes)>>,
    counts: HashMap<u64, Count>,
    /// What was proposed and is not decided, by its ticket, and when that was.
    held: HashMap<u64, u64>,
    now_ms: u64,
    /// The last record of which it does not know what came of it.
    unsure_to: Sequence,
}

impl Node {
    pub(super) fn new(engine: Arc<MemoryEngine>, name: u64) -> Self {
        let incarnation = Incarnation(name);
        Self {
            log: MemoryLog::new(engine),
            incarnation,
            applied: None,
            packer: Packer::new(incarnation, 1 << 20),
            tail: None,
            channels: HashMap::new(),
            counts: HashMap::new(),
            held: HashMap::new(),
            now_ms: 0,
            unsure_to: Sequence(0),
        }
    }

    pub(super) fn cut(&mut self) {
        self.log.cut();
    }

    pub(super) fn reconnect(&mut self) {
        self.log.reconnect();
    }

    /// Returns `true` if it serves clients.
    pub(super) fn is_serving(&self) -> bool {
        self.applied.as_ref().is_some_and(Applied::is_sure)
    }

    /// Returns `true` if it serves clients and has decided all that they want.
    pub(super) fn is_idle(&self) -> bool {
        self.is_serving() && self.held.is_empty()
    }

    pub(super) fn last(&self) -> Sequence {
        let applied = self.applied.as_ref();
        applied.map_or(Sequence(0), Applied::last)
    }

    /// Returns the last record of which it does not know what came of it.
    pub(super) fn unsure_to(&self) -> Sequence {
        self.unsure_to
    }

    /// Takes in what a client proposes.
    pub(super) fn propose(&mut self, section: Section) {
        self.held.insert(section.ticket, self.now_ms);
        self.packer.push(section).expect("it is short");
    }

    /// Proposes a seat for a session of a publisher that knows how its messages were counted since the record `since`.
    pub(super) fn propose_seat(
        &mut self,
        publisher: u64,
        session: u64,
        since: Option<Start>,
        channel: &str,
    ) {
        let known = self.counts.get(&publisher).map(|known| known.since);
        let content = Content::Seat {
            publisher: PublisherId(publisher),
            counts_anew: known.is_none() || known != since,
        };
        self.propose(Section {
            channel: channel.into(),
            session,
            ticket: session,
            content,
        });
    }

    /// Does some of what it has to do. Returns what is to be told to clients.
    pub(super) fn run(
        &mut self,
        rng: &mut StdRng,
        oracle: &mut Oracle,
        (engine, now_ms): (&MemoryEngine, u64),
    ) -> Vec<News> {
        let mut news = Vec::new();
        self.now_ms = now_ms;
        let Ok(state) = now(self.log.describe()).expect("at once") else {
            self.tail = None;
            return news;
        };
        if self.tail.is_none() && self.begin_tail(&state, &mut news).is_err() {
            return news;
        }
        oracle.read(engine);
        for _ in 0..rng.random_range(0..12) {
            let Some(entry) = self.tail.as_mut().and_then(|tail| now(tail.next())) else {
                break;
            };
            let (Ok(entry), Some(applied)) = (entry, self.applied.as_mut()) else {
                self.tail = None;
                break;
            };
            let record = applied.apply(&entry).expect("tails keep the order");
            oracle.compare(self.incarnation, &record);
            self.take_in(record, &mut news);
        }
        // Also what was late: the name of a publication may be forgotten by now.
        self.let_go(&mut news);
        let is_caught_up = self.last() >= state.last;
        self.send(rng, is_caught_up);
        news
    }

    /// Lets go what waits for too long to be appended, and ends the sessions: their order would have a gap.
    fn let_go(&mut self, news: &mut Vec<News>) {
        let (held, now_ms) = (&self.held, self.now_ms);
        let is_young = |section: &Section| {
            let at_ms = held.get(&section.ticket).copied().unwrap_or(0);
            at_ms + PATIENCE_MS > now_ms
        };
        if self.packer.drop_waiting(is_young).is_empty() {
            return;
        }
        for dropped in self.packer.drop_waiting(|_| false) {
            self.held.remove(&dropped.ticket);
        }
        self.held.clear();
        news.push(News::AllEnded);
    }

    fn begin_tail(&mut self, state: &LogState, news: &mut Vec<News>) -> Result<(), LogError> {
        let (incarnation, is_new) = (self.incarnation, self.applied.is_none());
        let applied = self
            .applied
            .get_or_insert_with(|| Applied::new(incarnation, state));
        let found = now(self.log.get(applied.last())).expect("at once")?;
        let continuity = applied.resume(state, found.as_ref());
        let last = applied.last();
        if continuity != Continuity::Unbroken || is_new {
            self.void(news);
            self.unsure_to = last;
        }
        self.tail = Some(now(self.log.tail(last)).expect("at once")?);
        Ok(())
    }

    /// Forgets everything, and ends all sessions.
    fn void(&mut self, news: &mut Vec<News>) {
        self.channels.clear();
        self.counts.clear();
        self.packer.drop_waiting(|_| false);
        self.held.clear();
        news.push(News::AllEnded);
    }

    fn take_in(&mut self, record: OrderedRecord, news: &mut Vec<News>) {
        if record.begins_epoch {
            self.void(news);
        }
        let back = self.packer.take_back(record.head);
        let (is_own, sequence) = (record.is_own, record.sequence);
        let Outcome::Decided(sections) = record.outcome else {
            // What was in flight when the node began anew is not waited for any more.
            if matches!(record.outcome, Outcome::Unsure) {
                self.unsure_to = sequence;
            }
            return;
        };
        let mut again = Vec::new();
        for (section, decision) in sections {
            let is_held = is_own && self.held.contains_key(&section.ticket);
            if decision == Decision::Late {
                // It was there before if it is not in flight.
                if back.is_some() && is_held {
                    again.push(section);
                }
                continue;
            }
            if is_own {
                self.held.remove(&section.ticket);
            }
            let place = (record.epoch, sequence);
            self.decided(section, decision, is_held, place, news);
        }
        self.packer.push_again(again.into_iter());
    }

    /// Applies what was decided of a section, which is one that a client here waits for if it `is_held`.
    fn decided(
        &mut self,
        section: Section,
        decision: Decision,
        is_held: bool,
        place: Start,
        news: &mut Vec<News>,
    ) {
        let (session, ticket) = (section.session, section.ticket);
        match (&section.content, decision) {
            (Content::Run { run, messages, by }, Decision::Commit { before }) => {
                let channel = self.channels.entry(section.channel.clone()).or_default();
                let texts = super::oracle::texts(run);
                for (offset, text) in (before + 1..).zip(texts) {
                    channel.push((offset, text));
                }
                let messages = u64::from(*messages);
                match by {
                    Author::Publisher(PublisherId(publisher)) => {
                        let publisher = *publisher;
                        if let Some(known) = self.counts.get_mut(&publisher) {
                            known.count += messages;
                        }
                        if is_held {
                            news.push(News::Placed {
                                publisher,
                                session,
                                messages,
                            });
                        }
                    }
                    Author::Publication(_) if is_held => news.push(News::Answered {
                        request: session,
                        place: Some((place.0, before + 1)),
                    }),
                    Author::Publication(_) | Author::Unnamed => {}
                }
            }
            (
                Content::Seat {
                    publisher,
                    counts_anew,
                },
                Decision::Commit { .. },
            ) => {
                self.seated((publisher.0, *counts_anew), (session, is_held), place, news);
            }
            (_, Decision::Repeat { first, .. }) if is_held => news.push(News::Answered {
                request: session,
                place: Some((place.0, first)),
            }),
            (_, Decision::OldRepeat) if is_held => news.push(News::Answered {
                request: session,
                place: None,
            }),
            (
                Content::Run {
                    by: Author::Publisher(publisher),
                    ..
                },
                Decision::Fenced,
            ) if is_held => news.push(News::Fenced {
                publisher: publisher.0,
                session,
            }),
            (_, Decision::OtherContent) => panic!("nobody says something else: {ticket}"),
            _ => {}
        }
    }

    fn seated(
        &mut self,
        (publisher, counts_anew): (u64, bool),
        (session, is_held): (u64, bool),
        since: Start,
        news: &mut Vec<News>,
    ) {
        if counts_anew {
            self.counts.insert(publisher, Count { since, count: 0 });
        }
        // Whatever its other sessions have here is over.
        let is_over = |section: &Section| {
            matches!(section.content, Content::Run { by: Author::Publisher(of), .. } if of.0 == publisher)
                && section.session != session
        };
        for dropped in self.packer.drop_waiting(|section| !is_over(section)) {
            self.held.remove(&dropped.ticket);
            let session = dropped.session;
            news.push(News::Fenced { publisher, session });
        }
        match self.counts.get(&publisher) {
            Some(&Count { since, count }) if is_held => news.push(News::Seated {
                publisher,
                session,
                since,
                count,
            }),
            // It does not know any more what it has to tell.
            None if is_held => news.push(News::Fenced { publisher, session }),
            _ => {}
        }
    }

    /// Makes the next record, and appends what is in flight.
    fn send(&mut self, rng: &mut StdRng, is_caught_up: bool) {
        let Some(applied) = &self.applied else {
            return;
        };
        let basis = applied.basis();
        if self.packer.in_flight().is_none() && is_caught_up {
            if let Some(number) = applied.epoch_to_begin() {
                let id = Epoch(rng.random());
                self.packer
                    .begin_epoch(FleetEpoch { number, id }, basis.at_ms);
            } else if applied.is_sure() && self.packer.pack(basis).is_some() {
                // It is on its way.
            } else if rng.random_range(0..4) == 0 {
                self.packer.heartbeat(basis, applied.digest());
            }
        }
        if let Some(in_flight) = self.packer.in_flight()
            && rng.random_range(0..3) > 0
        {
            let append = self.log.append(&in_flight.id, in_flight.bytes.clone());
            // Whether it is there is told by the tail.
            let _ = now(append).expect("at once");
        }
    }
}
