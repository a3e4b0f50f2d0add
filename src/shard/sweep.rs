//! Frees channels that have been without members for too long, or whose memory or place others need.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;
use super::gate::Full;
use super::ids::ChannelId;
use crate::escape::Escaped;

/// The longest time between two sweeps.
const LONGEST: Duration = Duration::from_secs(5);
/// The shortest.
const SHORTEST: Duration = Duration::from_millis(50);

impl Shard {
    /// Sweeps until the broker stops.
    pub(super) async fn sweep_forever(self: Rc<Self>) {
        let channels = &self.common.settings.channels;
        let settings = channels
            .patterns
            .iter()
            .map(|(_, s)| s)
            .chain([&channels.default]);
        let shortest_ttl = settings.map(|s| s.idle_ttl).min().unwrap_or(LONGEST);
        let mut ticks = tokio::time::interval((shortest_ttl / 4).clamp(SHORTEST, LONGEST));
        loop {
            ticks.tick().await;
            let now = Instant::now();
            if !self.is_running() {
                return;
            }
            let mut registry = self.registry.borrow_mut();
            for at in registry.freeable(now) {
                registry.close(at);
            }
        }
    }

    /// Frees a channel that has to make room for another, and ends the half-closed sessions that are
    /// left in it. Does nothing if it has come to be needed meanwhile.
    pub(super) fn free_channel(self: &Rc<Self>, id: ChannelId) {
        let (at, now) = (id.index, Instant::now());
        let mut registry = self.registry.borrow_mut();
        let room = registry.room_of(id);
        let Some(room) = room.filter(|room| room.unneeded().is_some()) else {
            return;
        };
        let name = room.name.clone();
        let idle = room.channel.idle_since().map(|since| now - since);
        let vacated = room.channel.vacate_all(now);
        drop(registry);
        for vacated in vacated {
            self.see_off_vacated(at, vacated, Some(Full::Channels));
        }
        self.registry.borrow_mut().close(at);
        self.stats().channels_evicted.add(1);
        if self.log.admit() {
            let channel = Escaped(&name);
            let limit = Full::Channels.limit();
            tracing::warn!(%channel, ?idle, limit, "channel freed: made room at the limit");
        }
    }
}
