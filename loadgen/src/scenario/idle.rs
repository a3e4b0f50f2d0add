//! Memory of the broker's process per idle subscriber, as a slope.
//!
//! Subscribers are added up to each count in turn and left alone; the slope between the counts
//! leaves out what the broker takes with nobody connected. What is read is the process' anonymous
//! memory (`Anonymous` of `/proc/PID/smaps_rollup`): user space only, no socket buffers, no shared
//! pages of the executable.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::topology::{Shape, Topology};
use super::{ScenarioError, Target};
use crate::broker::Broker;
use crate::fleet::{Fleet, FleetError};
use crate::interrupt::Interrupt;
use crate::process::Memory;
use crate::verify::Stamp;

/// Bytes of the one message that each subscriber hears before it is left alone.
const PROBE_PAYLOAD: usize = 16;
/// Between two looks at the connections while nothing should happen.
const REST: Duration = Duration::from_millis(100);

/// Subscribers without messages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Idle {
    /// How many subscribers at each reading, ascending.
    pub(crate) counts: Vec<usize>,
    /// Subscribers of each channel.
    pub(crate) per_channel: usize,
    /// How long subscribers are left alone before a reading, in seconds.
    pub(crate) settle_seconds: f64,
}

impl Default for Idle {
    fn default() -> Self {
        Self {
            counts: vec![2000, 8000],
            per_channel: 100,
            settle_seconds: 3.0,
        }
    }
}

/// One reading of the broker's memory.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct IdlePoint {
    /// Idle subscribers.
    pub(crate) subscribers: usize,
    /// The broker process then.
    pub(crate) memory: Memory,
}

/// The memory of a broker with idle subscribers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IdleOutcome {
    /// The readings, the first with no subscriber.
    pub(crate) points: Vec<IdlePoint>,
    /// Anonymous bytes per subscriber: the slope from the smallest count to the largest.
    pub(crate) bytes_per_subscriber: f64,
}

impl Idle {
    /// Connects subscribers to `broker` at `target` and reads its process.
    ///
    /// # Errors
    /// The broker cannot be reached, lets go of an idle connection, or its process is not known.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        interrupt: &Interrupt,
    ) -> Result<IdleOutcome, ScenarioError> {
        let adapter = broker.adapter(PROBE_PAYLOAD, &target.keyring);
        let mut topologies: Vec<Topology<'_, Stamp>> = Vec::new();
        let mut connected = 0;
        let mut points = vec![IdlePoint {
            subscribers: 0,
            memory: Memory::of_all(&target.pids)?,
        }];
        for &count in &self.counts {
            while connected < count {
                // One topology per channel: few publishers are connected at a time.
                let subscribers = self.per_channel.min(count - connected);
                let shape = Shape {
                    subscribers,
                    ..Shape::single(PROBE_PAYLOAD)
                };
                let fleet = Fleet::new(target.addr, adapter.as_ref(), PROBE_PAYLOAD, interrupt)?;
                let mut topology = Topology::assemble(fleet, shape)?;
                topology.dismiss_publishers();
                topologies.push(topology);
                connected += subscribers;
            }
            self.settle(&mut topologies, interrupt)?;
            points.push(IdlePoint {
                subscribers: connected,
                memory: Memory::of_all(&target.pids)?,
            });
        }
        Ok(IdleOutcome {
            bytes_per_subscriber: slope(&points, |memory| memory.anonymous_bytes),
            points,
        })
    }

    /// Leaves the subscribers alone, but for pings to answer.
    fn settle(
        &self,
        topologies: &mut [Topology<'_, Stamp>],
        interrupt: &Interrupt,
    ) -> Result<(), ScenarioError> {
        let end = Instant::now() + Duration::from_secs_f64(self.settle_seconds);
        while Instant::now() < end {
            for topology in &mut *topologies {
                topology.turn(Duration::ZERO, &mut [false])?;
            }
            if interrupt.sleep(REST) {
                return Err(FleetError::Interrupted.into());
            }
        }
        Ok(())
    }
}

impl IdleOutcome {
    /// Returns the slope of resident bytes per subscriber, shared pages included.
    pub(crate) fn rss_per_subscriber(&self) -> f64 {
        slope(&self.points, |memory| memory.rss_bytes)
    }
}

/// Bytes per subscriber between the first reading with subscribers and the last.
fn slope(points: &[IdlePoint], of: fn(Memory) -> u64) -> f64 {
    let (Some(first), Some(last)) = (points.get(1), points.last()) else {
        return 0.0;
    };
    let bytes = of(last.memory) as f64 - of(first.memory) as f64;
    bytes / (last.subscribers - first.subscribers) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_leaves_out_what_nobody_connected_costs() {
        let point = |subscribers, anonymous_bytes| IdlePoint {
            subscribers,
            memory: Memory {
                anonymous_bytes,
                rss_bytes: 2 * anonymous_bytes,
            },
        };
        let points = [
            point(0, 5_000),
            point(10, 70_000),
            point(20, 70_500),
            point(30, 72_000),
        ];
        let anonymous = slope(&points, |memory| memory.anonymous_bytes);
        assert!((anonymous - 100.0).abs() < 1e-9);
        let bytes_per_subscriber = anonymous;
        let result = IdleOutcome {
            points: points.into(),
            bytes_per_subscriber,
        };
        assert!((result.rss_per_subscriber() - 200.0).abs() < 1e-9);
    }
}
