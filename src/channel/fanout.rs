//! The members of a channel that live on one shard, and what is queued for each.

use std::collections::VecDeque;
use std::time::Instant;

use super::encoding::{EncodedRun, Encoding, FRAMES};
use super::members::{MemberKey, Members};
use super::outbox::{Dropped, Merger, Outbox};
use super::run::FrameRun;
use super::settings::{ChannelSettings, SlowPolicy};

/// Identifies one session for the lifetime of a broker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

impl SessionId {
    /// No session: nobody is left out of a fan-out.
    pub const NONE: Self = Self(0);
}

/// Why a member has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowReason {
    /// More than `queue_bytes` were queued for it besides its history.
    QueueFull,
    /// Its socket took nothing for `write_deadline`.
    NoProgress,
    /// It held the channel's publishers back for `write_deadline`.
    HeldBack,
}

/// What enforcing the policy came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The member is within its limits, or is being waited for.
    Keep,
    /// These frames were dropped from its queue.
    Dropped(Dropped),
    /// The member has to be disconnected.
    Disconnect(SlowReason),
}

/// Kept only for a member whose socket is full.
#[derive(Clone, Copy, Debug)]
struct Stall {
    /// When its socket last took something.
    progress: Instant,
}

/// One member.
#[derive(Debug)]
pub struct Member<T> {
    /// Its session.
    pub session: SessionId,
    /// What the caller needs to reach it.
    pub handle: T,
    /// What is queued for it.
    pub outbox: Outbox,
    /// What of the outbox's cost is its history's. It does not count against its limits: how much
    /// history there is says nothing about how fast it is.
    replay: usize,
    /// Bytes of the next run that are not for it: announcements from before it joined.
    skip: u32,
    dirty: bool,
    /// What its queue is made of.
    encoding: &'static Encoding,
    /// What happens to it when it is slow, if that is not what the channel's settings say.
    policy: Option<SlowPolicy>,
    stall: Option<Stall>,
    /// Since when it has been over the high-water mark (backpressure only).
    over_since: Option<Instant>,
}

impl<T> Member<T> {
    /// Whether its socket is full and a task of its own waits for it.
    #[must_use]
    pub fn is_stalled(&self) -> bool {
        self.stall.is_some()
    }

    /// What its queue is made of.
    #[must_use]
    pub fn encoding(&self) -> &'static Encoding {
        self.encoding
    }

    /// Drops what is queued for it, but for the rest of a unit that is partly written.
    pub fn drop_all(&mut self) -> Dropped {
        self.outbox.drop_oldest(0, self.encoding)
    }

    /// What is queued besides its history, see [`Outbox::cost`].
    fn live_cost(&self) -> usize {
        self.outbox.cost() - self.replay
    }
}

/// Bytes that may be delivered while not every member has been written to since the last round: half a
/// full read of a publisher, so that who sends much waits after each. What is written to many members
/// should still be in the cache.
const AHEAD_BYTES: usize = 32 << 10;
/// Runs that may be, whatever their length: as many as one write takes.
const AHEAD_RUNS: usize = 64;

/// Members on one shard. `T` is what the caller needs to reach a member.
///
/// How it is used: [`Fanout::insert`] adds a member, [`Fanout::replay`] queues its history, and
/// [`Fanout::deliver`] queues a run for all. The caller then takes members out of
/// [`Fanout::next_dirty`] one by one, writes to each what its socket takes and says so with
/// [`Fanout::wrote`]; a member of which not all could be written is either put back with
/// [`Fanout::mark_dirty`], or its socket is full: [`Fanout::set_stalled`], then [`Fanout::enforce`],
/// and again whenever it comes out of `next_dirty` while it is stalled.
#[derive(Debug)]
pub struct Fanout<T> {
    members: Members<Member<T>>,
    /// Members with something queued that was not yet tried to be written, in order.
    dirty: VecDeque<MemberKey>,
    /// How many of these are left of the round that is under way: each is written to once before any
    /// is written to again.
    left_in_round: usize,
    /// Bytes and runs delivered since that round began.
    ahead: (usize, usize),
    /// Members over the high-water mark.
    over: usize,
}

impl<T> Default for Fanout<T> {
    fn default() -> Self {
        Self {
            members: Members::default(),
            dirty: VecDeque::new(),
            left_in_round: 0,
            ahead: (0, 0),
            over: 0,
        }
    }
}

impl<T> Fanout<T> {
    /// Adds a member. The first `skip` bytes of the next run are not for it.
    pub fn insert(&mut self, session: SessionId, handle: T, skip: u32) -> MemberKey {
        let member = Member {
            session,
            handle,
            outbox: Outbox::default(),
            replay: 0,
            skip,
            dirty: false,
            encoding: &FRAMES,
            policy: None,
            stall: None,
            over_since: None,
        };
        self.members.insert(member)
    }

    /// Says what a member's queue is made of, before anything is queued. Frames, if it is not said.
    pub fn set_encoding(&mut self, key: MemberKey, encoding: &'static Encoding) {
        if let Some(member) = self.members.get_mut(key) {
            debug_assert!(member.outbox.is_empty(), "the form is chosen first");
            member.encoding = encoding;
        }
    }

    /// Gives a member a policy of its own, whatever the channel's is.
    pub fn set_policy(&mut self, key: MemberKey, policy: SlowPolicy) {
        if let Some(member) = self.members.get_mut(key) {
            member.policy = Some(policy);
        }
    }

    /// Removes a member; `None` when `key` is not (or no longer) that of `session`.
    pub fn remove(&mut self, key: MemberKey, session: SessionId) -> Option<Member<T>> {
        self.get(key, session)?;
        let member = self.members.remove(key)?;
        if member.over_since.is_some() {
            self.over -= 1;
        }
        if self.is_empty() {
            self.dirty = VecDeque::new();
            self.left_in_round = 0;
            self.ahead = (0, 0);
        }
        Some(member)
    }

    /// The member at `key` if it is `session`.
    #[must_use]
    pub fn get(&self, key: MemberKey, session: SessionId) -> Option<&Member<T>> {
        self.members.get(key).filter(|m| m.session == session)
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    /// Returns `true` while publishers have to pause: a member is over its high-water mark, or writing
    /// to all members has not kept up with what was delivered.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.over > 0 || self.is_ahead()
    }

    /// Returns `true` if more was delivered since the round of writes began than may be.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        let (bytes, runs) = self.ahead;
        bytes > AHEAD_BYTES || runs > AHEAD_RUNS
    }

    /// All members with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (MemberKey, &Member<T>)> {
        self.members.iter()
    }

    /// Queues `run` for everyone but `except`, and returns how many frames that is over all members.
    pub fn deliver(&mut self, run: &FrameRun, except: SessionId) -> usize {
        let mut encoded = EncodedRun::new(run);
        let mut merger = Merger::default();
        let mut count = 0;
        for (key, member) in self.members.iter_mut() {
            if member.session == except {
                continue;
            }
            let (bytes, frames) = match std::mem::take(&mut member.skip) {
                0 => encoded.get(member.encoding),
                skip => encoded.get_behind(skip as usize, member.encoding),
            };
            if bytes.is_empty() {
                continue;
            }
            member.outbox.push_merging(bytes, &mut merger);
            count += frames as usize;
            if !member.dirty {
                member.dirty = true;
                self.dirty.push_back(key);
            }
        }
        if !self.dirty.is_empty() {
            self.ahead.0 += run.bytes().len();
            self.ahead.1 += 1;
        }
        count
    }

    /// Records that the member's socket took something at `now` that [`Fanout::wrote`] was not told.
    pub fn progressed(&mut self, key: MemberKey, now: Instant) {
        let member = self.members.get_mut(key);
        if let Some(stall) = member.and_then(|member| member.stall.as_mut()) {
            stall.progress = stall.progress.max(now);
        }
    }

    /// Queues `runs`, as frames, for a member alone and outside the limits: its history, before anything is
    /// delivered to it, or to a member whose queue is made of frames at any time.
    pub fn replay(&mut self, key: MemberKey, runs: impl IntoIterator<Item = bytes::Bytes>) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        let before = member.outbox.cost();
        for run in runs {
            member.outbox.push_history(run, member.encoding);
        }
        member.replay += member.outbox.cost() - before;
        if !member.dirty && !member.outbox.is_empty() {
            member.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Leaves the first `bytes` bytes of the next run out for a member.
    #[cfg(feature = "server")]
    pub(crate) fn skip_next(&mut self, key: MemberKey, bytes: usize) {
        if let Some(member) = self.members.get_mut(key) {
            member.skip = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
    }

    /// Queues `run`, in the member's encoding, for it alone and within its limits.
    #[cfg(feature = "server")]
    pub(crate) fn queue(&mut self, key: MemberKey, run: bytes::Bytes) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        member.outbox.push(run);
        self.mark_dirty(key);
    }

    /// Lists a member as dirty again: not all that is queued for it could be written.
    pub fn mark_dirty(&mut self, key: MemberKey) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        if !std::mem::replace(&mut member.dirty, true) {
            self.dirty.push_back(key);
        }
    }

    /// Returns `true` if a member has something queued that was not yet tried to be written.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the next member out that has something queued which was not yet tried to be written. It
    /// may have left since.
    pub fn next_dirty(&mut self) -> Option<MemberKey> {
        if self.left_in_round == 0 {
            self.left_in_round = self.dirty.len();
            self.ahead = (0, 0);
        }
        let key = self.dirty.pop_front()?;
        self.left_in_round -= 1;
        if self.dirty.is_empty() {
            self.ahead = (0, 0);
            // The list of a crowd that has left is not kept.
            if self.dirty.capacity() > 16 * self.len().max(64) {
                self.dirty = VecDeque::new();
            }
        }
        if let Some(member) = self.members.get_mut(key) {
            member.dirty = false;
        }
        Some(key)
    }

    /// The member at `key`, whoever it is.
    #[must_use]
    pub fn at(&self, key: MemberKey) -> Option<&Member<T>> {
        self.members.get(key)
    }

    /// Records that `n` bytes were written to the member.
    pub fn wrote(&mut self, key: MemberKey, n: usize, now: Instant, settings: &ChannelSettings) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        let before = member.outbox.cost();
        member.outbox.advance(n, member.encoding);
        let written = before - member.outbox.cost();
        member.replay = member.replay.saturating_sub(written);
        if let Some(stall) = &mut member.stall {
            stall.progress = now;
        }
        if member.over_since.is_some() && member.live_cost() <= low_water(settings) {
            member.over_since = None;
            self.over -= 1;
        }
    }

    /// Records that the member's socket is full (`true`) or that all was written (`false`).
    /// Returns whether that is news.
    pub fn set_stalled(&mut self, key: MemberKey, stalled: bool, now: Instant) -> bool {
        let Some(member) = self.members.get_mut(key) else {
            return false;
        };
        let news = member.stall.is_some() != stalled;
        if news {
            member.stall = stalled.then_some(Stall { progress: now });
        }
        news
    }

    /// When the member has to be disconnected if nothing changes; `None` while it is not stalled.
    #[must_use]
    pub fn deadline(&self, key: MemberKey, settings: &ChannelSettings) -> Option<Instant> {
        let member = self.members.get(key)?;
        let mut since = member.stall?.progress;
        if let Some(over) = member.over_since {
            since = since.min(over);
        }
        Some(since + settings.write_deadline)
    }

    /// Applies the policy to a member that was found over its limit, or whose deadline came.
    pub fn enforce(&mut self, key: MemberKey, now: Instant, settings: &ChannelSettings) -> Verdict {
        let is_overdue = self
            .deadline(key, settings)
            .is_some_and(|deadline| now >= deadline);
        let Some(member) = self.members.get_mut(key) else {
            return Verdict::Keep;
        };
        if is_overdue {
            return Verdict::Disconnect(match member.over_since {
                Some(_) => SlowReason::HeldBack,
                None => SlowReason::NoProgress,
            });
        }
        let policy = member.policy.unwrap_or(settings.slow_policy);
        if member.live_cost() <= high_water(policy, settings) {
            return Verdict::Keep;
        }
        match policy {
            SlowPolicy::Disconnect => Verdict::Disconnect(SlowReason::QueueFull),
            SlowPolicy::DropOldest => {
                // What is left of the history fits the limit now.
                member.replay = 0;
                Verdict::Dropped(
                    member
                        .outbox
                        .drop_oldest(settings.queue_bytes, member.encoding),
                )
            }
            SlowPolicy::Backpressure => {
                if member.over_since.is_none() {
                    member.over_since = Some(now);
                    self.over += 1;
                }
                Verdict::Keep
            }
        }
    }
}

/// Queued bytes from which on the policy acts.
fn high_water(policy: SlowPolicy, settings: &ChannelSettings) -> usize {
    match policy {
        SlowPolicy::Backpressure => settings.queue_bytes / 2,
        SlowPolicy::Disconnect | SlowPolicy::DropOldest => settings.queue_bytes,
    }
}

/// Queued bytes at which held-back publishers may go on.
fn low_water(settings: &ChannelSettings) -> usize {
    settings.queue_bytes / 4
}
