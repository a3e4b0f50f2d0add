//! What of a history is saved, and put back.

use std::time::Instant;

use super::{History, Origin, Stored};
use crate::channel::run::FrameRun;
use crate::channel::settings::ChannelSettings;

/// A run of a history, to be saved or put back.
#[derive(Clone, Debug)]
pub struct HistoryRun {
    /// Its frames.
    pub run: FrameRun,
    /// Offset of its last message.
    pub end: u64,
    /// Number of messages in it.
    pub messages: u32,
    /// When the first of its frames was stored.
    pub at: Instant,
    /// Where all of its frames came from.
    pub origin: Origin,
}

impl History {
    /// Stores a run that was saved behind those that were put back before it, as far as the caps allow.
    pub(in crate::channel) fn restore(
        &mut self,
        saved: HistoryRun,
        now: Instant,
        settings: &ChannelSettings,
    ) {
        if settings.history_frames == 0 {
            return;
        }
        let HistoryRun {
            run,
            end,
            at,
            origin,
            ..
        } = saved;
        let merges = 0;
        let stored = Stored {
            run,
            at,
            origin,
            merges,
            end,
        };
        self.append(stored, settings);
        self.trim(now, settings);
    }

    /// Returns the offset of the oldest message; `None` if there is none. The frames of one run are looked at.
    pub(in crate::channel) fn oldest(&self) -> Option<u64> {
        let oldest = self.end_before(0) + 1;
        let newest = self.runs.back()?.end;
        (oldest <= newest).then_some(oldest)
    }

    /// Returns the runs behind the message at `offset` that have messages. The frames of one run are looked at, or of two.
    pub(in crate::channel) fn behind(&self, offset: u64) -> Vec<HistoryRun> {
        let at = self.runs.partition_point(|stored| stored.end <= offset);
        let mut before = self.end_before(at);
        let mut runs = Vec::with_capacity(self.runs.len() - at);
        for stored in self.runs.range(at..) {
            let skip = usize::try_from(offset.saturating_sub(before)).unwrap_or(usize::MAX);
            let whole = u32::try_from(stored.end - before).unwrap_or(u32::MAX);
            before = stored.end;
            if whole == 0 {
                continue;
            }
            let part = if skip == 0 {
                Some((stored.run.clone(), whole))
            } else {
                let cut = stored.run.messages_behind(skip, usize::MAX, usize::MAX);
                cut.map(|(run, messages)| (run, u32::try_from(messages).unwrap_or(u32::MAX)))
            };
            runs.extend(part.map(|(run, messages)| HistoryRun {
                run,
                end: stored.end,
                messages,
                at: stored.at,
                origin: stored.origin,
            }));
        }
        runs
    }
}
