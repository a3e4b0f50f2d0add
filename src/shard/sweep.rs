//! Frees channels that have been without members for too long, or whose memory others need.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Shard;

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
                self.common.gate.close_channel();
            }
        }
    }
}
