//! The queues between shards.
//!
//! Every shard has two mailboxes, one for each class of message:
//!
//! * *deliveries* (owner → relay) are always taken out; handling one never sends a delivery;
//! * *requests* (relay or acceptor → owner) are taken out only while none of the shard's own
//!   deliveries is waiting for room; handling one may send deliveries.
//!
//! So a full queue of requests waits for deliveries, and deliveries wait for nothing: no cycle of
//! full queues can form. A send never blocks the thread. What finds its mailbox full (by count or
//! by bytes) is kept by the sender, in order, and while that is so the sender's shard reads no more
//! from its own connections. What is kept is therefore bounded by what one read of one connection
//! brings, and the pressure reaches the publishers through TCP. Connections that are on their way to
//! their seat come on top, each with what was read behind its join frame: their number is bounded by
//! `max_connections`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use super::sync::{
    AtomicBool, AtomicIsize, MAILBOX_CAPACITY, Ordering, Receiver, Sender, TrySendError, bounded,
    fence,
};
use super::wake::Wake;

/// Bytes of frames a mailbox takes before it is full. A larger message is let in when it is empty.
pub(super) const MAX_BYTES: isize = 32 << 20;

/// Bytes of frames a message keeps alive.
pub(crate) trait Weigh {
    fn weight(&self) -> usize;
}

/// State that the senders of one mailbox and its receiver share.
#[derive(Debug)]
struct Shared {
    bytes: AtomicIsize,
    /// By shard: whether it waits for room here.
    waiting: Vec<AtomicBool>,
}

/// The receiving end: one for each shard and class.
#[derive(Debug)]
pub(crate) struct Mailbox<M> {
    queue: Receiver<M>,
    shared: Arc<Shared>,
}

/// The sending end that one shard holds of another shard's mailbox.
#[derive(Debug)]
pub(crate) struct Outlet<M> {
    queue: Sender<M>,
    shared: Arc<Shared>,
    /// The index of the sending shard.
    me: usize,
    /// Wakes the receiving shard.
    wake: Arc<Wake>,
    /// Messages that found the mailbox full, in order.
    kept: RefCell<VecDeque<M>>,
}

/// Shows any thread how full a mailbox is.
#[derive(Debug)]
pub(crate) struct MailboxMeter<M> {
    /// Keeps what is queued for as long as the meter lives.
    queue: Sender<M>,
    shared: Arc<Shared>,
}

impl<M> MailboxMeter<M> {
    /// Returns the number of messages in it.
    pub(crate) fn messages(&self) -> usize {
        self.queue.len()
    }

    /// Returns the bytes of frames that its messages keep alive.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = self.shared.bytes.load(Ordering::Relaxed);
        usize::try_from(bytes).unwrap_or_default()
    }
}

/// Makes a mailbox whose shard is woken through `wake`, and one outlet for each of `shards` senders.
pub(crate) fn mailbox<M>(shards: usize, wake: &Arc<Wake>) -> (Mailbox<M>, Vec<Outlet<M>>) {
    let (tx, rx) = bounded(MAILBOX_CAPACITY);
    let waiting = (0..shards).map(|_| AtomicBool::new(false)).collect();
    let shared = Arc::new(Shared {
        bytes: AtomicIsize::new(0),
        waiting,
    });
    let outlets = (0..shards)
        .map(|me| Outlet {
            queue: tx.clone(),
            shared: shared.clone(),
            me,
            wake: wake.clone(),
            kept: RefCell::default(),
        })
        .collect();
    (Mailbox { queue: rx, shared }, outlets)
}

impl<M: Weigh> Mailbox<M> {
    /// Takes the next message.
    pub(crate) fn take(&self) -> Option<M> {
        let message = self.queue.try_recv().ok()?;
        self.shared
            .bytes
            .fetch_sub(weight(&message), Ordering::Relaxed);
        Some(message)
    }

    /// Returns `true` if there is no message.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Wakes the senders that wait for room. To be called after messages were taken.
    pub(crate) fn made_room(&self, wakes: &[Arc<Wake>]) {
        fence(Ordering::SeqCst);
        for (waiting, wake) in self.shared.waiting.iter().zip(wakes) {
            if waiting.load(Ordering::Relaxed) && waiting.swap(false, Ordering::AcqRel) {
                wake.notify();
            }
        }
    }
}

impl<M> Outlet<M> {
    /// Returns a meter of the mailbox.
    pub(crate) fn meter(&self) -> MailboxMeter<M> {
        MailboxMeter {
            queue: self.queue.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<M: Weigh> Outlet<M> {
    /// Sends `message`, or keeps it behind those that are kept already. Returns `true` if it was
    /// sent.
    pub(crate) fn send(&self, message: M) -> bool {
        let mut kept = self.kept.borrow_mut();
        if kept.is_empty() {
            match self.offer(message) {
                Ok(()) => {
                    self.wake.notify();
                    return true;
                }
                Err(message) => kept.push_back(message),
            }
        } else {
            kept.push_back(message);
        }
        drop(kept);
        self.send_kept();
        self.is_clear()
    }

    /// Sends as much as there is room for of what was kept.
    pub(crate) fn send_kept(&self) {
        let mut kept = self.kept.borrow_mut();
        let mut sent = false;
        while let Some(message) = kept.pop_front() {
            match self.offer(message) {
                Ok(()) => sent = true,
                Err(message) => {
                    kept.push_front(message);
                    break;
                }
            }
        }
        if sent {
            self.wake.notify();
        }
    }

    /// Returns `true` if no message waits here for room.
    pub(crate) fn is_clear(&self) -> bool {
        self.kept.borrow().is_empty()
    }

    /// Returns `true` if no message waits here, or the receiver has yet to make room. To be looked at before this
    /// shard goes to sleep: room made after that wakes it.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_clear() || self.shared.waiting[self.me].load(Ordering::Relaxed)
    }

    /// Pushes into the mailbox; on the way out with the message it is certain that the receiver
    /// will wake this shard once it has made room.
    fn offer(&self, message: M) -> Result<(), M> {
        let Err(message) = self.try_push(message) else {
            return Ok(());
        };
        self.shared.waiting[self.me].store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.try_push(message)
    }

    /// Pushes a message if there is room. The weight is added after the push, so that a sender that fails leaves no trace
    /// by which another could fail; the sum may therefore be off, even below zero, by what is being pushed.
    fn try_push(&self, message: M) -> Result<(), M> {
        let weight = weight(&message);
        let queued = self.shared.bytes.load(Ordering::Relaxed);
        if queued > 0 && queued + weight > MAX_BYTES {
            return Err(message);
        }
        match self.queue.try_send(message) {
            Ok(()) => {
                self.shared.bytes.fetch_add(weight, Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => Err(message),
        }
    }
}

fn weight<M: Weigh>(message: &M) -> isize {
    isize::try_from(message.weight()).unwrap_or(isize::MAX / 2)
}
