//! Channels in an order, and what a shard knows of some of them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::Shard;
use super::super::ids::{ChannelId, ShardId};
use super::super::room::Room;
use super::super::session::Session;
use super::super::traffic::TrafficRates;
use super::ranking::{Cursor, Ranked, TopList};
use super::sessions::{SessionReport, rate_key, report};
use super::walk::{SeenChannel, Visitor};
use crate::channel::{ChannelSettings, Member};
use crate::protocol::Position;

/// An order of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelOrder {
    /// Those into which most messages are published in a second first.
    Rate,
    /// Those into which most bytes are published in a second first.
    Bytes,
    /// Those with most members first.
    Members,
    /// Those whose history takes most memory first.
    History,
    /// Those with most bytes queued on one shard first.
    Queued,
    /// By name.
    Name,
}

/// A question for channels.
#[derive(Debug)]
pub(crate) struct ChannelQuery {
    pub(crate) order: ChannelOrder,
    pub(crate) limit: usize,
    pub(crate) after: Option<Cursor<Box<str>>>,
}

/// State of a channel on one shard.
#[derive(Debug)]
pub(crate) struct ChannelPart {
    pub(crate) id: ChannelId,
    /// Bytes queued for the members on the shard.
    pub(crate) queued_bytes: u64,
    /// Members on the shard whose sockets are full.
    pub(crate) stalled: usize,
    /// The members on the shard with most bytes queued.
    pub(crate) slowest: Vec<Ranked<u64, SessionReport>>,
    /// Set by the owner.
    pub(crate) owned: Option<OwnedPart>,
}

/// State of a channel that only its owner has.
#[derive(Debug)]
pub(crate) struct OwnedPart {
    pub(crate) name: Box<str>,
    pub(crate) owner: ShardId,
    pub(crate) members: usize,
    pub(crate) rates: TrafficRates,
    /// Messages that were published since the channel was opened.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    pub(crate) history_messages: usize,
    pub(crate) history_bytes: usize,
    pub(crate) position: Option<Position>,
    /// Time since the last member left, or somebody without a seat used it.
    pub(crate) idle: Option<Duration>,
    /// Publishers that are remembered.
    pub(crate) publishers: usize,
    /// Set while its publishers wait for a member that is behind.
    pub(crate) is_paused: bool,
    pub(crate) settings: Arc<ChannelSettings>,
}

impl ChannelOrder {
    /// Returns the key of a channel that the shard owns: the larger, the earlier it comes.
    fn key(self, room: &Room) -> u64 {
        match self {
            Self::Rate => rate_key(room.traffic.rates().frames),
            Self::Bytes => rate_key(room.traffic.rates().bytes),
            Self::Members => room.channel.len() as u64,
            Self::History => room.channel.history().cost() as u64,
            Self::Queued | Self::Name => 0,
        }
    }
}

/// Looks for the first channels in an order.
struct ChannelRanker<'a> {
    query: &'a ChannelQuery,
    /// Bytes queued in the channel that is looked at.
    queued: u64,
    first: TopList<Box<str>, ChannelId>,
}

impl ChannelRanker<'_> {
    fn offer(&mut self, key: u64, channel: &SeenChannel<'_>) {
        let (name, id) = (channel.name(), channel.id());
        let make = || ((**name).into(), id);
        self.first.offer(key, &**name, make);
    }
}

impl Visitor for ChannelRanker<'_> {
    fn begin(&mut self, channel: &mut SeenChannel<'_>) -> bool {
        self.queued = 0;
        if self.query.order == ChannelOrder::Queued {
            return true;
        }
        if let SeenChannel::Owned(room) = channel {
            let key = self.query.order.key(room);
            self.offer(key, channel);
        }
        false
    }

    fn member(&mut self, member: &Member<Rc<Session>>) {
        self.queued += member.outbox.bytes() as u64;
    }

    fn end(&mut self, channel: &mut SeenChannel<'_>) {
        // Who relays a channel that has nothing queued need not name it.
        if self.queued > 0 || matches!(channel, SeenChannel::Owned(_)) {
            self.offer(self.queued, channel);
        }
    }
}

/// Describes one channel.
struct ChannelDescriber {
    shard: ShardId,
    now: Instant,
    slowest: usize,
    part: Option<ChannelPart>,
    first: TopList<u64, SessionReport>,
}

impl Visitor for ChannelDescriber {
    fn begin(&mut self, channel: &mut SeenChannel<'_>) -> bool {
        self.first = TopList::new(self.slowest, None);
        let owned = match channel {
            SeenChannel::Owned(room) => Some(owned_part(room, self.shard, self.now)),
            SeenChannel::Relayed(_) => None,
        };
        self.part = Some(ChannelPart {
            id: channel.id(),
            queued_bytes: 0,
            stalled: 0,
            slowest: Vec::new(),
            owned,
        });
        true
    }

    fn member(&mut self, member: &Member<Rc<Session>>) {
        let Some(part) = &mut self.part else {
            return;
        };
        let queued = member.outbox.bytes() as u64;
        part.queued_bytes += queued;
        part.stalled += usize::from(member.is_stalled());
        if queued > 0 {
            let (id, shard, now) = (member.session.0, self.shard.0, self.now);
            self.first
                .offer(queued, &id, || (id, report(member, shard, now)));
        }
    }

    fn end(&mut self, _: &mut SeenChannel<'_>) {}
}

impl Shard {
    /// Returns the channel of that name, if this shard owns it.
    pub(super) fn find_channel(&self, name: &str) -> Option<ChannelId> {
        let mut registry = self.registry.borrow_mut();
        let at = registry.find(name)?;
        registry.room(at).map(|room| room.id)
    }

    /// Returns the first channels in an order: of those that this shard owns, or, by what is queued, of those that have
    /// members here.
    pub(super) async fn rank_channels(
        &self,
        query: &ChannelQuery,
    ) -> Vec<Ranked<Box<str>, ChannelId>> {
        let mut ranker = ChannelRanker {
            query,
            queued: 0,
            first: TopList::new(query.limit, query.after.clone()),
        };
        self.visit_all(&mut ranker).await;
        ranker.first.into_sorted()
    }

    /// Returns what this shard knows of those channels that it has.
    pub(super) async fn describe_channels(
        &self,
        channels: &[ChannelId],
        slowest: usize,
    ) -> Vec<ChannelPart> {
        let mut parts = Vec::new();
        let mut describer = ChannelDescriber {
            shard: self.id,
            now: Instant::now(),
            slowest,
            part: None,
            first: TopList::new(slowest, None),
        };
        for &channel in channels {
            let Some(place) = self.place_of(channel) else {
                continue;
            };
            self.visit(std::iter::once(place), &mut describer).await;
            let slowest = std::mem::replace(&mut describer.first, TopList::new(slowest, None));
            parts.extend(describer.part.take().map(|part| ChannelPart {
                slowest: slowest.into_sorted(),
                ..part
            }));
        }
        parts
    }
}

fn owned_part(room: &Room, owner: ShardId, now: Instant) -> OwnedPart {
    let channel = &room.channel;
    let since = channel.idle_since();
    OwnedPart {
        name: (*room.name).into(),
        owner,
        members: channel.len(),
        rates: room.traffic.rates(),
        messages: room.traffic.frames(),
        bytes: room.traffic.bytes(),
        history_messages: channel.history().frames(),
        history_bytes: channel.history().cost(),
        position: channel.newest(),
        idle: since.map(|since| now.duration_since(since)),
        publishers: channel.publishers(),
        is_paused: room.pause.is_on(),
        settings: channel.settings().clone(),
    }
}
