//! Channels that go on after a restart: what of them is saved, and how one is made of that.

use std::sync::Arc;
use std::time::Instant;

use super::history::{History, HistoryRun};
use super::numbered::Numbered;
use super::owner::Channel;
use super::publishers::{Published, PublisherId, Publishers};
use super::settings::ChannelSettings;
use crate::protocol::{Epoch, Position};

/// An order that ended, as a server could not know whether all of it was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastEpoch {
    /// Names the order.
    pub epoch: Epoch,
    /// Offset of the last message that is in this order and in the one that goes on from it.
    pub end: u64,
}

/// What a store keeps of a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavedPublisher {
    /// The messages of the publisher that have their place.
    pub published: Published,
    /// When it last published or left; `None` while it has a session.
    pub at: Option<Instant>,
}

/// A channel as it was saved.
#[derive(Debug)]
pub struct SavedState {
    /// The order in which its offsets count from now on.
    pub epoch: Epoch,
    /// The orders of which this one is the continuation, oldest first.
    pub past: Vec<PastEpoch>,
    /// Offset of the newest message.
    pub newest: u64,
    /// What is kept of its messages, oldest first. Their offsets follow one another without a gap, up to `newest`.
    pub runs: Vec<HistoryRun>,
    /// The publishers that are remembered.
    pub publishers: Vec<(PublisherId, SavedPublisher)>,
    /// When its last member left; `None` if it had some.
    pub idle_since: Option<Instant>,
}

/// Where a position is in the order of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Located {
    /// At this offset.
    At(u64),
    /// In another order, which has no more in common with this one than what is up to this offset.
    Behind(u64),
    /// It is not known what it has in common with this order.
    Unknown,
}

impl Numbered {
    /// Returns `true` if that is the position of the last message that this order has of another.
    pub(super) fn is_last_of_past(&self, position: Position) -> bool {
        let next = Position {
            offset: position.offset.saturating_add(1),
            ..position
        };
        position.epoch != self.epoch && matches!(self.locate(next), Located::Behind(_))
    }

    /// Finds the place of a position, which may be one of an order that this one goes on from.
    pub(super) fn locate(&self, position: Position) -> Located {
        let Position { epoch, offset } = position;
        if epoch == self.epoch {
            return if offset <= self.newest {
                Located::At(offset)
            } else {
                Located::Unknown
            };
        }
        let Some(at) = self.past.iter().position(|past| past.epoch == epoch) else {
            return Located::Unknown;
        };
        let ends = self.past[at..].iter().map(|past| past.end);
        let end = ends.fold(self.newest, u64::min);
        if offset <= end {
            Located::At(offset)
        } else {
            Located::Behind(end)
        }
    }
}

impl<T> Channel<T> {
    /// Creates a channel without members that goes on from what was saved, as far as `settings` and the memory of
    /// `history`, which is empty, allow. Changes of its publishers are recorded: see
    /// [`Channel::take_changed_publishers`].
    #[must_use]
    pub fn restore(
        settings: Arc<ChannelSettings>,
        history: History,
        saved: SavedState,
        now: Instant,
    ) -> Self {
        let mut channel = Self::new(settings, history, now);
        let mut publishers = Publishers::new(channel.history.memory());
        publishers.record_changes();
        for run in saved.runs {
            channel.history.restore(run, now, &channel.settings);
        }
        let mut by_age = saved.publishers;
        by_age.sort_by_key(|(_, publisher)| publisher.at.unwrap_or(now));
        for (id, SavedPublisher { published, at }) in by_age {
            publishers.restore(id, published, at.unwrap_or(now));
        }
        let forgotten = publishers.keep_within_limits(now, &channel.settings);
        let forgotten = forgotten + publishers.keep_within_memory();
        channel.idle_since = Some(saved.idle_since.unwrap_or(now));
        let mut numbered = Numbered::new(saved.epoch, saved.newest, publishers);
        numbered.past = saved.past.into();
        numbered.forgotten = forgotten;
        channel.numbered = Some(Box::new(numbered));
        channel
    }

    /// Records from now on which publishers change, if the channel is [numbered](Channel::number). All that are
    /// remembered count as changed.
    pub fn record_changes(&mut self) {
        if let Some(numbered) = &mut self.numbered {
            numbered.publishers.record_changes();
            for publisher in numbered.seated.ids() {
                numbered.publishers.changed(publisher);
            }
        }
    }

    /// Records no longer which publishers change, as nobody takes them any more.
    pub fn ignore_changes(&mut self) {
        if let Some(numbered) = &mut self.numbered {
            numbered.publishers.ignore_changes();
        }
    }

    /// Returns the orders of which this one is the continuation, oldest first.
    #[must_use]
    pub fn past_epochs(&self) -> &[PastEpoch] {
        self.numbered
            .as_ref()
            .map_or(&[], |numbered| &numbered.past)
    }

    /// Returns the offset of the oldest message that is kept; if there is none, that of the next to come.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        let newest = self.newest().map_or(0, |newest| newest.offset);
        self.history.oldest().unwrap_or(newest + 1)
    }

    /// Returns what follows the message at `offset`, as far as it is kept, whatever its age. A run that was merged of
    /// messages before it and behind it is cut.
    #[must_use]
    pub fn unsaved(&self, offset: u64) -> Vec<HistoryRun> {
        self.history.behind(offset)
    }

    /// Returns the publishers that have changed since this was asked last, each with what is to be kept of it: `None`
    /// for those that are forgotten. None if changes are not [recorded](Channel::record_changes).
    pub fn take_changed_publishers(&mut self) -> Vec<(PublisherId, Option<SavedPublisher>)> {
        let Some(numbered) = &mut self.numbered else {
            return Vec::new();
        };
        let changed = numbered.publishers.take_changed().into_iter();
        let changed = changed.map(|id| (id, numbered.saved_publisher(id)));
        changed.collect()
    }

    /// Records that what is known of publishers has to be saved, though it has not changed since it was taken: that could
    /// not be saved, or never was.
    pub fn mark_publishers_changed(&mut self, ids: impl IntoIterator<Item = PublisherId>) {
        if let Some(numbered) = &mut self.numbered {
            for id in ids {
                numbered.publishers.changed(id);
            }
        }
    }
}

impl Numbered {
    fn saved_publisher(&self, id: PublisherId) -> Option<SavedPublisher> {
        let seated = self.seated.published_by(id);
        let seated = seated.map(|published| (published, None));
        let known = || {
            let (published, at) = self.publishers.known(id)?;
            Some((published, Some(at)))
        };
        let (published, at) = seated.or_else(known)?;
        Some(SavedPublisher { published, at })
    }
}
