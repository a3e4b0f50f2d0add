//! Bounds the work that one task does before the others have their turn.
//!
//! Every piece of work is charged where it is done, in units of about the time that one delivery
//! takes. A task whose turn has become expensive waits in the shard's [`Lane`] before it goes on.
//! The lane lets its tasks go in the order in which they came, one budget's worth each time the
//! runtime has looked at the sockets. So however many expensive tasks there are, a task that is
//! woken by its socket waits for one budget of theirs, not for all of them.
//!
//! Two things are not divided: queueing one run for all members of a channel on a shard, and encoding
//! one message of up to `max_frame` for the queues of WebSocket members.
//!
//! A shard is a thread, so the turn is a thread local: work far below a task needs no handle to
//! charge for what it does.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Shard;

/// Units that one turn may cost: about a quarter of a millisecond. That is 8,192 deliveries, 128
/// system calls, 1 MiB of frames, or a mix of them.
pub(crate) const BUDGET: u32 = 8192;
/// Units from which on a turn is expensive: the task passes the lane before its next one.
pub(crate) const EXPENSIVE: u32 = BUDGET / 8;
/// Cost of a system call: a write to a socket on loopback takes two to four microseconds.
pub(crate) const SYSTEM_CALL: u32 = 64;
/// Cost of a message between shards, besides the work that it asks for.
pub(crate) const MESSAGE: u32 = 16;
/// Cost of a TLS record, however short it is.
pub(crate) const TLS_RECORD: u32 = 32;
/// Cost of a step of a TLS handshake: key exchange and signature take a quarter to one
/// millisecond.
pub(crate) const TLS_HANDSHAKE: u32 = BUDGET / 2;
/// Bytes that are read, copied or written for one unit.
const BYTES: usize = 128;

thread_local! {
    static SPENT: Cell<u32> = const { Cell::new(0) };
}

/// Begins a turn: nothing has been spent. [`Shard::spawn`] does so whenever a task is polled.
pub(crate) fn begin() {
    SPENT.set(0);
}

/// Charges `units` to the turn.
#[inline]
pub(crate) fn spend(units: u32) {
    SPENT.set(SPENT.get().saturating_add(units));
}

/// Charges something that is done `count` times, a unit each.
#[inline]
pub(crate) fn spend_each(count: usize) {
    spend(u32::try_from(count).unwrap_or(u32::MAX));
}

/// Charges handling `bytes`.
#[inline]
pub(crate) fn spend_bytes(bytes: usize) {
    spend_each(bytes / BYTES);
}

/// Charges a write of `bytes`.
#[inline]
pub(crate) fn spend_write(bytes: usize) {
    let units = u32::try_from(bytes / BYTES).unwrap_or(u32::MAX);
    spend(units.saturating_add(SYSTEM_CALL));
}

/// Returns the units charged since the turn began.
#[inline]
pub(crate) fn spent() -> u32 {
    SPENT.get()
}

/// Returns `true` once the turn has cost so much that its task has to pass the lane.
pub(crate) fn is_expensive() -> bool {
    spent() >= EXPENSIVE
}

/// Has the task polled again after the runtime has looked at its sockets and timers, behind the
/// tasks that these wake.
pub(crate) fn yield_to_sockets(cx: &mut Context<'_>) {
    // The first poll hands the waker over; nothing else keeps the future.
    let _ = pin!(tokio::task::yield_now()).poll(cx);
}

/// The tasks of a shard that wait because their last turn was expensive.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    waiting: RefCell<VecDeque<WaitingTask>>,
    /// Number of tasks that have ever waited here.
    entered: Cell<u64>,
    /// Number of them that were let go.
    released: Cell<u64>,
    /// Wakes the task that lets them go, while it sleeps.
    keeper: RefCell<Option<Waker>>,
}

#[derive(Debug)]
struct WaitingTask {
    waker: Waker,
    /// Units of its last turn, by which the next one is estimated.
    cost: u32,
}

/// A place in the lane.
#[derive(Clone, Copy, Debug)]
struct LaneTicket(u64);

/// A task's wait for its next turn. A task may be woken for many reasons, and libraries poll what they drive more than
/// once in a turn: neither is the end of the wait, nor does it take a second place in the lane.
#[derive(Debug, Default)]
pub(crate) struct TurnWait(Option<LaneTicket>);

impl Lane {
    /// Has the task wait: it is woken when its turn comes.
    fn wait(&self, cx: &Context<'_>) -> LaneTicket {
        self.waiting.borrow_mut().push_back(WaitingTask {
            waker: cx.waker().clone(),
            cost: spent().clamp(EXPENSIVE, BUDGET),
        });
        if let Some(keeper) = self.keeper.take() {
            keeper.wake();
        }
        self.entered.set(self.entered.get() + 1);
        LaneTicket(self.entered.get())
    }

    /// Returns `true` once the task with that place was let go.
    fn has_released(&self, ticket: LaneTicket) -> bool {
        ticket.0 <= self.released.get()
    }

    /// Lets tasks go, as many as are expected to share one budget, but one at least.
    fn release(&self) {
        let mut left = BUDGET;
        while left > 0
            && let Some(next) = self.pop_within(left)
        {
            left -= next.cost;
            self.released.set(self.released.get() + 1);
            next.waker.wake();
        }
    }

    fn pop_within(&self, left: u32) -> Option<WaitingTask> {
        let mut waiting = self.waiting.borrow_mut();
        waiting.front().filter(|next| next.cost <= left)?;
        waiting.pop_front()
    }

    fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }
}

impl Shard {
    /// Lets the tasks in the lane go, for as long as the shard lives.
    pub(super) async fn keep_lane_forever(self: Rc<Self>) {
        // Those who came since the sockets were last looked at have not waited yet.
        let mut has_looked = false;
        std::future::poll_fn(|cx| {
            if has_looked {
                self.lane.release();
            }
            has_looked = !self.lane.is_empty();
            if has_looked {
                yield_to_sockets(cx);
            } else {
                *self.lane.keeper.borrow_mut() = Some(cx.waker().clone());
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Lets the other tasks have their turn, and begins a new one. After an expensive turn the
    /// task waits in the lane; else every task that is ready goes first, the flusher included.
    /// Cancel safe.
    pub(crate) async fn yield_turn(&self) {
        let mut wait = TurnWait::default();
        let mut has_yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut has_yielded, true) {
                return self.poll_turn(cx, &mut wait);
            }
            if self.poll_turn(cx, &mut wait).is_ready() {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
    }

    /// Waits in the lane if the turn has become expensive, until the lane lets the task go.
    pub(crate) fn poll_turn(&self, cx: &Context<'_>, wait: &mut TurnWait) -> Poll<()> {
        match wait.0 {
            Some(ticket) if self.lane.has_released(ticket) => wait.0 = None,
            None if is_expensive() => wait.0 = Some(self.lane.wait(cx)),
            Some(_) | None => {}
        }
        if wait.0.is_some() {
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Drives `work`, every step of which is expensive, through the lane: each time it is woken it waits
    /// there as one whose turn costs `cost`. Cancel safe if `work` is.
    pub(crate) async fn in_lane<F: Future>(&self, cost: u32, work: F) -> F::Output {
        let mut work = pin!(work);
        let mut ticket = None;
        std::future::poll_fn(|cx| {
            let taken = *ticket.get_or_insert_with(|| {
                spend(cost);
                self.lane.wait(cx)
            });
            if !self.lane.has_released(taken) {
                return Poll::Pending;
            }
            ticket = None;
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Has the task polled again after the others have had their turn: see [`Shard::yield_turn`].
    pub(crate) fn yield_once(&self, cx: &mut Context<'_>) {
        if is_expensive() {
            self.lane.wait(cx);
        } else {
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wait(lane: &Lane, cost: u32) -> Arc<Count> {
        let count = Arc::<Count>::default();
        let waker = Waker::from(count.clone());
        begin();
        spend(cost);
        lane.wait(&Context::from_waker(&waker));
        count
    }

    fn woken(all: &[Arc<Count>]) -> Vec<usize> {
        all.iter()
            .map(|count| count.0.load(Ordering::Relaxed))
            .collect()
    }

    #[test]
    fn what_is_let_go_at_once_shares_one_budget_in_order_of_arrival() {
        let lane = Lane::default();
        let tasks =
            [EXPENSIVE, BUDGET / 2, BUDGET / 2, 0, 10 * BUDGET].map(|cost| wait(&lane, cost));
        lane.release();
        assert_eq!(woken(&tasks), [1, 1, 0, 0, 0]);
        lane.release();
        assert_eq!(woken(&tasks), [1, 1, 1, 1, 0]);
        // What costs more than a budget goes alone.
        lane.release();
        assert_eq!(woken(&tasks), [1, 1, 1, 1, 1]);
        assert!(lane.is_empty());
    }

    #[test]
    fn nobody_goes_on_before_the_lane_lets_it_go() {
        let lane = Lane::default();
        let waker = Waker::from(Arc::<Count>::default());
        let cx = Context::from_waker(&waker);
        begin();
        spend(BUDGET);
        let (first, second) = (lane.wait(&cx), lane.wait(&cx));
        assert!(!lane.has_released(first));
        lane.release();
        assert!(lane.has_released(first) && !lane.has_released(second));
        lane.release();
        assert!(lane.has_released(second));
    }

    #[test]
    fn charges_add_up_and_never_overflow() {
        begin();
        spend_bytes(BYTES * 3);
        spend_each(2);
        spend(SYSTEM_CALL);
        assert_eq!(spent(), 5 + SYSTEM_CALL);
        assert!(!is_expensive());
        spend_each(usize::MAX);
        spend(u32::MAX);
        assert!(is_expensive());
    }
}
