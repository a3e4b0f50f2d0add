//! Sessions in an order.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::super::Shard;
use super::super::expiry::Expiry;
use super::super::ids::{ChannelId, Home};
use super::super::pause::Pause;
use super::super::session::{Role, Session, SessionPhase};
use super::ranking::{Cursor, Ranked, TopList};
use super::walk::{SeenChannel, Visitor};
use crate::channel::Member;

/// An order of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionOrder {
    /// Those with most bytes queued first.
    Queued,
    /// Those that publish most messages in a second first.
    Rate,
    /// The oldest first.
    Age,
}

/// A question for sessions.
#[derive(Debug)]
pub(crate) struct SessionQuery {
    pub(crate) order: SessionOrder,
    pub(crate) limit: usize,
    pub(crate) after: Option<Cursor<u64>>,
    /// Only those in this channel.
    pub(crate) channel: Option<ChannelId>,
    /// Only those of this uid.
    pub(crate) uid: Option<String>,
}

/// A session as it was when somebody looked.
#[derive(Clone, Debug)]
pub(crate) struct SessionReport {
    pub(crate) uid: Box<str>,
    pub(crate) channel: Box<str>,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) transport: &'static str,
    pub(crate) role: &'static str,
    /// Name of the key that it has proved.
    pub(crate) key: Option<Box<str>>,
    pub(crate) phase: &'static str,
    pub(crate) shard: u16,
    pub(crate) age: Duration,
    pub(crate) queued_bytes: usize,
    /// Time for which its socket has taken nothing; `None` while it takes all.
    pub(crate) stalled: Option<Duration>,
    /// Set while it is kept from publishing, as a member of its channel is behind.
    pub(crate) is_paused: bool,
    /// Set if it has asked for positions.
    pub(crate) has_positions: bool,
    /// When it ends by its token; `None` if it has not joined with one.
    pub(crate) expires: Option<SystemTime>,
    /// Messages that it has published.
    pub(crate) published: u64,
    /// Messages that it publishes in a second.
    pub(crate) rate: f32,
}

impl SessionOrder {
    /// Returns the key of a member: the larger, the earlier it comes.
    fn key(self, member: &Member<Rc<Session>>) -> u64 {
        match self {
            Self::Queued => member.outbox.bytes() as u64,
            Self::Rate => rate_key(member.handle.traffic.rates().frames),
            // Ids are given in the order of joins.
            Self::Age => u64::MAX - member.session.0,
        }
    }
}

/// Returns a rate as a key.
pub(super) fn rate_key(rate: f32) -> u64 {
    // Rates are never negative, and what is cut off does not matter.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is a small number"
    )]
    let key = (rate * 1000.0) as u64;
    key
}

/// Looks for the first sessions in an order.
struct SessionRanker<'a> {
    query: &'a SessionQuery,
    shard: u16,
    now: Instant,
    first: TopList<u64, SessionReport>,
}

impl Visitor for SessionRanker<'_> {
    fn begin(&mut self, channel: &mut SeenChannel<'_>) -> bool {
        self.query.channel.is_none_or(|only| only == channel.id())
    }

    fn member(&mut self, member: &Member<Rc<Session>>) {
        let uid = self.query.uid.as_deref();
        if uid.is_some_and(|uid| *uid != *member.handle.uid) {
            return;
        }
        let (id, shard, now) = (member.session.0, self.shard, self.now);
        self.first.offer(self.query.order.key(member), &id, || {
            (id, report(member, shard, now))
        });
    }

    fn end(&mut self, _: &mut SeenChannel<'_>) {}
}

impl Shard {
    /// Returns the first sessions on this shard in an order.
    pub(super) async fn rank_sessions(
        &self,
        query: &SessionQuery,
    ) -> Vec<Ranked<u64, SessionReport>> {
        let mut ranker = SessionRanker {
            query,
            shard: self.id.0,
            now: Instant::now(),
            first: TopList::new(query.limit, query.after.clone()),
        };
        match query.channel {
            Some(channel) => {
                let place = self.place_of(channel);
                self.visit(place.into_iter(), &mut ranker).await;
            }
            None => self.visit_all(&mut ranker).await,
        }
        ranker.first.into_sorted()
    }

    /// Returns the place that a channel has on this shard, if it has one.
    pub(super) fn place_of(&self, channel: ChannelId) -> Option<Home> {
        let mut registry = self.registry.borrow_mut();
        if channel.owner == self.id {
            return registry
                .room_of(channel)
                .map(|_| Home::Owned(channel.index));
        }
        registry.relay_of(channel).map(Home::Relayed)
    }
}

/// Describes a member's session.
pub(super) fn report(member: &Member<Rc<Session>>, shard: u16, now: Instant) -> SessionReport {
    let session = &member.handle;
    let traffic = &session.traffic;
    SessionReport {
        uid: session.uid.clone(),
        channel: (*session.channel).into(),
        address: session.peer,
        transport: session.transport.name(),
        role: match session.role {
            Role::Client => "client",
            Role::Downstream => "downstream",
            Role::Upstream => "upstream",
        },
        key: session.rights.borrow().key_name().map(Into::into),
        phase: match session.phase.get() {
            SessionPhase::Joined => "joined",
            SessionPhase::HalfClosed => "half_closed",
            SessionPhase::Unwritable => "unwritable",
            SessionPhase::Finishing => "finishing",
            SessionPhase::Over => "over",
        },
        shard,
        age: now.duration_since(session.joined_at),
        queued_bytes: member.outbox.bytes(),
        stalled: member
            .stalled_since()
            .map(|since| now.duration_since(since)),
        is_paused: Pause::is_on(&session.pause),
        has_positions: member.has_positions(),
        expires: session.expiry.borrow().as_deref().map(Expiry::at),
        published: traffic.frames(),
        rate: traffic.rates().frames,
    }
}
