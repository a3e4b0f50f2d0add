//! The queue of the runs that one room holds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::channel::{FrameRun, PublisherId, SessionId};
use crate::shard::refusal::Refusal;
use crate::shard::sequence::{Confirm, Proposed};

/// Memory in bytes that a run which is held costs besides its frames.
const RUN_COST: usize = 256;

/// A run that is held.
#[derive(Debug)]
pub(in crate::shard) struct HeldRun {
    pub(in crate::shard) proposed: Proposed,
    /// Number up to which what it waits for must have come. It is no smaller than that of the run before.
    pub(in crate::shard) due: u64,
    /// Number of messages in it.
    pub(in crate::shard) messages: u32,
    /// The publisher that has brought it, if that has named itself.
    pub(in crate::shard) publisher: Option<PublisherId>,
    /// Set if somebody without a seat waits for the receipt, or has waited for too long.
    pub(in crate::shard) confirm: Option<Confirm>,
    /// `true` if it came over a link with another server.
    pub(in crate::shard) is_of_link: bool,
    /// When it was held.
    pub(in crate::shard) at: Instant,
}

impl HeldRun {
    fn cost(&self) -> usize {
        self.proposed.run.pinned() + RUN_COST
    }
}

/// An entry of the queue.
#[derive(Debug)]
enum Held {
    Run(Box<HeldRun>),
    /// Somebody who waits for what is before it.
    Turn(oneshot::Sender<()>),
}

/// The runs that a room holds, in order, and those who wait for them.
#[derive(Debug, Default)]
pub(in crate::shard) struct HeldRuns {
    entries: VecDeque<Held>,
    /// Memory of the runs, in bytes.
    bytes: usize,
}

impl HeldRuns {
    /// Returns `true` if nothing is held.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the memory that is held, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number at which the last run is due.
    pub(super) fn last_due(&self) -> Option<u64> {
        self.runs().next_back().map(|run| run.due)
    }

    /// Holds a run behind all others. Returns the bytes that this costs.
    pub(super) fn push(&mut self, run: HeldRun) -> usize {
        let cost = run.cost();
        self.bytes += cost;
        self.entries.push_back(Held::Run(Box::new(run)));
        cost
    }

    /// Returns what tells when all that is held now is committed.
    pub(super) fn turn(&mut self) -> oneshot::Receiver<()> {
        let (turn, waits) = oneshot::channel();
        self.entries.push_back(Held::Turn(turn));
        waits
    }

    /// Returns the runs with messages that are due behind `number`.
    pub(in crate::shard) fn due_behind(&self, number: u64) -> impl Iterator<Item = &HeldRun> {
        let runs = self.runs();
        runs.filter(move |run| run.messages > 0 && run.due > number)
    }

    /// Takes the next run that is due at `reached` or before, with the bytes that it cost, and gives those their turn that
    /// waited before it.
    pub(super) fn take(&mut self, reached: u64) -> Option<(HeldRun, usize)> {
        loop {
            match self.entries.front()? {
                Held::Run(run) if run.due > reached => return None,
                _ => {}
            }
            match self.entries.pop_front()? {
                // Nobody waits for it any more if that fails.
                Held::Turn(turn) => _ = turn.send(()),
                Held::Run(run) => {
                    let cost = run.cost();
                    self.bytes -= cost;
                    return Some((*run, cost));
                }
            }
        }
    }

    /// Puts zeros in the place of the session keys of all runs.
    pub(super) fn clear_keys(&mut self) {
        for held in &mut self.entries {
            if let Held::Run(held) = held {
                self.bytes -= held.cost();
                // Taken out, so that it is not copied for being held twice.
                let none = FrameRun::exact(Bytes::new(), 0);
                let run = std::mem::replace(&mut held.proposed.run, none);
                held.proposed.run = run.without_keys();
                self.bytes += held.cost();
            }
        }
    }

    /// Returns `true` if a run of `publisher` is held.
    pub(super) fn has_publisher(&self, publisher: PublisherId) -> bool {
        self.runs().any(|run| run.publisher == Some(publisher))
    }

    /// Returns `true` if a run of that session is held.
    pub(super) fn has_session(&self, session: SessionId) -> bool {
        self.runs().any(|run| run.proposed.from == session)
    }

    /// Returns `true` if a run is held that came over a link.
    pub(super) fn has_link(&self) -> bool {
        self.runs().any(|run| run.is_of_link)
    }

    /// Tells those who have waited for longer than `limit` why they get no receipt yet.
    pub(super) fn refuse_overdue(
        &mut self,
        limit: Duration,
        now: Instant,
        refusal: impl Fn() -> Refusal,
    ) {
        for held in &mut self.entries {
            if let Held::Run(run) = held
                && now.duration_since(run.at) >= limit
                && let Some(confirm) = &mut run.confirm
            {
                confirm.answer(Err(refusal()));
            }
        }
    }

    fn runs(&self) -> impl DoubleEndedIterator<Item = &HeldRun> {
        self.entries.iter().filter_map(|held| match held {
            Held::Run(run) => Some(&**run),
            Held::Turn(_) => None,
        })
    }
}
