//! A publication with a name, which is proposed to one node after the other until it is answered.

use super::node::{News, Node};
use super::oracle::Oracle;
use crate::order::tests::{named, run_section};

/// Nobody repeats a request for longer, in milliseconds: its name may be forgotten.
const REPEATED_MS: u64 = 8 * 60_000;

/// A publication with a name.
pub(super) struct Request {
    pub(super) name: u64,
    begun_ms: u64,
    is_answered: bool,
    /// `true` once it is too old to be repeated.
    is_over: bool,
}

impl Request {
    pub(super) fn new(name: u64, now_ms: u64) -> Self {
        Self {
            name,
            begun_ms: now_ms,
            is_answered: false,
            is_over: false,
        }
    }

    /// Returns `true` if it waits for an answer.
    pub(super) fn waits(&self) -> bool {
        !self.is_answered && !self.is_over
    }

    /// Proposes it to a node, if that serves clients.
    pub(super) fn repeat(&mut self, node: &mut Node, ticket: u64, now_ms: u64) {
        self.is_over = now_ms > self.begun_ms + REPEATED_MS;
        if self.is_over || !node.is_serving() {
            return;
        }
        let text = self.text();
        // Its session stands for whom the answer is for.
        let mut section = run_section("c0", self.name, named(self.name, 1), &[&text]);
        section.ticket = ticket;
        node.propose(section);
    }

    fn text(&self) -> String {
        format!("r{}", self.name)
    }

    /// Takes in an answer.
    pub(super) fn hear(&mut self, news: &News, oracle: &Oracle) {
        let News::Answered { place, .. } = news else {
            return;
        };
        self.is_answered = true;
        oracle.answered(&self.text(), *place);
    }
}
