//! Pauses readers: the publishers of a channel while one of its members is behind or its store cannot write, or all of
//! a shard while another shard's mailbox is full.

use std::cell::Cell;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::Shard;
use super::ids::{ChannelId, Home, ShardId};
use super::message::{Delivery, Request};
use super::registry::Relay;
use super::room::Room;

/// A pause that tasks of one shard wait for. Most of the time there is none.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    is_on: Cell<bool>,
    /// `true` while it lasts longer than whoever waits would wait.
    is_unlimited: Cell<bool>,
    over: Notify,
    /// Longest time that a session waits for its end.
    limit: Cell<Duration>,
}

impl Pause {
    /// Creates one that is over, and for whose end a session waits no longer than `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        let pause = Self::default();
        pause.set_limit(limit);
        pause
    }

    /// Sets the longest time that a session waits for its end.
    pub(super) fn set_limit(&self, limit: Duration) {
        self.limit.set(limit);
    }

    /// Returns the longest time that a session waits for its end.
    pub(crate) fn limit(&self) -> Duration {
        self.limit.get()
    }

    /// Begins or ends the pause.
    pub(crate) fn set(&self, on: bool) {
        if self.is_on.replace(on) && !on {
            self.over.notify_waiters();
        }
    }

    /// Begins or ends the pause, which may last as long as it likes if it is `unlimited`.
    pub(super) fn set_limited(&self, on: bool, unlimited: bool) {
        let is_unlimited = on && unlimited;
        let was_unlimited = self.is_unlimited.replace(is_unlimited);
        self.set(on);
        if on && was_unlimited && !is_unlimited {
            self.over.notify_waiters();
        }
    }

    /// Returns `true` while the pause lasts longer than whoever waits would wait.
    pub(super) fn is_unlimited(&self) -> bool {
        self.is_unlimited.get()
    }

    /// Returns `true` while the pause lasts.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    /// Waits until the pause is over. Cancel safe.
    pub(crate) async fn over(&self) {
        while self.is_on() {
            self.over.notified().await;
        }
    }

    /// Waits until the pause is over, though another may have begun before the caller has its turn. Cancel safe.
    pub(crate) async fn released(&self) {
        if self.is_on() {
            self.over.notified().await;
        }
    }

    /// Waits until the pause is over, but not longer than its limit unless it has none. Cancel safe.
    pub(crate) async fn over_in_time(&self) {
        if self.is_on() {
            // Past the limit the caller goes on all the same.
            let _ = timeout(self.limit(), self.over()).await;
        }
        self.limited().await;
    }

    /// Waits while the pause has no limit. Cancel safe.
    pub(crate) async fn limited(&self) {
        while self.is_unlimited() {
            self.over.notified().await;
        }
    }
}

impl Shard {
    /// Pauses or releases the channel's publishers after queues have changed.
    pub(super) fn update_pressure(&self, home: Home) {
        let mut registry = self.registry.borrow_mut();
        match home {
            Home::Owned(at) => {
                if let Some(room) = registry.room(at) {
                    self.pause_or_release(room);
                }
            }
            Home::Relayed(at) => {
                if let Some(relay) = registry.relay_at(at) {
                    self.press_or_release(relay);
                }
            }
        }
    }

    /// Pauses the publishers of a room on all shards while any shard has a member over its mark.
    pub(super) fn pause_or_release(&self, room: &Room) {
        let is_unlimited = self.awaits_commit(room);
        let on = is_unlimited || room.is_pressed();
        if room.pause.is_on() != on || room.pause.is_unlimited() != is_unlimited {
            room.pause.set_limited(on, is_unlimited);
            for shard in room.channel.relays() {
                self.deliver_to(ShardId(shard), pause_of(room));
            }
        }
    }

    /// Pauses or releases the publishers of all rooms, when the store has failed or writes again.
    pub(super) fn pause_or_release_all(&self) {
        let mut registry = self.registry.borrow_mut();
        for at in 0..registry.rooms_end() {
            if let Some(room) = registry.room(at) {
                self.pause_or_release(room);
            }
        }
    }

    /// Tells the owner of a channel when a member here has come to be over its mark, or none is any more.
    pub(super) fn press_or_release(&self, relay: &mut Relay) {
        let on = relay.local.is_pressed();
        if std::mem::replace(&mut relay.is_pressed, on) != on {
            let (channel, shard) = (relay.id, self.id);
            self.request(channel.owner, Request::Press { channel, shard, on });
        }
    }

    /// Takes in what a relaying shard tells of its members.
    pub(super) fn on_press(&self, channel: ChannelId, shard: ShardId, on: bool) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(channel) else {
            return;
        };
        let others = room.pressed.iter().filter(|&&pressed| pressed != shard);
        room.pressed = others.copied().chain(on.then_some(shard)).collect();
        self.pause_or_release(room);
    }
}

/// Returns what tells a relaying shard whether the publishers of a room pause.
pub(super) fn pause_of(room: &Room) -> Delivery {
    Delivery::Pause {
        channel: room.id,
        on: room.pause.is_on(),
        is_unlimited: room.pause.is_unlimited(),
    }
}
