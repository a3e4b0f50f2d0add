//! The memory that the histories of a shard share.

use std::cell::Cell;
use std::rc::Rc;

/// The memory that the histories of one shard may take together, and what they take.
///
/// Each [`History`](super::History) counts here itself whatever it gains or loses, and gives all back when
/// it is dropped, so that the sum is that of the histories whoever changes them. So do the
/// [`Publishers`](super::Publishers) of a channel, who are remembered beside its history.
#[derive(Clone, Debug)]
pub struct HistoryMemory(Rc<Ledger>);

#[derive(Debug)]
struct Ledger {
    /// In bytes.
    allowed: Cell<usize>,
    /// In bytes.
    used: Cell<usize>,
}

impl HistoryMemory {
    /// Creates the memory of histories that may take `allowed` bytes.
    #[must_use]
    pub fn new(allowed: usize) -> Self {
        let (allowed, used) = (Cell::new(allowed), Cell::new(0));
        Self(Rc::new(Ledger { allowed, used }))
    }

    /// Returns the bytes that all histories may take.
    #[must_use]
    pub fn allowed(&self) -> usize {
        self.0.allowed.get()
    }

    /// Sets the bytes that all histories may take. What is too much goes with what is stored next, and with idle
    /// channels.
    #[cfg(feature = "server")]
    pub(crate) fn set_allowed(&self, allowed: usize) {
        self.0.allowed.set(allowed);
    }

    /// Returns the bytes that all histories take.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.get()
    }
}

/// The part of the memory that one history takes, or the publishers of one channel.
#[derive(Debug)]
pub(super) struct Account {
    memory: HistoryMemory,
    /// In bytes.
    used: usize,
}

impl Account {
    /// Creates the account of an empty history.
    pub(super) fn new(memory: HistoryMemory) -> Self {
        Self { memory, used: 0 }
    }

    /// Returns the memory of which it is a part.
    pub(super) fn memory(&self) -> &HistoryMemory {
        &self.memory
    }

    /// Returns the bytes that the history takes.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Returns the bytes that the history may take beside all others.
    pub(super) fn allowed(&self) -> usize {
        let others = self.memory.used() - self.used;
        self.memory.allowed().saturating_sub(others)
    }

    /// Sets the bytes that the history takes.
    pub(super) fn set(&mut self, used: usize) {
        let all = &self.memory.0.used;
        all.set(all.get() - self.used + used);
        self.used = used;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.set(0);
    }
}
