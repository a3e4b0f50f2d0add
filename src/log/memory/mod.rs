//! A log in memory, for tests: several nodes in one process, and faults that come from a seed.
//!
//! A [`MemoryEngine`] is what the servers of an engine are together. Each node connects to it, and has a [`MemoryLog`].
//! Faults of every call have their probabilities ([`Faults`]); what happens to the engine as a whole is a call of the
//! test: it loses its newest records, is made anew, lets old records go, or has its time pass. With the clock of
//! [`MemoryEngine::with_own_time`] and calls in one order, everything comes from the seed.

mod engine;
mod tail;

mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

pub(crate) use engine::{Faults, MemoryEngine};
pub(crate) use tail::MemoryTail;

use super::{Log, LogError, LogState};
use crate::order::{LogEntry, Sequence};

/// The log as one node reaches it.
#[derive(Clone, Debug)]
pub(crate) struct MemoryLog {
    engine: Arc<MemoryEngine>,
    /// `false` while the node is cut off.
    is_connected: Arc<AtomicBool>,
}

impl MemoryLog {
    /// Connects a node.
    pub(crate) fn new(engine: Arc<MemoryEngine>) -> Self {
        Self {
            engine,
            is_connected: Arc::new(AtomicBool::new(true)),
        }
    }

    /// Cuts the node off: every call fails, and tails break.
    pub(crate) fn cut(&self) {
        self.is_connected.store(false, Ordering::Relaxed);
        self.engine.wake_tails();
    }

    /// Lets the node reach the log again.
    pub(crate) fn reconnect(&self) {
        self.is_connected.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), LogError> {
        if self.is_connected.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err(unreachable("the node is cut off"))
        }
    }
}

impl Log for MemoryLog {
    type Tail = MemoryTail;

    async fn describe(&self) -> Result<LogState, LogError> {
        self.check()?;
        Ok(self.engine.describe())
    }

    async fn append(&self, id: &str, record: Bytes) -> Result<Sequence, LogError> {
        self.check()?;
        self.engine.append(id, record)
    }

    async fn get(&self, sequence: Sequence) -> Result<Option<LogEntry>, LogError> {
        self.check()?;
        Ok(self.engine.entry(sequence))
    }

    async fn tail(&self, sequence: Sequence) -> Result<MemoryTail, LogError> {
        self.check()?;
        Ok(MemoryTail::new(self.clone(), sequence))
    }
}

fn unreachable(reason: &str) -> LogError {
    LogError::Unreachable(reason.into())
}
