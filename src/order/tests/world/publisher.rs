//! A publisher with an id, which moves from node to node and publishes every message once.

use std::collections::{HashSet, VecDeque};

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::node::{News, Node, Start};
use super::oracle::Oracle;
use crate::channel::PublisherId;
use crate::order::Author;
use crate::order::tests::run_section;

/// A publisher and its client.
pub(super) struct Publisher {
    name: u64,
    channel: String,
    /// The number of its next message.
    next: u64,
    /// Where counting began, if it was told.
    since: Option<Start>,
    /// How many were confirmed since then.
    confirmed: u64,
    /// What was published since then and is not confirmed.
    unconfirmed: VecDeque<u64>,
    /// How many of these were sent on this session.
    sent: usize,
    /// What may have its place or not.
    unknown: HashSet<u64>,
    link: Link,
}

/// Its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    None,
    /// It waits for its seat.
    Joining(usize, u64),
    Seated(usize, u64),
}

impl Publisher {
    pub(super) fn new(name: u64) -> Self {
        Self {
            name,
            channel: format!("c{}", name % 2),
            next: 1,
            since: None,
            confirmed: 0,
            unconfirmed: VecDeque::new(),
            sent: 0,
            unknown: HashSet::new(),
            link: Link::None,
        }
    }

    /// Does one thing; a new session would be `session` on the node `at`.
    pub(super) fn act(
        &mut self,
        rng: &mut StdRng,
        (at, session): (usize, u64),
        nodes: &mut [Node],
        oracle: &mut Oracle,
    ) {
        match self.link {
            Link::None => self.join(at, session, nodes),
            // It gives up, and tries another node.
            _ if rng.random_range(0..6) == 0 => self.link = Link::None,
            Link::Joining(..) => {}
            Link::Seated(..) => {
                for _ in 0..rng.random_range(0..3) {
                    self.unconfirmed.push_back(self.next);
                    self.next += 1;
                }
                let many = rng.random_range(1..4);
                self.send(many, nodes, oracle);
            }
        }
    }

    /// Brings to an end what it has begun.
    pub(super) fn finish(
        &mut self,
        (at, session): (usize, u64),
        nodes: &mut [Node],
        oracle: &mut Oracle,
    ) {
        match self.link {
            Link::None if !self.is_done() => self.join(at, session, nodes),
            Link::Seated(..) => self.send(usize::MAX, nodes, oracle),
            Link::None | Link::Joining(..) => {}
        }
    }

    fn join(&mut self, at: usize, session: u64, nodes: &mut [Node]) {
        if nodes[at].is_serving() {
            self.link = Link::Joining(at, session);
            nodes[at].propose_seat(self.name, session, self.since, &self.channel);
        }
    }

    fn send(&mut self, most: usize, nodes: &mut [Node], oracle: &mut Oracle) {
        let Link::Seated(at, session) = self.link else {
            return;
        };
        let (sent, many) = (self.sent, most.min(self.unconfirmed.len() - self.sent));
        if many == 0 {
            return;
        }
        let numbers = self.unconfirmed.iter().skip(sent).take(many);
        let texts: Vec<_> = numbers.map(|number| self.text(*number)).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let by = Author::Publisher(PublisherId(self.name));
        let mut section = run_section(&self.channel, session, by, &texts);
        section.ticket = oracle.ticket();
        self.sent += many;
        nodes[at].propose(section);
    }

    fn text(&self, number: u64) -> String {
        format!("p{}:{number}", self.name)
    }

    /// Takes in what the node `at` tells it.
    pub(super) fn hear(&mut self, at: usize, news: &News, oracle: &mut Oracle) {
        match *news {
            News::Seated {
                session,
                since,
                count,
                ..
            } if self.link == Link::Joining(at, session) => {
                self.link = Link::Seated(at, session);
                self.sent = 0;
                let placed = count.checked_sub(self.confirmed);
                // It may be less than it was told if the log has lost that.
                if let Some(placed) = placed.filter(|_| self.since == Some(since)) {
                    self.confirm(placed, oracle);
                } else {
                    self.unknown.extend(self.unconfirmed.drain(..));
                    (self.since, self.confirmed) = (Some(since), count);
                }
            }
            News::Placed {
                session, messages, ..
            } if self.link == Link::Seated(at, session) => {
                self.confirm(messages, oracle);
                self.sent -= usize::try_from(messages).expect("few");
            }
            News::Fenced { session, .. }
                if [Link::Joining(at, session), Link::Seated(at, session)].contains(&self.link) =>
            {
                self.link = Link::None;
            }
            _ => {}
        }
    }

    fn confirm(&mut self, messages: u64, oracle: &mut Oracle) {
        for _ in 0..messages {
            let number = self.unconfirmed.pop_front();
            let number = number.expect("it is told of no more than it has published");
            oracle.confirmed(&self.text(number));
        }
        self.confirmed += messages;
    }

    /// Takes in that its session is over, if that is on the node `at`.
    pub(super) fn lose(&mut self, at: usize) {
        if let Link::Joining(on, _) | Link::Seated(on, _) = self.link
            && on == at
        {
            self.link = Link::None;
        }
    }

    /// Returns `true` if it knows of each of its messages what became of it, as far as anybody does.
    pub(super) fn is_done(&self) -> bool {
        self.unconfirmed.is_empty()
    }

    /// Checks that each message has its place once, but for those of which nobody knows.
    pub(super) fn check_end(&self, oracle: &Oracle) {
        for number in 1..self.next {
            let text = self.text(number);
            let placed = oracle.was_placed(&text);
            assert!(placed || self.unknown.contains(&number), "{text} is lost");
        }
    }
}
