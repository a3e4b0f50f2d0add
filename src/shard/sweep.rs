//! Frees channels that have been without members for too long.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;

/// The longest time between two sweeps.
const LONGEST: Duration = Duration::from_secs(5);
/// The shortest.
const SHORTEST: Duration = Duration::from_millis(50);

impl Shard {
    /// Sweeps for as long as the shard lives.
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
            let expired = self.registry.borrow_mut().expired(now);
            for at in expired {
                self.close_if_expired(at, now);
            }
        }
    }
}
