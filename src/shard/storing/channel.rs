//! What the store has of one channel.

use std::rc::Rc;

use super::UnsavedChannels;
use super::introductions::Introductions;
use crate::shard::ids::ChannelId;
use crate::store::ChannelKey;

/// A channel that is kept on disk: its name there, and what of it is there.
#[derive(Debug)]
pub(in crate::shard) struct StoredChannel {
    pub(super) key: ChannelKey,
    id: ChannelId,
    /// Offset of the newest message that the store has, or had.
    pub(super) saved: u64,
    /// Offset of the oldest message that the store has.
    pub(super) first: u64,
    /// `true` while it is among those that are to be handed over.
    pub(super) is_marked: bool,
    /// `true` while it is among those that are handed over when there is time.
    pub(super) is_later: bool,
    pub(super) unsaved: Rc<UnsavedChannels>,
    /// Number of times that it was handed over.
    pub(super) handed_over: u64,
    /// Publishers that are counted anew, and not on disk as such.
    pub(super) introductions: Introductions,
}

impl StoredChannel {
    /// Creates the entry of a channel of which the store has nothing yet.
    pub(super) fn new(key: ChannelKey, id: ChannelId, unsaved: Rc<UnsavedChannels>) -> Self {
        Self {
            key,
            id,
            saved: 0,
            first: 0,
            is_marked: false,
            is_later: false,
            unsaved,
            handed_over: 0,
            introductions: Introductions::default(),
        }
    }

    /// Has the channel handed over with the next batch; where publishers wait for that, soon, as it is no run that they
    /// wait for.
    #[inline]
    pub(in crate::shard) fn mark(&mut self) {
        if self.unsaved.holds_runs {
            self.mark_later();
        } else {
            self.mark_next();
        }
    }

    /// Has the channel handed over with the next batch.
    #[inline]
    pub(in crate::shard) fn mark_next(&mut self) {
        if !self.is_marked {
            self.is_marked = true;
            self.unsaved.mark(self.id);
        }
    }

    fn mark_later(&mut self) {
        if !self.is_marked && !self.is_later {
            self.is_later = true;
            self.unsaved.mark_later(self.id);
        }
    }

    /// Returns `true` if the store has messages before the one at `oldest`.
    pub(super) fn has_before(&self, oldest: u64) -> bool {
        self.first < oldest && self.first <= self.saved
    }

    /// Has everything of the channel deleted.
    pub(super) fn forget(self) {
        self.unsaved.forget(self.key);
    }
}
