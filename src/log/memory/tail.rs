//! Reading a log in memory.

use super::MemoryLog;
use crate::log::{LogError, Tail};
use crate::order::{LogEntry, Sequence};

/// Reads a [`MemoryLog`].
#[derive(Debug)]
pub(crate) struct MemoryTail {
    log: MemoryLog,
    /// The last record that was read.
    last: Sequence,
    /// How often the log had lost records when the tail began.
    losses: u64,
}

impl MemoryTail {
    pub(super) fn new(log: MemoryLog, last: Sequence) -> Self {
        let losses = log.engine.losses();
        Self { log, last, losses }
    }

    /// Returns the next entry, if it is there.
    fn read(&mut self) -> Option<Result<LogEntry, LogError>> {
        if let Err(error) = self.log.check() {
            return Some(Err(error));
        }
        let read = self.log.engine.read(self.last, self.losses)?;
        if read.is_ok() {
            self.last = Sequence(self.last.0 + 1);
        }
        Some(read)
    }
}

impl Tail for MemoryTail {
    async fn next(&mut self) -> Result<LogEntry, LogError> {
        let engine = self.log.engine.clone();
        loop {
            let mut changed = std::pin::pin!(engine.changed.notified());
            // What changes from here on is not missed.
            changed.as_mut().enable();
            if let Some(read) = self.read() {
                return read;
            }
            changed.await;
        }
    }
}
