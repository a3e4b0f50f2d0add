//! One channel, as its owning shard sees it: who is in it, in which order, and what it remembers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::announcements::Announcements;
use super::fanout::Fanout;
#[cfg(feature = "server")]
use super::history::ClearedKeys;
use super::history::{History, Origin};
use super::member::{Member, SessionId};
use super::members::MemberKey;
use super::numbered::{Numbered, Numbers};
use super::resume::Resumed;
use super::run::FrameRun;
use super::settings::ChannelSettings;
use crate::protocol::Cid;

/// Where a member's connection lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the owning shard.
    Local(MemberKey),
    /// On the shard with this index.
    Relay(u16),
}

/// A session in the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The session that holds the seat.
    pub session: SessionId,
    /// Where the connection lives.
    pub place: Place,
    /// `true` once the client has closed its sending side. It still receives, but gives way to a new
    /// session with its connection id: most such clients are gone altogether.
    pub half_closed: bool,
}

/// The connection id is taken by a live session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CidInUse;

/// A seat that was given up.
#[derive(Debug)]
pub struct FreedSeat<T> {
    /// The seat.
    pub seat: Seat,
    /// The member, if it was local.
    pub member: Option<Member<T>>,
}

/// Outcome of a successful join.
#[derive(Debug)]
pub struct Joined<T> {
    /// History for the new member, oldest first; what is published from now on follows it.
    pub replay: Vec<Bytes>,
    /// Set if it has asked for positions: the history is then what follows the one that it knows.
    pub resumed: Option<Resumed>,
    /// Bytes at the start of the next run that are not for the new member.
    pub skip: u32,
    /// The half-closed session whose connection id it took over, already removed; disconnect it.
    pub replaced: Option<FreedSeat<T>>,
}

impl<T> Joined<T> {
    /// Takes the history out of it, for a member that has no right to it. One that has come back is told how much it
    /// does not get.
    #[cfg(feature = "server")]
    pub(crate) fn withhold_history(&mut self, is_back: bool) {
        self.replay = Vec::new();
        if let Some(Resumed { welcome, .. }) = &mut self.resumed {
            let withheld = std::mem::take(&mut welcome.replay);
            welcome.start = welcome.start.map(|_| welcome.position);
            if is_back {
                welcome.missed = welcome.missed.map(|missed| missed + withheld);
                welcome.recovered = welcome.missed == Some(0);
            }
        }
    }
}

/// Outcome of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Number of frames that were queued over all members on this shard.
    pub deliveries: usize,
    /// The numbers of the run's messages, if the channel is numbered.
    pub numbers: Option<Numbers>,
}

/// A channel: connection ids, one order, history, and the members that live on this shard.
///
/// The order is the order of the calls to [`Channel::commit`]: whatever is passed to it goes to
/// the local members, into the history, and, by the caller, to each shard of [`Channel::relays`], through
/// queues that keep it.
#[derive(Debug)]
pub struct Channel<T> {
    /// The members on this shard: those with a seat, and links to an upstream, which have none.
    pub local: Fanout<T>,
    /// The settings that its name has.
    pub(super) settings: Arc<ChannelSettings>,
    /// The seats of its members on all shards, by connection id.
    seats: HashMap<Cid, Seat>,
    /// Number of seats whose sessions are half-closed.
    half_closed: usize,
    /// Number of members on each other shard; shards without one are left out.
    relays: Vec<(u16, u32)>,
    /// The newest frames, for members that join later.
    pub(super) history: History,
    /// Announcements of joins that are not committed yet.
    announcements: Announcements,
    /// When its last member left, or somebody without a seat last used it; `None` while it has members.
    pub(super) idle_since: Option<Instant>,
    /// The numbers of its messages, once somebody has asked for a position.
    pub(super) numbered: Option<Box<Numbered>>,
}

impl<T> Channel<T> {
    /// Creates an empty channel that keeps what is stored in `history`.
    #[must_use]
    pub fn new(settings: Arc<ChannelSettings>, history: History, now: Instant) -> Self {
        Self {
            local: Fanout::default(),
            settings,
            seats: HashMap::new(),
            half_closed: 0,
            relays: Vec::new(),
            history,
            announcements: Announcements::default(),
            idle_since: Some(now),
            numbered: None,
        }
    }

    /// Returns the settings of the channel.
    #[must_use]
    pub fn settings(&self) -> &Arc<ChannelSettings> {
        &self.settings
    }

    /// Gives the channel other settings. What it keeps beyond them goes at once. Returns `true` if they are new.
    #[cfg(feature = "server")]
    pub(crate) fn set_settings(&mut self, settings: Arc<ChannelSettings>, now: Instant) -> bool {
        if self.settings == settings {
            return false;
        }
        self.local.policy_changed(&settings);
        self.settings = settings;
        self.trim(now);
        true
    }

    /// Returns the local members, and the settings that go with them.
    pub fn local_and_settings(&mut self) -> (&mut Fanout<T>, &Arc<ChannelSettings>) {
        (&mut self.local, &self.settings)
    }

    /// Returns the number of members on all shards.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seats.len()
    }

    /// Returns `true` if the channel has no members on any shard.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Returns `true` if it has members and all of them are half-closed.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        !self.is_empty() && self.half_closed == self.seats.len()
    }

    /// Returns `true` if a session with that connection id is in the channel.
    #[cfg(feature = "server")]
    pub(crate) fn has_seat(&self, cid: Cid) -> bool {
        self.seats.contains_key(&cid)
    }

    /// Returns the seat of the session with that connection id.
    #[cfg(feature = "server")]
    pub(crate) fn seat(&self, cid: Cid) -> Option<&Seat> {
        self.seats.get(&cid)
    }

    /// Returns `true` if a live session has that connection id: one that would not give way to another.
    #[cfg(feature = "server")]
    pub(crate) fn is_taken(&self, cid: Cid) -> bool {
        self.seats.get(&cid).is_some_and(|seat| !seat.half_closed)
    }

    /// Returns the other shards that have members.
    pub fn relays(&self) -> impl Iterator<Item = u16> + '_ {
        self.relays.iter().map(|&(shard, _)| shard)
    }

    /// Returns the history of the channel.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Puts zeros in the place of the session keys of some runs in the history; see [`History::clear_keys`].
    #[cfg(feature = "server")]
    pub(crate) fn clear_keys(&mut self, left: usize) -> ClearedKeys {
        self.history.clear_keys(left)
    }

    /// Takes the history out: members that join later get what is published from now on. Numbers go on, so whoever
    /// comes back with a position is told how many messages are missing.
    #[cfg(feature = "server")]
    pub(crate) fn take_history(&mut self) -> History {
        self.history.take()
    }

    /// Takes a seat for `cid`. For a local member `place` makes its entry in [`Channel::local`], told how
    /// many bytes of the next run to skip; it is called only if the join succeeds.
    ///
    /// An `announcement` is collected and reaches the others with what [`Channel::take_collected`] returns next.
    /// A join that publishes has none: commit what was collected first, then join, then [`Channel::commit`] its
    /// frame.
    ///
    /// # Errors
    ///
    /// The connection id belongs to another session that is not half-closed.
    pub fn join(
        &mut self,
        cid: Cid,
        session: SessionId,
        announcement: Option<&[u8]>,
        now: Instant,
        place: impl FnOnce(&mut Fanout<T>, u32) -> Place,
    ) -> Result<Joined<T>, CidInUse> {
        let mut joined = self.join_without_history(cid, session, announcement, now, place)?;
        joined.replay = self.history.replay(now, &self.settings);
        Ok(joined)
    }

    /// Takes a seat like [`Channel::join`], for a session that is told in another way what it lacks of
    /// the history.
    ///
    /// # Errors
    ///
    /// The connection id belongs to another session that is not half-closed.
    pub(crate) fn join_without_history(
        &mut self,
        cid: Cid,
        session: SessionId,
        announcement: Option<&[u8]>,
        now: Instant,
        place: impl FnOnce(&mut Fanout<T>, u32) -> Place,
    ) -> Result<Joined<T>, CidInUse> {
        let replaced = match self.seats.get(&cid) {
            Some(seat) if !seat.half_closed => return Err(CidInUse),
            Some(&seat) => Some(self.free_seat(cid, seat, now)),
            None => None,
        };
        if let (Some(frame), false) = (announcement, self.is_empty()) {
            self.announcements.push(frame);
        }
        let skip = self.announcements.pending();
        let place = place(&mut self.local, skip);
        if let Place::Relay(shard) = place {
            match self.relays.iter_mut().find(|(s, _)| *s == shard) {
                Some((_, members)) => *members += 1,
                None => self.relays.push((shard, 1)),
            }
        }
        self.seats.insert(
            cid,
            Seat {
                session,
                place,
                half_closed: false,
            },
        );
        self.idle_since = None;
        Ok(Joined {
            replay: Vec::new(),
            resumed: None,
            skip,
            replaced,
        })
    }

    /// Gives up the seat of `cid`; `None` if it is not `session`'s.
    pub fn leave(&mut self, cid: Cid, session: SessionId, now: Instant) -> Option<FreedSeat<T>> {
        let seat = *self.seats.get(&cid).filter(|s| s.session == session)?;
        let freed = self.free_seat(cid, seat, now);
        self.begin_idle(now);
        Some(freed)
    }

    /// Gives up all seats.
    #[cfg(feature = "server")]
    pub(crate) fn free_all_seats(&mut self, now: Instant) -> Vec<FreedSeat<T>> {
        let seats: Vec<_> = self.seats.iter().map(|(&cid, &seat)| (cid, seat)).collect();
        let freed = seats
            .into_iter()
            .map(|(cid, seat)| self.free_seat(cid, seat, now));
        let freed = freed.collect();
        self.begin_idle(now);
        freed
    }

    fn begin_idle(&mut self, now: Instant) {
        if self.is_empty() && self.idle_since.is_none() {
            self.announcements.take();
            self.seats = HashMap::new();
            self.idle_since = Some(now);
        }
    }

    /// Records that the client of `cid` has closed its sending side.
    pub fn half_close(&mut self, cid: Cid, session: SessionId) {
        if let Some(seat) = self.seats.get_mut(&cid).filter(|s| s.session == session) {
            self.half_closed += usize::from(!seat.half_closed);
            seat.half_closed = true;
        }
    }

    fn free_seat(&mut self, cid: Cid, seat: Seat, now: Instant) -> FreedSeat<T> {
        self.seats.remove(&cid);
        self.unseat_publisher(seat.session, now);
        self.half_closed -= usize::from(seat.half_closed);
        let member = match seat.place {
            Place::Local(key) => self.local.remove(key, seat.session),
            Place::Relay(shard) => {
                if let Some(at) = self.relays.iter().position(|&(s, _)| s == shard) {
                    self.relays[at].1 -= 1;
                    if self.relays[at].1 == 0 {
                        self.relays.swap_remove(at);
                    }
                }
                None
            }
        };
        FreedSeat { seat, member }
    }

    /// Returns `true` if announcements wait to be delivered.
    #[must_use]
    pub fn has_collected(&self) -> bool {
        self.announcements.pending() > 0
    }

    /// Takes the announcements collected so far. They have to be committed before anything else is.
    pub fn take_collected(&mut self) -> Option<FrameRun> {
        self.announcements.take()
    }

    /// Gives `run` the next place in the channel's order: numbers its messages, if somebody has asked for positions,
    /// queues it for the local members but `from`, and stores what is to be `stored` of it, with its origin. What is
    /// not stored has no messages: `stored` is all of `run` but for hints of presence.
    ///
    /// The caller commits what [`Channel::take_collected`] returns first, and sends the same runs, in the same
    /// order, to each of [`Channel::relays`].
    pub fn commit(
        &mut self,
        run: &FrameRun,
        from: SessionId,
        stored: Option<(&FrameRun, Origin)>,
        now: Instant,
    ) -> Committed {
        debug_assert!(!self.has_collected(), "announcements go first");
        let numbered = self.numbered.as_mut();
        let numbers = numbered.map(|numbered| numbered.advance(stored.map(|(run, _)| run), from));
        let deliveries = self.local.deliver(run, from, numbers);
        if let Some((run, origin)) = stored {
            let end = numbers.map_or(0, |numbers| numbers.newest);
            self.history.push(run, origin, end, now, &self.settings);
        }
        Committed {
            deliveries,
            numbers,
        }
    }

    /// Lets go what of the history is too old.
    pub fn trim(&mut self, now: Instant) {
        self.history.trim(now, &self.settings);
        if let Some(numbered) = &mut self.numbered {
            numbered.publishers.trim(now, &self.settings);
        }
    }

    /// Returns since when nobody is in it.
    #[cfg(feature = "server")]
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    /// Returns `true` if the channel may be freed: nobody is in it, not even without a seat, and there is
    /// nothing to replay or it has been idle for too long. One that has given out a position is kept as one with
    /// a history is: who comes back with that position should not be told that all is gone where nothing is missing.
    #[must_use]
    pub fn is_expired(&self, now: Instant) -> bool {
        let Some(since) = self.idle_since.filter(|_| self.local.is_empty()) else {
            return false;
        };
        let is_spent = self.numbered.is_none() && self.history.is_spent(now, &self.settings);
        is_spent || now.duration_since(since) >= self.settings.idle_ttl
    }
}
