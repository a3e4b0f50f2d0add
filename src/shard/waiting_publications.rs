//! Publications without a seat that wait until the publishers of a channel may go on.
//!
//! They are let go in the order in which they came, and what comes meanwhile goes behind them: so a client that always
//! has something to publish does not get in front of those that wait.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use tokio::time::sleep_until;

use super::ask::{Publication, Receipt, Reply};
use super::pause::Pause;
use super::refusal::Refusal;
use super::{BrokerPhase, Shard, turn};

/// Memory in bytes from which on the queue is searched for publications that nobody waits for any more.
const LITTLE: usize = 1 << 20;

/// The queue of a channel. It belongs to the task that lets them go, which ends when it is empty.
#[derive(Debug, Default)]
pub(super) struct WaitingPublications(RefCell<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Memory in bytes that they cost.
    cost: usize,
    /// What those cost that somebody waited for when that was last looked at.
    live: usize,
}

#[derive(Debug)]
struct Waiting {
    publication: Publication,
    reply: Reply<Receipt>,
    /// Time at which it is refused.
    due: Instant,
}

impl Waiting {
    fn cost(&self) -> usize {
        self.publication.run.pinned() + size_of::<Self>()
    }
}

impl WaitingPublications {
    /// Appends a publication, which is refused when it is `due`.
    pub(super) fn push(&self, publication: Publication, reply: Reply<Receipt>, due: Instant) {
        let mut queue = self.0.borrow_mut();
        // Those of connections that are gone keep little memory. Not at each: a look costs as much as there are.
        if queue.cost >= 2 * queue.live.max(LITTLE) {
            queue.waiting.retain(|waiting| !waiting.reply.is_closed());
            queue.cost = queue.waiting.iter().map(Waiting::cost).sum();
            queue.live = queue.cost;
        }
        let waiting = Waiting {
            publication,
            reply,
            due,
        };
        queue.cost += waiting.cost();
        queue.waiting.push_back(waiting);
    }

    /// Returns when the oldest is due; `None` if there is none.
    fn due(&self) -> Option<Instant> {
        self.0.borrow().waiting.front().map(|oldest| oldest.due)
    }

    /// Takes the oldest out.
    fn pop(&self) -> Option<Waiting> {
        let mut queue = self.0.borrow_mut();
        let oldest = queue.waiting.pop_front()?;
        queue.cost -= oldest.cost();
        Some(oldest)
    }

    /// Refuses those that are due.
    fn refuse_overdue(&self, now: Instant, why: impl Fn(&str) -> Refusal) {
        while self.due().is_some_and(|due| due <= now)
            && let Some(overdue) = self.pop()
        {
            // Nobody waits for it when the connection is gone.
            let _ = overdue.reply.send(Err(why(&overdue.publication.channel)));
        }
    }
}

impl Shard {
    /// Publishes what waits in `queue` whenever `pause` is over, until nothing waits any more.
    pub(super) async fn let_publications_go(
        self: Rc<Self>,
        queue: Rc<WaitingPublications>,
        pause: Rc<Pause>,
    ) {
        while let Some(due) = queue.due() {
            tokio::select! {
                () = pause.released() => self.publish_waiting(&queue, &pause),
                // Publishing finds out that the broker stops.
                () = self.reached(BrokerPhase::Draining) => self.publish_waiting(&queue, &pause),
                () = sleep_until(due.into()) => {
                    queue.refuse_overdue(Instant::now(), |channel| self.why_paused(channel));
                }
            }
            // Where nothing pauses it, it does not go on without end.
            self.yield_turn().await;
        }
    }

    /// Publishes what waits, the oldest first, until the publishers have to pause again, or this turn is over. Others
    /// may have been first each time that the pause was over, so one goes in any case.
    fn publish_waiting(self: &Rc<Self>, queue: &WaitingPublications, pause: &Pause) {
        while let Some(next) = queue.pop() {
            if next.reply.is_closed() {
                continue;
            }
            self.publish_at_once(next.publication, next.reply);
            if pause.is_on() || turn::is_expensive() {
                return;
            }
        }
    }
}
