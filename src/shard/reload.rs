//! How a shard takes over new settings for what is open already.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use super::Shard;
use super::ended::Ended;
use super::ids::Home;
use super::live::{Live, ReadLimits};
use super::session::{Role, Session};
use super::turn;
use crate::channel::{ClearedKeys, MemberKey};
use crate::settings::Limits;

/// Time to clear keys in. Half of it is for what is on its way between shards.
const CATCH_UP: Duration = Duration::from_secs(4);
/// Units of a turn that looking for a channel's settings costs.
const CHANNEL: u32 = 8;
/// Units of a turn that deciding about a session's rights costs.
const SESSION: u32 = 16;

/// The memory of one shard, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShardMemory {
    /// For incomplete frames: of members, and as much of connections that have not joined.
    pub(super) partial: usize,
    /// For the histories of all channels.
    pub(super) history: usize,
}

impl ShardMemory {
    /// Divides what `limits` allow among `shards`.
    pub(super) fn new(limits: &Limits, shards: usize) -> Self {
        // In any case enough for one frame that grows from one buffer into the next.
        let partial = (limits.partial_bytes / shards / 2).max(2 * limits.max_frame);
        let history = limits.history_bytes_total / shards;
        Self { partial, history }
    }
}

impl Shard {
    /// Applies the settings in force to what is open: to the memory, to each channel, and to each session, which ends if
    /// it has lost its rights. Others have their turn in between. Returns how many sessions have ended.
    pub(crate) async fn apply_live(self: &Rc<Self>) -> u64 {
        let live = self.common.live_arc();
        self.generation.set(live.generation);
        self.read_limits.set(ReadLimits::new(&live.settings));
        self.resize_memory(&live.settings.limits);
        let homes = self.registry.borrow().homes();
        let mut ended = 0;
        for home in homes {
            self.apply_to_channel(home, &live);
            ended += self.refresh_members(home, &live).await;
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
        ended
    }

    /// Puts zeros in the place of the session keys that are in histories, or held for them: whoever reads one could join as
    /// its sender. To be called when no session of any shard publishes with a key any more.
    pub(crate) async fn hide_keys(self: &Rc<Self>) {
        self.catch_up(tokio::time::Instant::now() + CATCH_UP).await;
        if self.behind.get() > 0 {
            tracing::warn!(
                shard = self.id.index(),
                "other shards are too busy: histories may keep session keys of messages that are on their way"
            );
        }
        let homes = self.registry.borrow().homes();
        for at in homes.into_iter().filter_map(Home::owned) {
            if let Some(room) = self.registry.borrow_mut().room(at) {
                self.clear_held_keys(room);
            }
            let mut left = usize::MAX;
            while left > 0 {
                let cleared = self.clear_keys(at, left);
                turn::spend(CHANNEL);
                turn::spend_bytes(cleared.bytes);
                left = cleared.left;
                if turn::is_expensive() {
                    self.yield_turn().await;
                }
            }
        }
    }

    /// Clears the keys of some runs of a history, of which so many are left. The place may have become another room's, which
    /// does no harm.
    fn clear_keys(&self, at: u32, left: usize) -> ClearedKeys {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at);
        room.map_or_else(ClearedKeys::default, |room| room.channel.clear_keys(left))
    }

    fn resize_memory(&self, limits: &Limits) {
        let memory = ShardMemory::new(limits, self.common.shards());
        for scratch in [&self.scratch, &self.join_scratch] {
            scratch.borrow_mut().allowance.resize(memory.partial);
        }
        self.registry.borrow().set_history_bytes(memory.history);
    }

    fn apply_to_channel(&self, home: Home, live: &Live) {
        turn::spend(CHANNEL);
        let find = |name: &str| live.channel_settings(name);
        let now = Instant::now();
        let is_new = self.registry.borrow_mut().set_settings(home, find, now);
        if is_new {
            self.update_storage(home);
            self.update_pressure(home);
        }
    }

    /// Has the channel at `home` kept on disk or not, as its settings say now.
    fn update_storage(&self, home: Home) {
        if let Some(at) = home.owned()
            && let Some(room) = self.registry.borrow_mut().room(at)
        {
            self.apply_storage(room);
        }
    }

    /// Decides anew about the members of a channel. Returns how many have lost their rights.
    async fn refresh_members(self: &Rc<Self>, home: Home, live: &Live) -> u64 {
        let mut ended = 0;
        for key in self.member_keys(home) {
            // The place may have become another session's, which does no harm.
            let Some(session) = self.member_at(home, key) else {
                continue;
            };
            ended += u64::from(self.refresh(&session, live));
            turn::spend(SESSION);
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
        ended
    }

    fn member_keys(&self, home: Home) -> Vec<MemberKey> {
        let mut registry = self.registry.borrow_mut();
        let members = registry.local_members(home);
        let keys = members.map(|members| members.local.iter().map(|(key, _)| key).collect());
        keys.unwrap_or_default()
    }

    /// Returns the session at a place.
    fn member_at(&self, home: Home, key: MemberKey) -> Option<Rc<Session>> {
        let mut registry = self.registry.borrow_mut();
        let members = registry.local_members(home)?;
        Some(members.local.at(key)?.handle.clone())
    }

    /// Decides anew about a session that has its seat now: the settings may have changed since it was let in.
    pub(super) fn refresh_newcomer(self: &Rc<Self>, session: &Rc<Session>) {
        if self.generation.get() > 0 {
            let live = self.common.live_arc();
            self.refresh(session, &live);
        }
    }

    /// Decides anew about the rights of a session. Returns `true` if it has ended for that.
    fn refresh(self: &Rc<Self>, session: &Rc<Session>, live: &Live) -> bool {
        if session.role == Role::Upstream || session.is_over() {
            return false;
        }
        let (uid, channel, now) = (&session.uid, &session.channel, SystemTime::now());
        let access = &live.access;
        let refreshed = access.refresh(&session.rights.borrow(), uid, channel, now);
        session.generation.set(live.generation);
        let changed = refreshed.and_then(|rights| self.change_rights(session, rights));
        match changed {
            Ok(()) => false,
            Err(denied) => {
                self.end(session, Ended::RightsLost(Box::new(denied)));
                true
            }
        }
    }
}
