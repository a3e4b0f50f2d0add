//! The thread that writes.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::StoreError;
use super::batch::{Batch, Change, ChannelKey};
use super::contents::Contents;
use super::engine::{Engine, EngineError, Table, Write};
use super::handle::Command;
use super::load::{Nobody, read, survey};
use super::marker::{Mark, Marker};
use super::record::{COMMIT, encode_number};
use super::status::StoreStatus;
use crate::settings::{StoreSettings, StoreSync};

/// Bytes of frames from which on no further batch goes into a commit.
const COMMIT_BYTES: usize = 64 << 20;
/// Time between two syncs of the marker while there is something to note.
const MARK_SYNC: Duration = Duration::from_secs(1);
/// Pause after the first failure; it doubles with each that follows.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// Pause after many failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Time between two measurements of the space that the store takes.
const MEASURE: Duration = Duration::from_secs(1);
/// Time between two clean-ups of the disk while the store is too large.
const COMPACT: Duration = Duration::from_secs(60);

/// Opens the database again after a failure. Takes the number of the last commit that was acknowledged.
pub(super) type Reopen = Box<dyn FnMut(u64) -> Result<Box<dyn Engine>, EngineError> + Send>;

/// Limits on the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiskLimits {
    /// Most bytes that the store may take.
    pub(super) max_bytes: Option<u64>,
    /// Bytes that stay free.
    pub(super) min_free: u64,
}

impl DiskLimits {
    /// Returns those of some settings.
    pub(super) fn of(settings: &StoreSettings) -> Self {
        Self {
            max_bytes: settings.max_bytes.map(|bytes| bytes as u64),
            min_free: settings.min_free as u64,
        }
    }
}

/// Next step of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Go on.
    Batch,
    /// End, and record that nothing is missing.
    Close,
    /// End.
    Abandon,
}

/// State of the writer's thread.
pub(super) struct Writer {
    /// `None` after a failure, until it is opened again.
    pub(super) engine: Option<Box<dyn Engine>>,
    pub(super) reopen: Reopen,
    pub(super) contents: Contents,
    /// Channels of which the last change did not fit, and was not written.
    pub(super) unfit: HashSet<ChannelKey>,
    pub(super) marker: Marker,
    /// Number of the last commit that was acknowledged.
    pub(super) commit: u64,
    pub(super) sync: StoreSync,
    pub(super) limits: DiskLimits,
    pub(super) status: Arc<StoreStatus>,
    pub(super) schedule: Schedule,
}

/// When the writer does what it does not do with each commit.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// When the marker was synced that has been written since.
    marked: Option<Instant>,
    /// Pause after the next failure.
    pause: Option<Duration>,
    /// When the next batch may be tried.
    retry: Option<Instant>,
    measured: Option<Instant>,
    compacted: Option<Instant>,
}

impl Writer {
    /// Writes what comes until the store is closed, or nobody can hand over anything any more. Returns `true` if it was closed
    /// and everything is on disk.
    pub(super) fn run(mut self, commands: &Receiver<Command>) -> bool {
        loop {
            let command = match self.schedule.marked {
                Some(since) => commands.recv_deadline(since + MARK_SYNC),
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            let next = match command {
                Ok(Command::Write(first)) => {
                    let (batches, next) = self.gather(commands, first);
                    self.write(batches);
                    next
                }
                Ok(Command::Close) => Next::Close,
                Err(RecvTimeoutError::Timeout) => Next::Batch,
                Ok(Command::Abandon) | Err(RecvTimeoutError::Disconnected) => Next::Abandon,
            };
            match next {
                Next::Batch => (),
                Next::Close => return self.close(),
                Next::Abandon => {
                    self.sync_mark();
                    return false;
                }
            }
            let is_due = |since: Instant| since.elapsed() >= MARK_SYNC;
            if self.schedule.marked.is_some_and(is_due) {
                self.sync_mark();
            }
        }
    }

    /// Takes what waits besides `first`, or comes before the next try after a failure. Returns it with what comes after it.
    fn gather(&self, commands: &Receiver<Command>, first: Batch) -> (Vec<Batch>, Next) {
        let mut bytes = first.bytes();
        let mut batches = vec![first];
        loop {
            let next = match self.schedule.retry {
                Some(retry) => commands.recv_deadline(retry).ok(),
                None if bytes < COMMIT_BYTES => commands.try_recv().ok(),
                None => None,
            };
            match next {
                Some(Command::Write(batch)) => {
                    bytes += batch.bytes();
                    batches.push(batch);
                }
                Some(Command::Close) => return (batches, Next::Close),
                Some(Command::Abandon) => return (batches, Next::Abandon),
                None => return (batches, Next::Batch),
            }
        }
    }

    /// Writes batches in one commit, and tells whose they are.
    fn write(&mut self, batches: Vec<Batch>) {
        let begun = Instant::now();
        match self.prepare().and_then(|()| self.too_large()) {
            Ok(None) => (),
            Ok(Some(error)) => return self.shrink(batches, &error),
            Err(error) => return self.fail(batches.into_iter().map(|batch| batch.done), &error),
        }
        let (mut writes, mut waiting) = (Vec::new(), Vec::new());
        let (mut runs, mut bytes) = (0, 0);
        let (mut failure, mut refused) = (None, Vec::new());
        for batch in batches {
            let (batch_runs, batch_bytes) = (batch.runs(), batch.bytes());
            match self.apply(batch.changes, &mut writes) {
                Ok(()) => {
                    runs += batch_runs;
                    bytes += batch_bytes;
                    waiting.push(batch.done);
                }
                Err(Refused::Batch(channel, reason)) => {
                    error!(reason, "a batch for the store is refused");
                    self.status.failed_batches.add(1);
                    self.unfit.insert(channel);
                    refused.push((batch.done, reason));
                }
                Err(Refused::All(error)) => {
                    waiting.push(batch.done);
                    failure = Some(error);
                }
            }
        }
        let result = failure.map_or_else(|| self.commit(writes), Err);
        if let Err(error) = result {
            // What is on disk now is known only when the database is opened again.
            self.engine = None;
            let refused = refused.into_iter().map(|(done, _)| done);
            waiting.extend(refused);
            return self.fail(waiting.into_iter(), &error);
        }
        self.status.commit_time.observe(begun.elapsed());
        self.status.batches.add(waiting.len() as u64);
        self.status.runs.add(runs as u64);
        self.status.bytes.add(bytes as u64);
        if let Some((_, reason)) = refused.last() {
            let reason = format!("it does not take what a shard hands over: {reason}");
            self.status.fail(&reason.into());
        } else if self.unfit.is_empty() {
            self.recover();
        }
        for done in waiting {
            // A shard that has ended does not wait any more.
            let _ = done.send(Ok(()));
        }
        for (done, reason) in refused {
            let _ = done.send(Err(StoreError::Refused(reason)));
        }
    }

    /// Writes only what goes, so that a store that is too large becomes smaller, and has all the rest come again.
    fn shrink(&mut self, batches: Vec<Batch>, too_large: &EngineError) {
        let mut writes = Vec::new();
        let mut result = Ok(());
        if let Some(engine) = self.engine.as_deref() {
            let contents = &mut self.contents;
            let mut changes = batches.iter().flat_map(|batch| &batch.changes);
            result = changes.try_for_each(|change| contents.shrink(change, engine, &mut writes));
        }
        let result = match result {
            Ok(()) if !writes.is_empty() => self.commit(writes),
            result => result,
        };
        if result.is_err() {
            self.engine = None;
        }
        let error = result.as_ref().err().unwrap_or(too_large);
        self.fail(batches.into_iter().map(|batch| batch.done), error);
    }

    /// Checks a batch, and applies it if it is right.
    fn apply(&mut self, changes: Vec<Change>, writes: &mut Vec<Write>) -> Result<(), Refused> {
        let engine = self.engine.as_deref().ok_or(Refused::All(closed()))?;
        for change in &changes {
            let checked = self.contents.check(change);
            checked.map_err(|reason| Refused::Batch(change.channel(), reason))?;
        }
        for change in changes {
            self.unfit.remove(&change.channel());
            let applied = self.contents.apply(change, engine, writes);
            applied.map_err(Refused::All)?;
        }
        Ok(())
    }

    /// Commits what is to be written, and syncs it unless the system is to do that. After a failure something is written in
    /// any case: without that nobody knows whether it can be.
    fn commit(&mut self, mut writes: Vec<Write>) -> Result<(), EngineError> {
        if writes.is_empty() && self.status.failure().is_none() {
            return Ok(());
        }
        let engine = self.engine.as_mut().ok_or_else(closed)?;
        let commit = self.commit + 1;
        writes.push(Write {
            table: Table::Store,
            key: COMMIT.into(),
            value: Some(encode_number(COMMIT, commit)),
        });
        engine.commit(writes)?;
        if self.sync != StoreSync::Os {
            let begun = Instant::now();
            engine.sync()?;
            self.status.sync_time.observe(begun.elapsed());
        }
        self.commit = commit;
        self.status.commits.add(1);
        if self.sync != StoreSync::Os {
            self.mark();
        }
        Ok(())
    }

    /// Makes sure that there is a database, and space on its disk.
    fn prepare(&mut self) -> Result<(), EngineError> {
        if self.engine.is_none() {
            let engine = (self.reopen)(self.commit)?;
            let survey = survey(&*engine, self.commit)?;
            let (contents, faults) = read(&*engine, &survey, &|_| false, &mut Nobody)?;
            if let Some(fault) = faults.in_words() {
                return Err(EngineError::Damaged(fault));
            }
            self.contents = contents;
            // What was not acknowledged may be there all the same.
            self.commit = survey.commit;
            self.engine = Some(engine);
        }
        let engine = self.engine.as_mut().ok_or_else(closed)?;
        let min_free = self.limits.min_free;
        if engine.free_space()? < min_free {
            let text = format!("less than {min_free} bytes are free on its disk");
            return Err(EngineError::System(text));
        }
        Ok(())
    }

    /// Measures the database now and then. Returns the error for what is written while it is too large.
    fn too_large(&mut self) -> Result<Option<EngineError>, EngineError> {
        let engine = self.engine.as_mut().ok_or_else(closed)?;
        let max_bytes = self.limits.max_bytes;
        let is_due = |at: Option<Instant>, every| at.is_none_or(|at| at.elapsed() >= every);
        let is_over = |bytes| max_bytes.is_some_and(|most| bytes > most);
        let schedule = &mut self.schedule;
        if is_due(schedule.measured, MEASURE) {
            schedule.measured = Some(Instant::now());
            let space = engine.disk_space()?;
            self.status.disk_space.set(space);
            if is_over(space) && is_due(schedule.compacted, COMPACT) {
                schedule.compacted = Some(Instant::now());
                if let Err(error) = engine.compact() {
                    self.engine = None;
                    return Err(error);
                }
                let space = engine.disk_space()?;
                self.status.disk_space.set(space);
            }
        }
        let most = max_bytes.filter(|_| is_over(self.status.disk_space.get()));
        Ok(
            most.map(|most| {
                EngineError::System(format!("it takes more than {most} bytes on disk"))
            }),
        )
    }

    /// Tells those who wait that nothing was written, and lets some time pass until the next try.
    fn fail(
        &mut self,
        waiting: impl ExactSizeIterator<Item = oneshot::Sender<Result<(), StoreError>>>,
        error: &EngineError,
    ) {
        let reason: Arc<str> = error.to_string().into();
        if self.status.fail(&reason) {
            let meanwhile = match self.sync {
                StoreSync::Batch => "publishers wait",
                StoreSync::Interval(_) | StoreSync::Os => "histories go on in memory",
            };
            error!(%reason, "cannot write to the store; {meanwhile}");
        }
        let pause = self.schedule.pause.unwrap_or(SHORTEST_PAUSE);
        self.schedule.pause = Some(LONGEST_PAUSE.min(2 * pause));
        self.schedule.retry = Some(Instant::now() + pause);
        self.status.failed_batches.add(waiting.len() as u64);
        for done in waiting {
            let _ = done.send(Err(StoreError::Failed(reason.clone())));
        }
    }

    /// Records that something was written.
    fn recover(&mut self) {
        (self.schedule.pause, self.schedule.retry) = (None, None);
        if let Some(failure) = self.status.recover() {
            let seconds = failure.since.elapsed().unwrap_or_default().as_secs();
            info!(seconds, reason = %failure.reason, "the store can be written to again");
        }
    }

    /// Writes to the marker how far the database is synced. It may say less than that, so it fails without consequence.
    fn mark(&mut self) {
        let mark = Mark {
            commit: self.commit,
            syncs_first: self.sync == StoreSync::Batch,
            is_clean: false,
        };
        match self.marker.write(mark) {
            Ok(()) => {
                self.schedule.marked.get_or_insert_with(Instant::now);
            }
            Err(error) => warn!(path = %self.marker.path().display(), %error, "cannot write"),
        }
    }

    fn sync_mark(&mut self) {
        if self.schedule.marked.take().is_some()
            && let Err(error) = self.marker.sync()
        {
            warn!(path = %self.marker.path().display(), %error, "cannot sync");
        }
    }

    /// Ends, and records that nothing is missing if the last batch was written. Returns `true` if it is on disk.
    fn close(mut self) -> bool {
        let Some(mut engine) = self.engine.take() else {
            return false;
        };
        if let Err(error) = engine.sync() {
            error!(%error, "cannot sync the store at the end");
            return false;
        }
        drop(engine);
        if self.status.failure().is_some() {
            return false;
        }
        let mark = Mark {
            commit: self.commit,
            syncs_first: self.sync == StoreSync::Batch,
            is_clean: true,
        };
        if let Err(error) = self.marker.write_both(mark) {
            warn!(path = %self.marker.path().display(), %error, "cannot write");
        }
        true
    }
}

/// Reason for which a batch is not written.
enum Refused {
    /// This change in it does not fit to what is there.
    Batch(ChannelKey, &'static str),
    /// The database cannot be used.
    All(EngineError),
}

fn closed() -> EngineError {
    EngineError::System("it is closed".to_owned())
}
