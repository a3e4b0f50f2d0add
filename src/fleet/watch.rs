//! Watches whether the node's own records come back from the log. That alone decides whether it serves: a connection
//! may be up on which nothing moves.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::node::Node;
use super::status::FleetPhase;
use crate::log::Log;

/// Time between two looks.
const TICK: Duration = Duration::from_millis(100);
/// A look that is later than this shows that the process itself has stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// A node that has stood still for so long lets go what it had not appended, and its clients.
const STOOD_STILL_FOR_LONG: Duration = Duration::from_secs(60);

impl<L: Log> Node<L> {
    /// Returns `true` if the node has stood still for so long that it must not append what waits.
    pub(super) fn has_stood_still(&self) -> bool {
        self.looked_at.get().elapsed() > STOOD_STILL_FOR_LONG
    }

    /// Returns `true` while clients are served.
    pub(super) fn is_serving(&self) -> bool {
        let phase = self.handle.status().phase();
        matches!(phase, FleetPhase::Serving | FleetPhase::Stalled)
    }

    /// Stops serving while own records do not come back, and closes all clients after a while.
    pub(super) async fn watch_forever(&self) {
        loop {
            sleep(TICK).await;
            let now = Instant::now();
            let late = now - self.looked_at.replace(now);
            if late > STOOD_STILL_FOR_LONG && self.is_serving() {
                // Others may have published meanwhile what waits here.
                self.set_phase(FleetPhase::CutOff).await;
            }
            if late > STOOD_STILL {
                // What has come meanwhile is read first.
                let returned_at = self.returned_at.get() + late;
                self.returned_at.set(returned_at.min(now));
            }
            let age = now - self.returned_at.get();
            let phase = match self.handle.status().phase() {
                FleetPhase::Serving | FleetPhase::Stalled if age >= self.patience.cut_off => {
                    FleetPhase::CutOff
                }
                FleetPhase::Serving if age >= self.patience.stall => FleetPhase::Stalled,
                FleetPhase::Stalled if age < self.patience.stall => FleetPhase::Serving,
                phase => phase,
            };
            self.set_phase(phase).await;
        }
    }
}
