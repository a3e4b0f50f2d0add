//! Wakes a shard at most once for a batch of messages, and not at all while it is awake.
//!
//! A sender pushes its message and then calls [`Wake::notify`]. The shard drains its queues, calls
//! [`Wake::sleep`] with a look at the queues, and may only stop if that returns `true`. Either the
//! sender sees the shard asleep and wakes it, or the shard's look comes after the push and sees
//! the message: both sides put a sequentially consistent fence between their write and their read.

#[cfg(mles_loom)]
use loom::sync::Mutex;
#[cfg(mles_loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(mles_loom))]
use std::sync::Mutex;
use std::sync::PoisonError;
#[cfg(not(mles_loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;

/// The wake flag of one shard.
#[derive(Debug)]
pub(crate) struct Wake {
    /// Changed by read-modify-writes only, so that its changes have one order: loom does not
    /// order plain stores against another thread's swap, and finds wake-ups lost that are not.
    asleep: AtomicBool,
    /// Taken only to register, and by the one sender that finds the shard asleep.
    waker: Mutex<Option<Waker>>,
}

impl Wake {
    pub(crate) fn new() -> Self {
        Self {
            asleep: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }

    /// Called by the shard's task before its first [`Wake::sleep`].
    pub(crate) fn register(&self, waker: &Waker) {
        let mut slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !slot.as_ref().is_some_and(|w| w.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Called by a sender after its push. Wakes the shard if it is asleep.
    pub(crate) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            let slot = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(waker) = &*slot {
                waker.wake_by_ref();
            }
        }
    }

    /// Called by the shard when it found its queues empty; `is_idle` looks again. Returns whether
    /// the shard may stop: from then on a `notify` wakes it.
    pub(crate) fn sleep(&self, is_idle: impl FnOnce() -> bool) -> bool {
        self.asleep.swap(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_idle() {
            return true;
        }
        self.asleep.swap(false, Ordering::Relaxed);
        false
    }
}

#[cfg(all(test, mles_loom))]
mod tests {
    use super::*;
    use loom::future::block_on;
    use loom::model::Builder;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicUsize;
    use loom::thread;
    use std::future::poll_fn;
    use std::task::Poll;

    /// Receives until `total` messages have come, as the inbox task does.
    fn receive(wake: &Wake, queue: &AtomicUsize, total: usize) {
        let mut got = 0;
        block_on(poll_fn(|cx| {
            wake.register(cx.waker());
            loop {
                got += queue.swap(0, Ordering::Acquire);
                if got == total {
                    return Poll::Ready(());
                }
                if wake.sleep(|| queue.load(Ordering::Acquire) == 0) {
                    return Poll::Pending;
                }
            }
        }));
    }

    #[test]
    fn loom_no_message_is_slept_through() {
        let mut model = Builder::new();
        model.preemption_bound = Some(4);
        model.check(|| {
            let wake = Arc::new(Wake::new());
            let queue = Arc::new(AtomicUsize::new(0));
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let (wake, queue) = (wake.clone(), queue.clone());
                    thread::spawn(move || {
                        queue.fetch_add(1, Ordering::Release);
                        wake.notify();
                    })
                })
                .collect();
            receive(&wake, &queue, 2);
            for sender in senders {
                sender.join().unwrap();
            }
        });
    }
}
