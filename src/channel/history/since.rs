//! What of a history follows an offset.

use std::time::Instant;

use super::{History, Stored};
use crate::channel::memory::HistoryMemory;
use crate::channel::run::FrameRun;
use crate::channel::settings::ChannelSettings;

/// Bounds of a page of messages.
#[derive(Clone, Copy, Debug)]
pub struct PageLimit {
    /// Most messages.
    pub messages: usize,
    /// Most bytes of frames. One message is given however long it is.
    pub bytes: usize,
}

/// Messages behind an offset, as far as they are kept and the page has room for them.
#[derive(Debug)]
pub struct Page {
    /// Runs with the offset of the first message of each, in order.
    pub runs: Vec<(u64, FrameRun)>,
    /// Number of messages in all of them.
    pub messages: u64,
    /// Number of messages behind the offset that are not kept any more; the page begins behind them. `None` if that is not
    /// known, as offsets jump.
    pub missed: Option<u64>,
    /// Offset of the last message in the page; where there is none, of the newest.
    pub last: u64,
}

impl History {
    /// Numbers the messages that are kept, of a channel in which nobody has asked for positions before: the oldest
    /// has the offset 1. Returns the offset of the newest. Every frame is looked at.
    pub(in crate::channel) fn number(&mut self) -> u64 {
        let mut newest = 0;
        for stored in &mut self.runs {
            newest += stored.run.messages() as u64;
            stored.end = newest;
        }
        newest
    }

    /// Has offsets jump from now on: nothing is missing behind `offset`.
    pub(in crate::channel) fn begin_jumping(&mut self, offset: u64) {
        self.dropped_to = Some(offset);
    }

    /// Returns the offset up to which messages are gone once this history is, where offsets jump; 0 elsewhere.
    #[cfg(feature = "server")]
    pub(in crate::channel) fn gone_to(&self) -> u64 {
        let newest = self.runs.back().map_or(0, |newest| newest.end);
        self.dropped_to
            .map_or(0, |dropped_to| dropped_to.max(newest))
    }

    /// Returns `true` if offsets jump.
    pub(in crate::channel) fn jumps(&self) -> bool {
        self.dropped_to.is_some()
    }

    /// Returns the memory of which the history takes its part.
    pub(in crate::channel) fn memory(&self) -> HistoryMemory {
        self.account.memory().clone()
    }

    /// Returns what follows the message at `offset`, where the newest has the offset `newest`. Of the runs that are
    /// taken whole no frame is looked at.
    #[must_use]
    pub fn since(
        &self,
        offset: u64,
        newest: u64,
        limit: PageLimit,
        now: Instant,
        settings: &ChannelSettings,
    ) -> Page {
        let is_old = |stored: &Stored| stored.is_older(settings.history_age, now);
        let young = self.runs.partition_point(is_old);
        let at = young.max(self.runs.partition_point(|stored| stored.end <= offset));
        let mut page = Page {
            runs: Vec::new(),
            messages: 0,
            missed: match self.dropped_to {
                None => Some(newest.saturating_sub(offset)),
                Some(dropped) => (offset >= dropped.max(self.end_of_old(young))).then_some(0),
            },
            last: newest,
        };
        let (mut before, mut bytes) = (self.end_before(at), 0);
        let mut messages = 0;
        for stored in self.runs.range(at..) {
            before = self.start_of(stored, before);
            let first = offset.max(before) + 1;
            let skip = narrow(first - 1 - before);
            before = stored.end;
            if stored.end < first {
                continue;
            }
            let wanted = narrow(stored.end + 1 - first).min(limit.messages - messages);
            let room = limit.bytes.saturating_sub(bytes);
            let is_whole = skip == 0
                && wanted as u64 == stored.end + 1 - first
                && stored.run.bytes().len() <= room;
            let part = if is_whole {
                Some((stored.run.clone(), wanted))
            } else {
                stored.run.messages_behind(skip, wanted, room)
            };
            // Of a run that comes later not even the first message goes beyond the bound.
            let is_over = |run: &FrameRun| messages > 0 && run.bytes().len() > room;
            let Some((run, taken)) = part.filter(|(run, _)| !is_over(run)) else {
                break;
            };
            if messages == 0 && self.dropped_to.is_none() {
                page.missed = Some(first - 1 - offset);
            }
            messages += taken;
            bytes += run.bytes().len();
            page.last = first - 1 + taken as u64;
            page.runs.push((first, run));
            if page.last < stored.end || messages == limit.messages {
                break;
            }
        }
        page.messages = messages as u64;
        page
    }

    /// Returns the offset before the first message of a run, where the run before it ends at `before`.
    pub(super) fn start_of(&self, stored: &Stored, before: u64) -> u64 {
        match self.dropped_to {
            None => before,
            Some(_) => stored.end - stored.run.messages() as u64,
        }
    }

    /// Returns the offset of the last message that is too old to be replayed, where so many runs are; 0 if there is none.
    fn end_of_old(&self, runs: usize) -> u64 {
        let last = runs.checked_sub(1);
        last.map_or(0, |last| self.runs[last].end)
    }

    /// Returns the offset of the last message before the run at `at`.
    pub(super) fn end_before(&self, at: usize) -> u64 {
        match (at.checked_sub(1), self.runs.front()) {
            (Some(before), _) => self.runs[before].end,
            // Messages at its front may have been dropped.
            (None, Some(first)) => first.end - first.run.messages() as u64,
            (None, None) => 0,
        }
    }
}

fn narrow(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
