//! Names of members on the shards that relay a channel, for its owner.

use std::rc::Rc;

use crate::channel::SessionId;
use crate::protocol::Cid;
use crate::shard::Shard;
use crate::shard::ids::{ChannelId, ShardId};
use crate::shard::message::Request;
use crate::shard::session::Session;
use crate::shard::turn;

/// Most members that one message names.
const MAX_MEMBERS: usize = 256;
/// Bytes of names that one message has, unless a single one is longer.
const MAX_BYTES: usize = 16 << 10;

/// Names of members on a relaying shard.
#[derive(Debug)]
pub(crate) struct NamedMembers {
    pub(in crate::shard) channel: ChannelId,
    pub(super) members: Vec<NamedMember>,
    /// The shard that has named them, once it has named all.
    pub(super) is_last_of: Option<ShardId>,
}

/// A member and its name.
#[derive(Debug)]
pub(super) struct NamedMember {
    pub(super) session: SessionId,
    pub(super) cid: Cid,
    pub(super) uid: Box<str>,
}

impl NamedMembers {
    pub(in crate::shard) fn weight(&self) -> usize {
        self.members.iter().map(|member| member.uid.len()).sum()
    }
}

impl Shard {
    /// Names the members here of a relayed channel to its owner, some at a time. Nobody who comes after this is named:
    /// the owner has seen them come.
    pub(in crate::shard) fn name_members(self: &Rc<Self>, channel: ChannelId) {
        let mut registry = self.registry.borrow_mut();
        let relay = registry
            .relay_of(channel)
            .and_then(|at| registry.relay_at(at));
        let members = relay.map(|relay| {
            let members = relay.local.iter().map(|(_, member)| member.handle.clone());
            members.collect()
        });
        drop(registry);
        let members: Vec<_> = members.unwrap_or_default();
        turn::spend_each(members.len());
        self.spawn(self.clone().name_some_by_some(channel, members));
    }

    async fn name_some_by_some(self: Rc<Self>, channel: ChannelId, members: Vec<Rc<Session>>) {
        let mut members = members.into_iter().peekable();
        loop {
            self.congestion.over().await;
            let (mut named, mut bytes) = (Vec::new(), 0);
            while named.len() < MAX_MEMBERS
                && bytes < MAX_BYTES
                && let Some(session) = members.next()
            {
                // The owner hears of those who have left before it hears of these.
                if session.key.get().is_some() {
                    bytes += session.uid.len();
                    named.push(NamedMember {
                        session: session.id,
                        cid: session.cid,
                        uid: session.uid.clone(),
                    });
                }
            }
            turn::spend_each(named.len());
            let is_last = members.peek().is_none();
            let named = NamedMembers {
                channel,
                members: named,
                is_last_of: is_last.then_some(self.id),
            };
            self.request(channel.owner, Request::Named(Box::new(named)));
            if is_last {
                return;
            }
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
    }
}
