//! Runs that must be on disk before anybody sees them.
//!
//! Where each batch is synced, a run that is proposed is held: it has its place in the order, and is handed over to the
//! store with all others that have gathered. When the store has it on disk it is committed, and only then delivered and
//! confirmed. Who needs to see all that is held so far waits for its turn behind it.
//!
//! Invariants:
//!
//! * Nothing else gives messages of such a channel a place in its order. So the offset of a run is known when it is held.
//! * Runs without messages are held only behind others, and never on disk.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::channel::{FrameRun, PublisherId, Receipt, SessionId};
use crate::shard::ask::Reply;
use crate::shard::refusal::{Refusal, StoreTrouble};
use crate::shard::sequence::Proposed;

/// Memory in bytes that a run which is held costs besides its frames.
const RUN_COST: usize = 256;

/// A run that is held until it is on disk.
#[derive(Debug)]
pub(in crate::shard) struct HeldRun {
    pub(in crate::shard) proposed: Proposed,
    /// Whose it is, if that publisher has named itself.
    pub(in crate::shard) publisher: Option<PublisherId>,
    /// Hash of what it says, if its name must not stand for anything else.
    pub(in crate::shard) content: Option<u64>,
    /// Set if somebody without a seat waits for the receipt, or has waited for too long.
    pub(in crate::shard) confirms: bool,
    /// When it was read, if its latency is to be sampled once it is committed.
    pub(in crate::shard) sampled: Option<Instant>,
    /// The way back to who waits for the receipt.
    pub(in crate::shard) reply: Option<Reply<Receipt>>,
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

/// Something that waits for the disk.
#[derive(Debug)]
enum Held {
    Run {
        run: Box<HeldRun>,
        /// Offset of its last message.
        end: u64,
        messages: u32,
    },
    /// Somebody who waits for what is before it.
    Turn(oneshot::Sender<()>),
}

/// A run that is to be on disk.
#[derive(Debug)]
pub(super) struct Unwritten<'a> {
    pub(super) run: &'a FrameRun,
    pub(super) held: &'a HeldRun,
    pub(super) end: u64,
    pub(super) messages: u32,
}

/// What of a channel waits for the disk, in order.
#[derive(Debug, Default)]
pub(super) struct HeldRuns {
    entries: VecDeque<Held>,
    /// Memory that they cost, in bytes.
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

    /// Returns the offset of the last message that is held.
    pub(super) fn end(&self) -> Option<u64> {
        let ends = self.entries.iter().rev().filter_map(|held| match held {
            Held::Run { end, .. } => Some(*end),
            Held::Turn(_) => None,
        });
        ends.take(1).next()
    }

    /// Holds a run behind all others, where the message before it has the offset `before`. Returns the bytes that this
    /// costs.
    pub(super) fn push(&mut self, run: HeldRun, messages: u32, before: u64) -> usize {
        let cost = run.cost();
        self.bytes += cost;
        self.entries.push_back(Held::Run {
            run: Box::new(run),
            end: before + u64::from(messages),
            messages,
        });
        cost
    }

    /// Returns what tells when all that is held now is committed.
    pub(super) fn turn(&mut self) -> oneshot::Receiver<()> {
        let (turn, waits) = oneshot::channel();
        self.entries.push_back(Held::Turn(turn));
        waits
    }

    /// Returns the runs with messages behind `offset`.
    pub(super) fn unwritten(&self, offset: u64) -> impl Iterator<Item = Unwritten<'_>> {
        self.entries.iter().filter_map(move |held| match held {
            Held::Run { run, end, messages } if *messages > 0 && *end > offset => Some(Unwritten {
                run: &run.proposed.run,
                held: run,
                end: *end,
                messages: *messages,
            }),
            Held::Run { .. } | Held::Turn(_) => None,
        })
    }

    /// Takes the next run that is on disk, as everything up to the offset `saved` is, with the offset of its last
    /// message, and gives those their turn that waited before it. Returns the bytes that it cost as well.
    pub(super) fn take(&mut self, saved: u64) -> Option<(HeldRun, u64, usize)> {
        loop {
            match self.entries.front()? {
                Held::Run { end, .. } if *end > saved => return None,
                _ => {}
            }
            match self.entries.pop_front()? {
                // Nobody waits for it any more if that fails.
                Held::Turn(turn) => _ = turn.send(()),
                Held::Run { run, end, .. } => {
                    let cost = run.cost();
                    self.bytes -= cost;
                    return Some((*run, end, cost));
                }
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
    pub(super) fn refuse_overdue(&mut self, limit: Duration, now: Instant, trouble: StoreTrouble) {
        for held in &mut self.entries {
            let Held::Run { run, .. } = held else {
                continue;
            };
            if now.duration_since(run.at) >= limit
                && let Some(reply) = run.reply.take()
            {
                // Nobody waits for it when the connection is gone.
                let _ = reply.send(Err(Refusal::Undecided(trouble)));
            }
        }
    }

    fn runs(&self) -> impl Iterator<Item = &HeldRun> {
        self.entries.iter().filter_map(|held| match held {
            Held::Run { run, .. } => Some(&**run),
            Held::Turn(_) => None,
        })
    }
}
