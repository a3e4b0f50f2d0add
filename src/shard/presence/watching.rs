//! Telling the sessions that watch who comes into a channel and leaves it.
//!
//! A session that asks for members gets the list behind its welcome: at once in a quiet channel, else with the next
//! news. From then on it gets the changes, collected for `presence_interval` and made once for all who watch. News are a
//! message in their queues like any other. On other shards they come behind the adoption of who waits for the list, so
//! the list and the changes follow one another without a gap or an overlap.
//!
//! Who is too slow for some of the news gets nothing more of them, and the list anew once it has caught up.
//!
//! News have at most as many names as a list. What there is no room for comes with the next; the count is right in each.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::Presence;
use crate::channel::{MemberKey, MemberNews, NameLimit, PendingChanges, SessionId};
use crate::shard::ids::{ChannelId, Home, ShardId};
use crate::shard::message::{Delivery, Request};
use crate::shard::room::Room;
use crate::shard::session::Session;
use crate::shard::{Shard, turn};

/// The sessions that watch a channel, and what they have still to be told.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    /// By session: the shard that it is on, if that is not this one.
    places: HashMap<SessionId, Option<ShardId>>,
    /// Most names that any of those wants who wait for the list; `None` if nobody does.
    list: Option<usize>,
    /// The changes that those who have the list have not been told.
    pub(super) changes: PendingChanges,
    /// When they were last told something.
    told_at: Option<Instant>,
    /// When they are to be told next.
    due: Option<Instant>,
}

impl Watchers {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Has the list made for somebody who waits for it.
    fn want_list(&mut self, names: usize) {
        if !self.is_empty() {
            self.list = self.list.max(Some(names));
        }
    }

    /// Forgets a session that has left. Returns `true` if it was the last one that has watched.
    pub(super) fn leave(&mut self, session: SessionId) -> bool {
        let is_last = self.places.remove(&session).is_some() && self.is_empty();
        if is_last {
            self.list = None;
            self.changes.clear();
        }
        is_last
    }

    /// Returns the other shards that have some of them.
    fn shards(&self) -> Vec<ShardId> {
        turn::spend_each(self.places.len() / 8);
        let mut shards = Vec::new();
        for shard in self.places.values().flatten() {
            if !shards.contains(shard) {
                shards.push(*shard);
            }
        }
        shards
    }
}

impl Shard {
    /// Has a session that has just joined watch who is there. It wants `names` names at most in the list.
    pub(in crate::shard) fn watch_members(
        &self,
        at: u32,
        session: SessionId,
        relay: Option<ShardId>,
        names: u64,
    ) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let to_ask = room.know_members();
        if let Some(presence) = &mut room.presence {
            let watchers = &mut presence.watchers;
            watchers.places.insert(session, relay);
            watchers.want_list(usize::try_from(names).unwrap_or(usize::MAX));
        }
        let channel = room.id;
        drop(registry);
        for shard in to_ask {
            self.deliver_to(shard, Delivery::NameMembers { channel });
        }
    }

    /// Notes that a member that was slow has taken all that was queued for it. If it has lost news about members, it waits
    /// for the list now.
    pub(in crate::shard) fn caught_up(self: &Rc<Self>, session: &Session, key: MemberKey) {
        let mut registry = self.registry.borrow_mut();
        let members = registry.local_members(session.home);
        let members = members.filter(|members| members.local.get(key, session.id).is_some());
        let Some(names) = members.and_then(|members| members.local.list_anew(key)) else {
            return;
        };
        let channel = registry.id_of(session.home);
        drop(registry);
        match channel {
            Some(channel) if channel.owner == self.id => self.list_members_anew(channel, names),
            Some(channel) => {
                self.request(channel.owner, Request::ListMembers { channel, names });
            }
            None => {}
        }
    }

    /// Tells a session nothing more of who is there.
    pub(in crate::shard) fn forget_watcher(&self, channel: ChannelId, session: SessionId) {
        let mut registry = self.registry.borrow_mut();
        if let Some(room) = registry.room_of(channel) {
            room.forget_watcher(session);
        }
    }

    /// Has somebody who waits for the list, with at most `names` names, told with the next news.
    pub(in crate::shard) fn list_members_anew(self: &Rc<Self>, channel: ChannelId, names: usize) {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room_of(channel);
        if let Some(presence) = room.and_then(|room| room.presence.as_mut()) {
            presence.watchers.want_list(names);
        }
        drop(registry);
        self.tell_members_soon(channel.index);
    }

    /// Has those who watch a room told what is new, when it is time. To be called after members have come or left.
    pub(in crate::shard) fn tell_members_soon(self: &Rc<Self>, at: u32) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at).filter(|_| self.is_running()) else {
            return;
        };
        let (id, now) = (room.id, Instant::now());
        let Some(due) = room.schedule_news(now) else {
            return;
        };
        let shard = self.clone();
        self.spawn(async move {
            tokio::time::sleep(due - now).await;
            shard.tell_members(id, due);
        });
    }

    fn tell_members(self: &Rc<Self>, id: ChannelId, due: Instant) {
        if !self.is_running() {
            return;
        }
        let mut registry = self.registry.borrow_mut();
        let found = registry.room_and_dirty(id.index);
        let Some((room, dirty)) = found.filter(|(room, _)| room.id == id) else {
            return;
        };
        let limit = |names| self.limit_names(names);
        let Some((news, shards)) = room.take_news(due, limit) else {
            return;
        };
        turn::spend_each(room.channel.local.len());
        room.channel.local.tell_members(&news);
        dirty.list(Home::Owned(id.index), room.local_members());
        let is_dirty = !dirty.is_empty();
        drop(registry);
        let news = Arc::new(news);
        for shard in shards {
            let (channel, news) = (id, news.clone());
            self.deliver_to(shard, Delivery::TellMembers { channel, news });
        }
        if is_dirty {
            self.wake_flusher();
        }
        self.tell_members_soon(id.index);
    }

    /// Tells those who watch a relayed channel here.
    pub(in crate::shard) fn tell_relayed_members(&self, channel: ChannelId, news: &MemberNews) {
        let mut registry = self.registry.borrow_mut();
        let Some((at, relay, dirty)) = registry.relay_and_dirty(channel) else {
            return;
        };
        turn::spend_each(relay.local.len());
        relay.local.tell_members(news);
        dirty.list(Home::Relayed(at), relay.local_members());
        let is_dirty = !dirty.is_empty();
        drop(registry);
        if is_dirty {
            self.wake_flusher();
        }
    }
}

impl Room {
    /// Forgets a session that has watched.
    pub(super) fn forget_watcher(&mut self, session: SessionId) {
        if let Some(presence) = &mut self.presence
            && presence.watchers.leave(session)
        {
            presence.asked_at = Instant::now();
        }
    }

    /// Returns when those who watch are to be told, if that is not arranged yet. To who waits for the list that is now,
    /// or an interval after the last time; changes are collected for an interval.
    fn schedule_news(&mut self, now: Instant) -> Option<Instant> {
        let interval = self.channel.settings().presence_interval;
        let presence = self.presence.as_mut()?;
        let watchers = presence
            .awaited
            .is_empty()
            .then_some(&mut presence.watchers)?;
        let due = if watchers.list.is_some() {
            watchers
                .told_at
                .map_or(now, |told_at| now.max(told_at + interval))
        } else if watchers.changes.is_empty() {
            return None;
        } else {
            now + interval
        };
        if watchers.due.is_some_and(|arranged| arranged <= due) {
            return None;
        }
        watchers.due = Some(due);
        Some(due)
    }

    /// Takes out what those who watch are told now, unless they are told at another time than `due`. Returns the other
    /// shards that have some of them as well.
    fn take_news(
        &mut self,
        due: Instant,
        limit: impl Fn(usize) -> NameLimit,
    ) -> Option<(MemberNews, Vec<ShardId>)> {
        let presence = self.presence.as_mut()?;
        let watchers = &mut presence.watchers;
        watchers.due.take_if(|arranged| *arranged == due)?;
        let changes = watchers.changes.take(limit(usize::MAX));
        let names = watchers.list.take();
        if changes.is_empty() && names.is_none() {
            return None;
        }
        watchers.told_at = Some(Instant::now());
        let shards = watchers.shards();
        let list = names.map(|names| self.list_told(limit(names)));
        let count = self.count_members();
        let news = MemberNews {
            count,
            changes,
            list,
        };
        Some((news, shards))
    }

    /// Returns who is there for those who have been told all but the changes that are left.
    fn list_told(&self, mut limit: NameLimit) -> Vec<Box<str>> {
        let Some(presence) = &self.presence else {
            return Vec::new();
        };
        let told = presence.watchers.changes.as_told(self.uids(presence));
        let uids = told.take_while(|uid| limit.admit(uid)).map(Box::from);
        let uids: Vec<_> = uids.collect();
        turn::spend_each(uids.len());
        uids
    }
}

impl Presence {
    /// Returns `true` if somebody has to be told who comes and leaves. Nobody has the list before all are known.
    pub(super) fn is_watched(&self) -> bool {
        !self.watchers.is_empty() && self.awaited.is_empty()
    }
}
