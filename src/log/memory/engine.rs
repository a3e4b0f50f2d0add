//! What keeps the log.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::Notify;

use super::unreachable;
use crate::log::{LogError, LogState};
use crate::order::{FleetEpoch, LogEntry, Sequence};

/// How often calls go wrong: of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// A record is not appended.
    pub(crate) lost: u32,
    /// It is appended, and the answer does not come.
    pub(crate) unanswered: u32,
    /// It is appended later, at some other append, also if it was appended again meanwhile.
    pub(crate) delayed: u32,
    /// It is appended though it was there before.
    pub(crate) doubled: u32,
    /// A tail breaks.
    pub(crate) broken: u32,
}

/// The engine of a log in memory.
#[derive(Debug)]
pub(crate) struct MemoryEngine {
    contents: Mutex<Contents>,
    /// Wakes the tails that wait for something to read.
    pub(super) changed: Notify,
}

#[derive(Debug)]
struct Contents {
    epoch: FleetEpoch,
    entries: VecDeque<LogEntry>,
    /// The sequence of the next record.
    next: Sequence,
    /// When the newest record was appended.
    last_at_ms: u64,
    /// The records that were appended, by their ids.
    by_id: HashMap<Box<str>, Sequence>,
    /// Records that are to come.
    delayed: Vec<Bytes>,
    /// How often records were lost that were there: tails from before are broken.
    losses: u64,
    /// The time; `None` if that is the system's.
    now_ms: Option<u64>,
    faults: Faults,
    rng: StdRng,
}

impl MemoryEngine {
    /// Creates a log whose records have the system's time.
    pub(crate) fn new(epoch: FleetEpoch, seed: u64, faults: Faults) -> Arc<Self> {
        Self::with_time(epoch, seed, faults, None)
    }

    /// Creates a log whose time is `now_ms`, in milliseconds since 1970, and passes only in [`MemoryEngine::pass`].
    pub(crate) fn with_own_time(
        epoch: FleetEpoch,
        seed: u64,
        faults: Faults,
        now_ms: u64,
    ) -> Arc<Self> {
        Self::with_time(epoch, seed, faults, Some(now_ms))
    }

    fn with_time(epoch: FleetEpoch, seed: u64, faults: Faults, now_ms: Option<u64>) -> Arc<Self> {
        let contents = Contents {
            epoch,
            entries: VecDeque::new(),
            next: Sequence(1),
            last_at_ms: 0,
            by_id: HashMap::new(),
            delayed: Vec::new(),
            losses: 0,
            now_ms,
            faults,
            rng: StdRng::seed_from_u64(seed),
        };
        Arc::new(Self {
            contents: Mutex::new(contents),
            changed: Notify::new(),
        })
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // A test that has panicked says more than the others would about that.
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass, where the log has its own.
    pub(crate) fn pass(&self, ms: u64) {
        if let Some(now_ms) = &mut self.contents().now_ms {
            *now_ms += ms;
        }
    }

    /// Lets calls go wrong as often as that from now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        self.contents().faults = faults;
    }

    /// Loses the records behind `last`, as an engine does whose disk was put back.
    pub(crate) fn roll_back(&self, last: Sequence) {
        let mut contents = self.contents();
        contents.entries.retain(|entry| entry.sequence <= last);
        contents.by_id.retain(|_, sequence| *sequence <= last);
        contents.next = contents.next.min(Sequence(last.0 + 1));
        contents.losses += 1;
        drop(contents);
        self.wake_tails();
    }

    /// Replaces the log by an empty one, which was made with another epoch.
    pub(crate) fn make_anew(&self, epoch: FleetEpoch) {
        self.roll_back(Sequence(0));
        let mut contents = self.contents();
        contents.epoch = epoch;
        contents.last_at_ms = 0;
    }

    /// Lets the records go that are older than `ms`.
    pub(crate) fn keep_within(&self, ms: u64) {
        let mut contents = self.contents();
        let now_ms = contents.now_ms();
        while let Some(oldest) = contents.entries.front()
            && oldest.at_ms + ms < now_ms
        {
            contents.entries.pop_front();
        }
    }

    /// Forgets which ids there were, as engines do after some minutes.
    pub(crate) fn forget_ids(&self) {
        self.contents().by_id.clear();
    }

    /// Appends all records that are delayed.
    pub(crate) fn append_delayed(&self) {
        let mut contents = self.contents();
        for record in std::mem::take(&mut contents.delayed) {
            contents.push(record);
        }
        drop(contents);
        self.wake_tails();
    }

    pub(super) fn wake_tails(&self) {
        self.changed.notify_waiters();
    }

    pub(super) fn describe(&self) -> LogState {
        let contents = self.contents();
        let first = contents.entries.front();
        LogState {
            first: first.map_or(contents.next, |first| first.sequence),
            last: Sequence(contents.next.0 - 1),
            last_at_ms: contents.last_at_ms,
            epoch: contents.epoch,
            max_record: 1 << 20,
        }
    }

    pub(super) fn append(&self, id: &str, record: Bytes) -> Result<Sequence, LogError> {
        let mut contents = self.contents();
        let appended = contents.append(id, record);
        drop(contents);
        self.wake_tails();
        appended
    }

    /// Returns the record at `sequence`, if it is kept.
    pub(crate) fn entry(&self, sequence: Sequence) -> Option<LogEntry> {
        self.contents().entry(sequence).cloned()
    }

    /// Returns how often the log has lost records.
    pub(super) fn losses(&self) -> u64 {
        self.contents().losses
    }

    /// Returns the entry behind `last` for a tail that has begun after so many `losses`; `None` if it is not there yet.
    pub(super) fn read(&self, last: Sequence, losses: u64) -> Option<Result<LogEntry, LogError>> {
        let mut contents = self.contents();
        if contents.losses != losses {
            return Some(Err(unreachable("the log has lost records")));
        }
        if let Some(first) = contents.entries.front()
            && first.sequence.0 > last.0 + 1
        {
            return Some(Err(unreachable("the record is not kept any more")));
        }
        let broken = contents.faults.broken;
        let entry = contents.entry(Sequence(last.0 + 1))?.clone();
        if contents.happens(broken) {
            return Some(Err(unreachable("the tail is broken")));
        }
        Some(Ok(entry))
    }
}

impl Contents {
    fn happens(&mut self, of_thousand: u32) -> bool {
        of_thousand > 0 && self.rng.random_range(0..1000) < of_thousand
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.unwrap_or_else(|| {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            since.map_or(0, |since| {
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            })
        })
    }

    fn entry(&self, sequence: Sequence) -> Option<&LogEntry> {
        let first = self.entries.front()?.sequence;
        let index = sequence.0.checked_sub(first.0)?;
        self.entries.get(usize::try_from(index).ok()?)
    }

    fn append(&mut self, id: &str, record: Bytes) -> Result<Sequence, LogError> {
        let faults = self.faults;
        if !self.delayed.is_empty() && self.happens(200) {
            let index = self.rng.random_range(0..self.delayed.len());
            let record = self.delayed.swap_remove(index);
            self.push(record);
        }
        if self.happens(faults.lost) {
            return Err(unreachable("the record is lost"));
        }
        if self.happens(faults.delayed) {
            self.delayed.push(record);
            return Err(unreachable("the record is delayed"));
        }
        let is_doubled = self.happens(faults.doubled);
        let before = self.by_id.get(id).copied();
        let sequence = match before.filter(|_| !is_doubled) {
            Some(sequence) => sequence,
            None => {
                let sequence = self.push(record);
                self.by_id.insert(id.into(), sequence);
                sequence
            }
        };
        if self.happens(faults.unanswered) {
            return Err(unreachable("the answer is lost"));
        }
        Ok(sequence)
    }

    fn push(&mut self, bytes: Bytes) -> Sequence {
        let (sequence, at_ms) = (self.next, self.now_ms());
        self.entries.push_back(LogEntry {
            sequence,
            at_ms,
            bytes,
        });
        self.next = Sequence(sequence.0 + 1);
        self.last_at_ms = at_ms;
        sequence
    }
}
