//! What the publishers of a channel have brought into its order, so that a message which is published again is
//! not there twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use super::memory::{Account, HistoryMemory};
use super::settings::ChannelSettings;

/// Memory in bytes that a publisher costs: its entries in a table and in a tree, both of which are partly empty.
const COST: usize = 192;

/// Names a publisher to the channel that it publishes to: a random number, or a keyed hash of what names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublisherId(pub u64);

/// Messages of one publisher that have taken their place in a channel's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Number of messages that have their place.
    pub count: u64,
    /// Offset of the first of those that came first, together.
    pub first: u64,
    /// Offset of the last of those that came first, together.
    pub first_end: u64,
    /// Offset of the newest message of the channel when counting began.
    pub since: u64,
}

impl Published {
    /// Counts messages that have the offsets from `first` to `last`.
    pub(crate) fn add(&mut self, (first, last): (u64, u64)) {
        if self.count == 0 {
            (self.first, self.first_end) = (first, last);
        }
        self.count += last + 1 - first;
    }
}

/// What is remembered of one publisher.
#[derive(Debug)]
struct Known {
    published: Published,
    /// Hash of what it published first, if that is known.
    content: Option<u64>,
    /// When it last published.
    at: Instant,
    /// Its key in `Publishers::by_age`.
    serial: u64,
}

/// The publishers that a channel remembers: so many, for so long, as far as the memory of histories reaches.
///
/// Who is forgotten is unknown from then on. Nothing is guessed.
#[derive(Debug)]
pub struct Publishers {
    known: HashMap<PublisherId, Known>,
    /// The one that has been silent for longest comes first.
    by_age: BTreeMap<u64, PublisherId>,
    next_serial: u64,
    /// Memory that they cost, in bytes.
    account: Account,
    /// Those of whom something else is known since they were taken last, where that is recorded.
    #[allow(
        clippy::box_collection,
        reason = "a channel in memory pays for a pointer, not for a table"
    )]
    changed: Option<Box<HashSet<PublisherId>>>,
}

impl Publishers {
    /// Creates an empty list that takes its part of `memory`.
    #[must_use]
    pub fn new(memory: HistoryMemory) -> Self {
        Self {
            known: HashMap::new(),
            by_age: BTreeMap::new(),
            next_serial: 0,
            account: Account::new(memory),
            changed: None,
        }
    }

    /// Records from now on which publishers change. All that are remembered count as changed.
    pub(super) fn record_changes(&mut self) {
        let changed = self.known.keys().copied().collect();
        self.changed = Some(Box::new(changed));
    }

    /// Records no longer which publishers change.
    pub(super) fn ignore_changes(&mut self) {
        self.changed = None;
    }

    /// Records that something else is known of `publisher`.
    pub(super) fn changed(&mut self, publisher: PublisherId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(publisher);
        }
    }

    /// Takes those that have changed.
    pub(super) fn take_changed(&mut self) -> HashSet<PublisherId> {
        let changed = self.changed.as_deref_mut();
        changed.map(std::mem::take).unwrap_or_default()
    }

    /// Returns what `publisher` has published, and when it last did, however long ago.
    pub(super) fn known(&self, publisher: PublisherId) -> Option<(Published, Instant)> {
        let known = self.known.get(&publisher)?;
        Some((known.published, known.at))
    }

    /// Returns what `publisher` has published; `None` if it is not known, or not any more.
    #[must_use]
    pub fn get(
        &self,
        publisher: PublisherId,
        now: Instant,
        settings: &ChannelSettings,
    ) -> Option<Published> {
        let known = self.known.get(&publisher)?;
        let is_young = now.duration_since(known.at) <= settings.publishers_age;
        is_young.then_some(known.published)
    }

    /// Remembers the hash of what a publisher that is known has published.
    pub(super) fn remember_content(&mut self, publisher: PublisherId, content: u64) {
        if let Some(known) = self.known.get_mut(&publisher) {
            known.content = Some(content);
        }
    }

    /// Returns `true` if a publisher is known to have published something else than what has this hash.
    pub(super) fn is_other_content(&self, publisher: PublisherId, content: u64) -> bool {
        let known = self.known.get(&publisher);
        let before = known.and_then(|known| known.content);
        before.is_some_and(|before| before != content)
    }

    /// Remembers what a publisher has published. Returns how many publishers were forgotten before their time, because
    /// there may not be more.
    pub fn remember(
        &mut self,
        publisher: PublisherId,
        published: Published,
        now: Instant,
        settings: &ChannelSettings,
    ) -> usize {
        self.forget(publisher);
        self.changed(publisher);
        self.trim(now, settings);
        if settings.publishers_limit == 0 {
            return 0;
        }
        self.restore(publisher, published, now);
        self.forget_while(|publishers| publishers.known.len() > settings.publishers_limit)
    }

    /// Remembers a publisher that is not known and last published at `at`. Those that were silent for longer come
    /// first.
    pub(super) fn restore(&mut self, publisher: PublisherId, published: Published, at: Instant) {
        self.next_serial += 1;
        let serial = self.next_serial;
        let known = Known {
            published,
            content: None,
            at,
            serial,
        };
        self.known.insert(publisher, known);
        self.by_age.insert(serial, publisher);
        self.account.set(self.cost());
    }

    /// Forgets those that have been silent for too long, and the oldest of those that are too many. Returns how many were
    /// too many.
    pub(super) fn keep_within_limits(&mut self, now: Instant, settings: &ChannelSettings) -> usize {
        self.trim(now, settings);
        self.forget_while(|publishers| publishers.known.len() > settings.publishers_limit)
    }

    /// Forgets what `publisher` has published, and returns it; `None` if it is not known, or not any more.
    pub(super) fn take(
        &mut self,
        publisher: PublisherId,
        now: Instant,
        settings: &ChannelSettings,
    ) -> Option<Published> {
        let published = self.get(publisher, now, settings);
        self.forget(publisher);
        published
    }

    /// Forgets the oldest until the others fit into the memory. Returns how many were forgotten.
    pub fn keep_within_memory(&mut self) -> usize {
        self.forget_while(|publishers| publishers.account.used() > publishers.account.allowed())
    }

    /// Forgets those that have been silent for too long.
    pub fn trim(&mut self, now: Instant, settings: &ChannelSettings) {
        while let Some((_, &oldest)) = self.by_age.first_key_value()
            && self.get(oldest, now, settings).is_none()
        {
            self.forget(oldest);
        }
        self.give_back();
    }

    /// Forgets the oldest while there are too many. Returns how many were forgotten.
    fn forget_while(&mut self, are_too_many: impl Fn(&Self) -> bool) -> usize {
        let before = self.known.len();
        while are_too_many(self)
            && let Some((_, &oldest)) = self.by_age.first_key_value()
        {
            self.forget(oldest);
        }
        before - self.known.len()
    }

    fn forget(&mut self, publisher: PublisherId) {
        if let Some(known) = self.known.remove(&publisher) {
            self.by_age.remove(&known.serial);
            self.account.set(self.cost());
            self.changed(publisher);
        }
    }

    /// Returns the memory of a crowd that was forgotten.
    fn give_back(&mut self) {
        if self.known.capacity() > 4 * self.known.len().max(16) {
            self.known.shrink_to(2 * self.known.len());
        }
    }

    /// Returns how many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns `true` if none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Returns the bytes of memory that are counted.
    #[must_use]
    pub fn cost(&self) -> usize {
        self.known.len() * COST
    }
}
