//! The last frames of a channel, kept for members that join later.

#[cfg(feature = "server")]
mod keys;
mod saved;
mod since;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::memory::{Account, HistoryMemory};
use super::run::FrameRun;
use super::settings::ChannelSettings;
use crate::protocol::frames;
#[cfg(feature = "server")]
pub(crate) use keys::ClearedKeys;
pub use saved::HistoryRun;
pub use since::{Page, PageLimit};

/// Memory in bytes that a stored run costs besides its buffer: its entry, in a ring that doubles as it
/// grows, and the reference count and allocator header of the buffer.
const RUN_COST: usize = 192;
/// Runs up to this length are merged with their neighbours.
const SMALL: usize = 1 << 10;
/// So many neighbours become one run, and so many of these one in turn.
const MERGED: usize = 8;
/// Longest run that comes of merging, in bytes.
const LONGEST: usize = 64 << 10;
/// It is also no longer than such a part of `history_bytes`, as the oldest run gives up half of its frames at once
/// when that is reached, and its frames are no further apart than such a part of `history_age`.
const PARTS: u32 = 32;

/// Where a stored frame came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// A member published it here; that member may be a server for which this one is the upstream.
    #[default]
    Member,
    /// It came down from this server's upstream with that index.
    Upstream(u8),
}

impl Origin {
    /// Returns the index of the upstream that it came from.
    #[cfg(feature = "server")]
    pub(crate) fn upstream(self) -> Option<usize> {
        match self {
            Self::Member => None,
            Self::Upstream(index) => Some(index.into()),
        }
    }
}

/// A run in a history.
#[derive(Debug)]
struct Stored {
    run: FrameRun,
    /// When the first of its frames was stored.
    at: Instant,
    /// Where all of its frames came from.
    origin: Origin,
    /// How often its frames were merged.
    merges: u8,
    /// Offset of its last message; where the channel is not numbered it has no meaning. It stays true when frames at
    /// the front are dropped, and when runs are merged it is that of the last.
    end: u64,
}

impl Stored {
    fn cost(&self) -> usize {
        self.run.pinned() + RUN_COST
    }

    fn is_older(&self, age: Option<Duration>, now: Instant) -> bool {
        age.is_some_and(|age| now.duration_since(self.at) > age)
    }
}

/// A ring of runs, capped by frames, by bytes of memory, and by age.
///
/// The byte cap counts the memory that is kept alive, not the length of the
/// frames. Small runs are merged as they come: the cost of each, and the length of a joiner's queue, do not follow
/// from how a publisher cuts what it sends.
#[derive(Debug)]
pub struct History {
    /// Oldest first.
    runs: VecDeque<Stored>,
    /// Number of frames in all runs.
    frames: usize,
    /// Memory that the runs cost, in bytes.
    account: Account,
    /// Number of runs at the end are small, of one origin, and not merged yet.
    small: usize,
    /// Set where the offset of a message may be more than one above that of the message before: nothing is missing behind
    /// this offset.
    dropped_to: Option<u64>,
}

impl History {
    /// Creates an empty history that takes its part of `memory`.
    #[must_use]
    pub fn new(memory: HistoryMemory) -> Self {
        Self {
            runs: VecDeque::new(),
            frames: 0,
            account: Account::new(memory),
            small: 0,
            dropped_to: None,
        }
    }

    /// Stores the newest frames of `run` that the caps allow and lets the oldest go. When the memory of
    /// all histories is used up by frames, those are this history's.
    ///
    /// `end` is the offset of the last message in it, or of the last before it if it has none; anything if the
    /// channel is not numbered.
    pub fn push(
        &mut self,
        run: &FrameRun,
        origin: Origin,
        end: u64,
        now: Instant,
        settings: &ChannelSettings,
    ) {
        if settings.history_frames == 0 {
            self.has_dropped(end);
            return;
        }
        let run = run.clone();
        let stored = Stored {
            run,
            at: now,
            origin,
            merges: 0,
            end,
        };
        self.append(stored, settings);
        self.trim(now, settings);
    }

    /// Stores the newest frames of a run behind all others.
    fn append(&mut self, stored: Stored, settings: &ChannelSettings) {
        let mut stored = stored;
        let (origin, now) = (stored.origin, stored.at);
        let is_next = self.runs.back().is_some_and(|last| {
            let before = self.start_of(&stored, last.end);
            last.origin == origin && last.end == before
        });
        let run = &mut stored.run;
        let over = run.frames().saturating_sub(settings.history_frames);
        run.drop_front(over);
        let is_small = run.bytes().len() <= SMALL;
        if over > 0 && self.dropped_to.is_some() {
            self.has_dropped(stored.end - stored.run.messages() as u64);
        }
        self.small = match (is_small, is_next) {
            (true, true) => self.small + 1,
            (is_small, _) => usize::from(is_small),
        };
        let stored = self.count(stored);
        self.runs.push_back(stored);
        if self.small >= MERGED {
            self.small = 0;
            while self.merge_last(now, settings) {}
        }
    }

    /// Counts a run that is put in.
    fn count(&mut self, stored: Stored) -> Stored {
        self.frames += stored.run.frames();
        self.account.set(self.account.used() + stored.cost());
        stored
    }

    /// Counts a run that was taken out.
    fn discount(&mut self, stored: &Stored) {
        self.frames -= stored.run.frames();
        self.account.set(self.account.used() - stored.cost());
    }

    /// Merges the last runs into one. Returns `false` if they are not alike.
    fn merge_last(&mut self, now: Instant, settings: &ChannelSettings) -> bool {
        let Some(at) = self.runs.len().checked_sub(MERGED) else {
            return false;
        };
        let last = || self.runs.range(at..);
        let first = &self.runs[at];
        let (since, origin, merges) = (first.at, first.origin, first.merges);
        let end = self.runs.back().map_or(0, |last| last.end);
        let is_like = last().all(|run| run.origin == origin && run.merges == merges)
            && self.follow_one_another(at);
        let age = settings.history_age;
        let is_close = age.is_none_or(|age| now.duration_since(since) <= age / PARTS);
        let len: usize = last().map(|stored| stored.run.bytes().len()).sum();
        let frames: usize = last().map(|stored| stored.run.frames()).sum();
        let is_short = len <= LONGEST.min(settings.history_bytes / PARTS as usize)
            && frames <= settings.history_frames / MERGED;
        if !is_like || !is_close || !is_short {
            return false;
        }
        let mut bytes = Vec::with_capacity(len);
        for stored in self.runs.split_off(at) {
            bytes.extend_from_slice(stored.run.bytes());
            self.discount(&stored);
        }
        let frames = u32::try_from(frames).unwrap_or(u32::MAX);
        let merged = self.count(Stored {
            run: FrameRun::exact(bytes.into(), frames),
            at: since,
            origin,
            merges: merges + 1,
            end,
        });
        self.runs.push_back(merged);
        true
    }

    /// Returns `true` if the offsets of the runs from `at` on follow one another.
    fn follow_one_another(&self, at: usize) -> bool {
        let pairs = || self.runs.range(at..).zip(self.runs.range(at + 1..));
        self.dropped_to.is_none()
            || pairs().all(|(run, next)| self.start_of(next, run.end) == run.end)
    }

    /// Returns the frames that a member gets that joins now, oldest first.
    #[must_use]
    pub fn replay(&self, now: Instant, settings: &ChannelSettings) -> Vec<Bytes> {
        let age = settings.history_age;
        let young = self.runs.iter().filter(|run| !run.is_older(age, now));
        young.map(|stored| stored.run.bytes().clone()).collect()
    }

    /// Returns what is not too old to be replayed.
    fn young(
        &self,
        now: Instant,
        settings: &ChannelSettings,
    ) -> impl Iterator<Item = &Stored> + use<'_> {
        let age = settings.history_age;
        let runs = self.runs.iter();
        runs.filter(move |stored| !stored.is_older(age, now))
    }

    /// Returns the frames that a member would get one by one, each a slice of its run: to be looked at, not to be
    /// kept. See [`History::parts`] for that.
    pub fn entries(
        &self,
        now: Instant,
        settings: &ChannelSettings,
    ) -> impl Iterator<Item = (Bytes, Origin)> + use<'_> {
        self.young(now, settings).flat_map(|stored| {
            let run = stored.run.bytes();
            frames(run).map(|frame| (run.slice_ref(frame), stored.origin))
        })
    }

    /// Returns how many frames there are in [`History::entries`].
    #[cfg(feature = "server")]
    pub(crate) fn young_frames(&self, now: Instant, settings: &ChannelSettings) -> usize {
        if settings.history_age.is_none() {
            return self.frames;
        }
        let young = self.young(now, settings);
        young.map(|stored| stored.run.frames()).sum()
    }

    /// Returns the runs that a member would get, oldest first.
    pub(crate) fn runs(
        &self,
        now: Instant,
        settings: &ChannelSettings,
    ) -> impl Iterator<Item = (&FrameRun, Origin)> {
        let young = self.young(now, settings);
        young.map(|stored| (&stored.run, stored.origin))
    }

    /// Returns some of the frames in [`History::entries`], whose indices come in order, in as few pieces as there
    /// are gaps and runs. None keeps more than twice its length alive.
    pub fn parts(
        &self,
        now: Instant,
        settings: &ChannelSettings,
        indices: impl IntoIterator<Item = usize>,
    ) -> Vec<Bytes> {
        let mut indices = indices.into_iter().peekable();
        let (mut parts, mut here, mut first) = (Vec::new(), Vec::new(), 0);
        for (run, _) in self.runs(now, settings) {
            let end = first + run.frames();
            here.clear();
            while let Some(index) = indices.next_if(|&index| index < end) {
                here.push(index - first);
            }
            append_parts(&mut parts, run, &here);
            first = end;
        }
        parts.into_iter().map(FrameRun::into_bytes).collect()
    }

    /// Takes everything out. What is taken is still counted until it is dropped.
    pub(crate) fn take(&mut self) -> Self {
        let mut empty = Self::new(self.memory().clone());
        empty.dropped_to = self.dropped_to;
        empty.has_dropped(self.runs.back().map_or(0, |newest| newest.end));
        std::mem::replace(self, empty)
    }

    /// Drops the oldest runs, so many at most. Returns `false` when nothing is left.
    #[cfg(feature = "server")]
    pub(crate) fn drop_oldest_runs(&mut self, runs: usize) -> bool {
        for _ in 0..runs.min(self.runs.len()) {
            self.pop_run();
        }
        !self.is_empty()
    }

    /// Returns the number of frames that are kept.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Returns the bytes of memory that are counted.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.account.used()
    }

    /// Counts the bytes of memory anew, with a look at every run.
    #[must_use]
    pub fn recounted(&self) -> usize {
        self.runs.iter().map(Stored::cost).sum()
    }

    /// Returns `true` if nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Returns `true` if a member that joined now would get nothing.
    pub(super) fn is_spent(&self, now: Instant, settings: &ChannelSettings) -> bool {
        let newest = self.runs.back();
        newest.is_none_or(|newest| newest.is_older(settings.history_age, now))
    }

    /// Lets go what is over the caps or too old.
    pub fn trim(&mut self, now: Instant, settings: &ChannelSettings) {
        let is_old = |stored: &Stored| stored.is_older(settings.history_age, now);
        while self.runs.front().is_some_and(is_old) {
            self.pop_run();
        }
        while self.frames > settings.history_frames {
            self.drop_frames(self.frames - settings.history_frames);
        }
        let bytes = settings.history_bytes.min(self.account.allowed());
        while self.cost() > bytes {
            self.drop_bytes(self.cost() - bytes);
        }
    }

    /// Drops up to `n` frames of the oldest run.
    fn drop_frames(&mut self, n: usize) {
        if self.first_has(|run| run.frames() > n) {
            self.change_first(|run| run.drop_front(n));
        } else {
            self.pop_run();
        }
    }

    /// Lets go at least `n` bytes of the oldest run: what it keeps alive beyond its frames, or half of them in any
    /// case. The rest is copied, and all copies of a run together are not longer than twice the run.
    fn drop_bytes(&mut self, n: usize) {
        if !self.first_has(|run| run.pinned() > n) {
            return self.pop_run();
        }
        self.change_first(|run| {
            let len = run.bytes().len();
            let over = n.saturating_sub(run.pinned() - len);
            run.keep_last(if over == 0 {
                len
            } else {
                (len - over).min(len / 2)
            });
        });
        if self.first_has(|run| run.frames() == 0) {
            self.pop_run();
        }
    }

    fn first_has(&self, property: impl FnOnce(&FrameRun) -> bool) -> bool {
        self.runs.front().is_some_and(|first| property(&first.run))
    }

    /// Drops frames of the oldest run.
    fn change_first(&mut self, change: impl FnOnce(&mut FrameRun)) {
        if let Some(first) = self.runs.front_mut() {
            let (frames, cost) = (first.run.frames(), first.cost());
            change(&mut first.run);
            let dropped = frames - first.run.frames();
            self.frames -= dropped;
            self.account.set(self.account.used() - cost + first.cost());
            if dropped > 0 && self.dropped_to.is_some() {
                let end = first.end - first.run.messages() as u64;
                self.has_dropped(end);
            }
        }
    }

    fn pop_run(&mut self) {
        if let Some(first) = self.runs.pop_front() {
            self.discount(&first);
            self.has_dropped(first.end);
        }
    }

    /// Records, where offsets jump, that messages up to an offset are not kept.
    pub(in crate::channel) fn has_dropped(&mut self, end: u64) {
        if let Some(dropped_to) = &mut self.dropped_to {
            *dropped_to = end.max(*dropped_to);
        }
    }
}

/// Appends the frames of `run` with these indices. Of a run that is taken whole or not at all no frame is
/// looked at.
fn append_parts(parts: &mut Vec<FrameRun>, run: &FrameRun, indices: &[usize]) {
    if indices.is_empty() {
        return;
    }
    if indices.len() == run.frames() {
        let frames = u32::try_from(run.frames()).unwrap_or(u32::MAX);
        return parts.extend(run.part(0..run.bytes().len(), frames));
    }
    let mut indices = indices.iter().peekable();
    let (mut start, mut end, mut count) = (0, 0, 0);
    for (index, frame) in frames(run.bytes()).enumerate() {
        if indices.next_if_eq(&&index).is_some() {
            count += 1;
        } else {
            parts.extend(run.part(start..end, count));
            (start, count) = (end + frame.len(), 0);
        }
        end += frame.len();
    }
    parts.extend(run.part(start..end, count));
}
