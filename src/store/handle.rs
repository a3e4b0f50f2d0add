//! The end of a store that shards have.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::batch::{Batch, ChannelKey, LoadedChannel};
use super::secret::PublisherSecret;
use super::status::StoreStatus;

/// Contents of a store at the start.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The channels that go on. Those with the newest messages come first.
    pub(crate) channels: Vec<LoadedChannel>,
    /// A secret of this store, for names of publishers.
    pub(crate) secret: PublisherSecret,
    /// Channels that were forgotten, as they are not kept on disk any more.
    pub(crate) unwanted: usize,
    /// Channels that were forgotten, as there is no memory for them.
    pub(crate) too_many: usize,
}

/// Longest time that the end of the writer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(2);
/// Most batches that wait for the writer. A shard hands over one at a time.
const QUEUE: usize = 1024;

/// Command to the writer.
#[derive(Debug)]
pub(super) enum Command {
    /// Write a batch.
    Write(Batch),
    /// End, and record that nothing is missing.
    Close,
    /// End.
    Abandon,
}

/// A store that takes batches.
///
/// When it is dropped without being closed, what waits is written, and the next start takes the store for one of a server
/// that was killed.
#[derive(Debug)]
pub(crate) struct StoreHandle {
    commands: Sender<Command>,
    next_key: AtomicU64,
    status: Arc<StoreStatus>,
    writer: Mutex<Option<JoinHandle<bool>>>,
}

impl StoreHandle {
    /// Creates a handle whose first new channel gets the key after `highest_key`, and what its batches come out of.
    pub(super) fn new(highest_key: u64) -> (Self, Receiver<Command>) {
        let (commands, receiver) = bounded(QUEUE);
        let handle = Self {
            commands,
            next_key: AtomicU64::new(highest_key + 1),
            status: Arc::default(),
            writer: Mutex::new(None),
        };
        (handle, receiver)
    }

    /// Gives it the thread that takes its batches, and returns `true` if everything is on disk at the end.
    pub(super) fn attach(&mut self, writer: JoinHandle<bool>) {
        self.writer = Mutex::new(Some(writer));
    }

    /// Hands over a batch, which its `done` is told of.
    ///
    /// # Errors
    ///
    /// With the batch when too many wait, or when the writer has ended. Nothing of it is written then.
    pub(crate) fn submit(&self, batch: Batch) -> Result<(), Batch> {
        let sent = self.commands.try_send(Command::Write(batch));
        sent.map_err(|error| match error {
            TrySendError::Full(Command::Write(batch))
            | TrySendError::Disconnected(Command::Write(batch)) => batch,
            _ => unreachable!("a batch was sent"),
        })
    }

    /// Returns the key of a channel that is opened anew. None is given twice, also not after a restart as long as the
    /// store has the channel.
    pub(crate) fn next_key(&self) -> ChannelKey {
        ChannelKey(self.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns how the store is doing.
    pub(crate) fn status(&self) -> &Arc<StoreStatus> {
        &self.status
    }

    /// Writes what waits, and records that nothing is missing if all of that is written: to be called when every shard has
    /// handed over everything. Blocks until that is on disk, for 30 s at most, and returns
    /// `true` if it is. What is handed over later comes back.
    pub(crate) fn close(&self) -> bool {
        self.end(Command::Close)
    }

    /// Has the writer end, and waits for it, but not for ever: a disk may hang. Returns `true` if everything is on disk,
    /// which it is at the first time only.
    fn end(&self, command: Command) -> bool {
        let writer = self.writer.lock();
        let Some(writer) = writer.unwrap_or_else(PoisonError::into_inner).take() else {
            return false;
        };
        let deadline = Instant::now() + PATIENCE;
        // It fails when the disk hangs, too: then the writer never comes to it.
        let _ = self.commands.send_timeout(command, PATIENCE);
        while !writer.is_finished() {
            if Instant::now() >= deadline {
                tracing::error!(
                    "the disk of the store does not answer: the server ends without it"
                );
                return false;
            }
            std::thread::sleep(LOOK);
        }
        writer.join().unwrap_or(false)
    }
}

impl Drop for StoreHandle {
    fn drop(&mut self) {
        self.end(Command::Abandon);
    }
}

#[cfg(test)]
impl StoreHandle {
    /// Creates a handle for tests, and what its batches come out of.
    pub(crate) fn for_tests() -> (Self, TestWriter) {
        let (handle, commands) = Self::new(0);
        (handle, TestWriter(commands))
    }
}

/// Takes batches in place of a writer.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct TestWriter(Receiver<Command>);

#[cfg(test)]
impl TestWriter {
    /// Returns the batch that has waited longest; `None` if none waits.
    pub(crate) fn next(&self) -> Option<Batch> {
        match self.0.try_recv().ok()? {
            Command::Write(batch) => Some(batch),
            Command::Close | Command::Abandon => None,
        }
    }
}
