//! A look at all channels of a shard, and at their members there, in steps.

use std::rc::Rc;

use super::super::ids::{ChannelId, Home};
use super::super::registry::{Registry, Relay};
use super::super::room::Room;
use super::super::session::Session;
use super::super::{Shard, turn};
use super::STEP;
use crate::channel::{Fanout, Member};

/// Units of a turn that a look at a channel costs.
const LOOKED_AT: u32 = 4;

/// A channel on a shard.
pub(super) enum SeenChannel<'a> {
    /// The shard owns it.
    Owned(&'a mut Room),
    /// Another shard does.
    Relayed(&'a mut Relay),
}

impl SeenChannel<'_> {
    pub(super) fn id(&self) -> ChannelId {
        match self {
            Self::Owned(room) => room.id,
            Self::Relayed(relay) => relay.id,
        }
    }

    pub(super) fn name(&self) -> &Rc<str> {
        match self {
            Self::Owned(room) => &room.name,
            Self::Relayed(relay) => &relay.name,
        }
    }

    pub(super) fn local(&self) -> &Fanout<Rc<Session>> {
        match self {
            Self::Owned(room) => &room.channel.local,
            Self::Relayed(relay) => &relay.local,
        }
    }
}

/// A visitor of channels.
pub(super) trait Visitor {
    /// A channel comes, and its members after it unless `false` is returned. It may come anew before its end, if it
    /// has taken the place of another between two steps.
    fn begin(&mut self, channel: &mut SeenChannel<'_>) -> bool;

    /// One of its members.
    fn member(&mut self, member: &Member<Rc<Session>>);

    /// All of its members have come.
    fn end(&mut self, channel: &mut SeenChannel<'_>);
}

/// A way through channels, and the place on it.
struct Walk<C> {
    channels: C,
    /// The channel of which some members have been looked at, and how many.
    begun: Option<(Home, ChannelId, usize)>,
}

impl Shard {
    /// Looks at all channels, step by step.
    pub(super) async fn visit_all(&self, visitor: &mut impl Visitor) {
        let (rooms, relays) = self.registry.borrow().ends();
        let rooms = (0..rooms).map(Home::Owned);
        self.visit(rooms.chain((0..relays).map(Home::Relayed)), visitor)
            .await;
    }

    /// Looks at the channels at these places, step by step.
    pub(super) async fn visit(
        &self,
        channels: impl Iterator<Item = Home>,
        visitor: &mut impl Visitor,
    ) {
        let mut walk = Walk {
            channels,
            begun: None,
        };
        while !walk.step(&mut self.registry.borrow_mut(), visitor) {
            self.rest().await;
        }
    }
}

impl<C: Iterator<Item = Home>> Walk<C> {
    /// Goes on for a step. Returns `true` at the end of the way.
    fn step(&mut self, registry: &mut Registry, visitor: &mut impl Visitor) -> bool {
        while turn::spent() < STEP {
            let home = match self.begun {
                Some((home, ..)) => home,
                None => match self.channels.next() {
                    Some(home) => home,
                    None => return true,
                },
            };
            turn::spend(LOOKED_AT);
            self.begun = match registry.seen(home) {
                Some(mut channel) => self.look(home, &mut channel, visitor),
                None => None,
            };
        }
        false
    }

    /// Looks at a channel. Returns where to go on in it; `None` when that is done.
    fn look(
        &self,
        home: Home,
        channel: &mut SeenChannel<'_>,
        visitor: &mut impl Visitor,
    ) -> Option<(Home, ChannelId, usize)> {
        let id = channel.id();
        let first = match self.begun {
            Some((_, begun, at)) if begun == id => at,
            _ if visitor.begin(channel) => 0,
            _ => return None,
        };
        for (at, member) in (first..).zip(channel.local().members_from(first)) {
            if turn::spent() >= STEP {
                return Some((home, id, at));
            }
            turn::spend(1);
            visitor.member(member);
        }
        visitor.end(channel);
        None
    }
}

impl Registry {
    /// Returns the numbers that all places of rooms, and of relays, are below.
    fn ends(&self) -> (u32, u32) {
        (self.rooms_end(), self.relays_end())
    }

    /// Returns the channel at a place.
    fn seen(&mut self, home: Home) -> Option<SeenChannel<'_>> {
        Some(match home {
            Home::Owned(at) => SeenChannel::Owned(self.room(at)?),
            Home::Relayed(at) => SeenChannel::Relayed(self.relay_at(at)?),
        })
    }
}
