//! The members of a channel that live on one shard, and what is queued for each.

#[cfg(feature = "server")]
mod rights;
mod slow;
mod watching;

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;

use super::encoding::{EncodedNotice, EncodedRun};
#[cfg(feature = "server")]
use super::encoding::{Encoding, NOTHING};
use super::member::{Member, SessionId};
use super::members::{MemberKey, Members};
use super::merger::Merger;
use super::numbered::Numbers;
#[cfg(feature = "server")]
use super::outbox::{Dropped, Outbox};
use super::resume::Resumed;
use super::run::FrameRun;
use super::settings::ChannelSettings;
#[cfg(feature = "server")]
use super::settings::SlowPolicy;
use crate::protocol::Notice;
pub use slow::{SlowReason, Verdict};

/// Bytes that may be delivered within one round of writes: half a full read of a publisher, so that whoever sends much waits after each. What is written to many members
/// should still be in the cache.
const AHEAD_BYTES: usize = 32 << 10;
/// Runs that may be delivered within one round, whatever their length: as many as one write takes.
const AHEAD_RUNS: usize = 64;

/// The members of a channel on one shard. `T` is what the caller needs to reach a member.
///
/// A fan-out decides and queues; it writes nothing and has no timer. The caller does that, in this order:
///
/// 1. It adds a member with [`insert`](Self::insert). Then it may queue the member's history with
///    [`replay`](Self::replay), before the next run is delivered.
/// 2. It feeds in each run with [`deliver`](Self::deliver), which queues it and lists members as dirty.
///    While [`is_pressed`](Self::is_pressed) it keeps the publishers of the channel from sending more.
/// 3. It takes dirty members with [`next_dirty`](Self::next_dirty), until there are none or its turn is over.
///    To each it writes from the [`outbox`](Member::outbox) and reports the bytes with
///    [`wrote`](Self::wrote). If the socket would take more than the caller wants to write now, it puts the
///    member back with [`mark_dirty`](Self::mark_dirty).
/// 4. If the socket is full, it says so with [`set_stalled`](Self::set_stalled) and calls
///    [`enforce`](Self::enforce). From then on it waits for the socket, but not beyond the
///    [`deadline`](Self::deadline), and calls `enforce` again at the deadline and whenever `next_dirty`
///    returns the stalled member. When all is written it takes the stall back.
/// 5. If the [`Verdict`] is to disconnect, or for any other reason, it takes the member out with
///    [`remove`](Self::remove).
#[derive(Debug)]
pub struct Fanout<T> {
    /// All members.
    members: Members<Member<T>>,
    /// Members for which something was queued and not yet tried to be written, in order.
    dirty: VecDeque<MemberKey>,
    /// The round of writes that is under way.
    round: Round,
    /// Number of members over the high-water mark.
    over: usize,
}

/// A round of writes: each member that is dirty when it begins is written to once before any is written to
/// again.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// Number of dirty members that are still to be written to.
    left: usize,
    /// Bytes delivered since the round began.
    bytes: usize,
    /// Number of runs delivered since the round began.
    runs: usize,
}

impl<T> Default for Fanout<T> {
    fn default() -> Self {
        Self {
            members: Members::default(),
            dirty: VecDeque::new(),
            round: Round::default(),
            over: 0,
        }
    }
}

impl<T> Fanout<T> {
    /// Adds a member, whose queue is made of frames. The first `skip` bytes of the next run are not for it.
    pub fn insert(&mut self, session: SessionId, handle: T, skip: u32) -> MemberKey {
        self.members.insert(Member::new(session, handle, skip))
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
            self.round = Round::default();
        }
        Some(member)
    }

    /// Returns the member at `key` if it is `session`.
    #[must_use]
    pub fn get(&self, key: MemberKey, session: SessionId) -> Option<&Member<T>> {
        self.members.get(key).filter(|m| m.session == session)
    }

    /// Returns the member at `key`, whoever it is.
    #[must_use]
    pub fn at(&self, key: MemberKey) -> Option<&Member<T>> {
        self.members.get(key)
    }

    /// Returns the number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns `true` if there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.len() == 0
    }

    /// Returns all members with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (MemberKey, &Member<T>)> {
        self.members.iter()
    }

    /// Returns `true` while publishers have to pause: a member is over its high-water mark, or writing
    /// to all members has not kept up with what was delivered.
    #[must_use]
    pub fn is_pressed(&self) -> bool {
        self.over > 0 || self.is_ahead()
    }

    /// Returns `true` if more was delivered since the round of writes began than may be.
    pub(crate) fn is_ahead(&self) -> bool {
        self.round.bytes > AHEAD_BYTES || self.round.runs > AHEAD_RUNS
    }

    /// Queues `runs`, as frames, for a member alone and outside the limits: its history, before anything is
    /// delivered to it, or to a member whose queue is made of frames at any time.
    pub fn replay(&mut self, key: MemberKey, runs: impl IntoIterator<Item = Bytes>) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        let before = member.outbox.cost();
        for run in runs {
            member.outbox.push_history(run, &mut member.form);
        }
        member.replay += member.outbox.cost() - before;
        if !member.dirty && !member.outbox.is_empty() {
            member.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Tells a member that has asked for positions what it is told first, and queues what it has missed, like
    /// [`replay`](Self::replay). From now on it gets notices where something is left out for it. `channel` is the name
    /// of the channel.
    ///
    /// Nothing may have been queued for it, and its encoding has to be one with notices.
    pub fn resume(
        &mut self,
        key: MemberKey,
        channel: &Rc<str>,
        resumed: &Resumed,
        missed: impl IntoIterator<Item = Bytes>,
    ) {
        if let Some(member) = self.members.get_mut(key) {
            let welcome = member.form.track(channel, resumed);
            debug_assert!(welcome.is_some(), "its encoding has notices");
            member.outbox.push(welcome.unwrap_or_default());
            member.replay += member.outbox.cost();
        }
        self.replay(key, missed);
    }

    /// Queues `run`, whose messages have these numbers, for every member but `except`. That one gets a receipt for
    /// it, if it has asked for positions. Returns the number of frames over all members.
    pub fn deliver(
        &mut self,
        run: &FrameRun,
        except: SessionId,
        numbers: Option<Numbers>,
    ) -> usize {
        if let Some(numbers) = numbers.filter(|numbers| numbers.jumps) {
            self.tell_jump(numbers, except);
        }
        let mut encoded = EncodedRun::new(run, numbers);
        let mut merger = Merger::default();
        let mut count = 0;
        for (key, member) in self.members.iter_mut() {
            if member.session == except {
                if numbers.is_some_and(|numbers| member.confirm(numbers, &mut merger))
                    && !std::mem::replace(&mut member.dirty, true)
                {
                    self.dirty.push_back(key);
                }
                continue;
            }
            let (bytes, frames) = match std::mem::take(&mut member.skip) {
                0 => encoded.get(member.form.encoding),
                skip => encoded.get_behind(skip as usize, member.form.encoding),
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
            self.round.bytes += run.bytes().len();
            self.round.runs += 1;
        }
        count
    }

    /// Tells those who count where the next run begins, which does not follow the one before. Its sender gets a receipt, which
    /// says so.
    #[cold]
    fn tell_jump(&mut self, numbers: Numbers, except: SessionId) {
        let notice = Notice::jump_to(numbers.before());
        let mut encoded = EncodedNotice::new(&notice);
        let mut merger = Merger::default();
        for (key, member) in self.members.iter_mut() {
            let Some(tracking) = &member.form.tracking else {
                continue;
            };
            if member.session == except || member.form.encoding.is_silent() {
                continue;
            }
            let notice = encoded.get(tracking);
            member.outbox.push_merging(notice, &mut merger);
            if !std::mem::replace(&mut member.dirty, true) {
                self.dirty.push_back(key);
            }
        }
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

    /// Returns `true` if a member is listed as dirty.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Returns the number of members that are listed as dirty.
    #[must_use]
    pub fn dirty_len(&self) -> usize {
        self.dirty.len()
    }

    /// Takes the next member off the list of dirty ones. It may have left since.
    pub fn next_dirty(&mut self) -> Option<MemberKey> {
        if self.round.left == 0 {
            self.round = Round {
                left: self.dirty.len(),
                ..Round::default()
            };
        }
        let key = self.dirty.pop_front()?;
        self.round.left -= 1;
        if self.dirty.is_empty() {
            self.round = Round::default();
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

    /// Records that `n` bytes were written to the member.
    pub fn wrote(&mut self, key: MemberKey, n: usize, now: Instant, settings: &ChannelSettings) {
        if let Some(member) = self.members.get_mut(key)
            && member.wrote(n, now, settings)
        {
            self.over -= 1;
        }
    }
}

/// Settings and queues of single members.
#[cfg(feature = "server")]
impl<T> Fanout<T> {
    /// Sets the encoding of a member's queue, before anything is queued.
    pub(crate) fn set_encoding(&mut self, key: MemberKey, encoding: &'static Encoding) {
        if let Some(member) = self.members.get_mut(key) {
            debug_assert!(member.outbox.is_empty(), "its encoding is chosen first");
            member.form.encoding = encoding;
        }
    }

    /// Gives a member a policy of its own, whatever the channel's is.
    pub(crate) fn set_policy(&mut self, key: MemberKey, policy: SlowPolicy) {
        if let Some(member) = self.members.get_mut(key) {
            member.policy = Some(policy);
        }
    }

    /// Drops all that is queued for a member, and queues nothing for it from now on: its connection takes nothing.
    pub(crate) fn mute(&mut self, key: MemberKey) -> Dropped {
        let Some(member) = self.members.get_mut(key) else {
            return Dropped::default();
        };
        let dropped = member.drop_all();
        (member.outbox, member.replay) = (Outbox::default(), 0);
        member.form = (&NOTHING).into();
        if member.over_since.take().is_some() {
            self.over -= 1;
        }
        dropped
    }

    /// Queues a notice for a member, if it has asked for positions. Returns `true` if it has.
    pub(crate) fn notify(&mut self, key: MemberKey, notice: &Notice) -> bool {
        let Some(member) = self.members.get_mut(key) else {
            return false;
        };
        let Some(tracking) = &member.form.tracking else {
            return false;
        };
        let notice = tracking.encode(notice);
        member.outbox.push(notice);
        self.mark_dirty(key);
        true
    }

    /// Leaves the first `bytes` bytes of the next run out for a member.
    pub(crate) fn skip_next(&mut self, key: MemberKey, bytes: usize) {
        if let Some(member) = self.members.get_mut(key) {
            member.skip = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
    }

    /// Returns the members from that place in their list on, to look at some of them at a time. When a member leaves,
    /// the last takes its place.
    pub(crate) fn members_from(&self, start: usize) -> impl Iterator<Item = &Member<T>> {
        self.members.from(start)
    }

    /// Has `write` write to the member, and records the bytes that it returns, as [`wrote`](Self::wrote) does. Returns the
    /// member as it is then; `None` if there is none.
    #[inline]
    pub(crate) fn write_with<E>(
        &mut self,
        key: MemberKey,
        now: Instant,
        settings: &ChannelSettings,
        write: impl FnOnce(&Member<T>) -> Result<usize, E>,
    ) -> Option<Result<&Member<T>, E>> {
        let member = self.members.get_mut(key)?;
        match write(member) {
            Ok(n) => {
                if member.wrote(n, now, settings) {
                    self.over -= 1;
                }
                Some(Ok(member))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Queues `run`, in the member's encoding, for it alone and within its limits.
    pub(crate) fn queue(&mut self, key: MemberKey, run: Bytes) {
        let Some(member) = self.members.get_mut(key) else {
            return;
        };
        member.outbox.push(run);
        self.mark_dirty(key);
    }
}
