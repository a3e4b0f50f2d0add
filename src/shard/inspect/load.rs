//! How much a shard has to do.

use std::rc::Rc;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tokio::time::MissedTickBehavior;

use super::super::session::Session;
use super::super::{BrokerPhase, Shard};
use super::walk::{SeenChannel, Visitor};
use crate::channel::Member;

/// Time between two looks at what passes through channels.
const INTERVAL: Duration = Duration::from_secs(1);

/// Load of a shard, as it was last measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShardLoad {
    /// Channels that the shard owns.
    pub(crate) channels: usize,
    /// Channels of other shards that have members on the shard.
    pub(crate) relays: usize,
    /// Bytes queued for members on the shard.
    pub(crate) queued_bytes: u64,
    /// Frames that are published in the shard's channels in a second.
    pub(crate) rate: f32,
}

/// Makes rates anew, and sums up what is queued.
struct Meter {
    /// Since the look before, if there was one.
    seconds: Option<f32>,
    sum: ShardLoad,
}

impl Visitor for Meter {
    fn begin(&mut self, channel: &mut SeenChannel<'_>) -> bool {
        match channel {
            SeenChannel::Owned(room) => {
                if let Some(seconds) = self.seconds {
                    room.traffic.sample(seconds);
                }
                self.sum.channels += 1;
                self.sum.rate += room.traffic.rates().frames;
            }
            SeenChannel::Relayed(_) => self.sum.relays += 1,
        }
        true
    }

    fn member(&mut self, member: &Member<Rc<Session>>) {
        if let Some(seconds) = self.seconds {
            member.handle.traffic.sample(seconds);
        }
        self.sum.queued_bytes += member.outbox.bytes() as u64;
    }

    fn end(&mut self, _: &mut SeenChannel<'_>) {}
}

impl Shard {
    /// Measures the shard once in a second, until the broker stops.
    pub(in crate::shard) async fn measure_forever(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        while *self.common.phase.borrow() != BrokerPhase::Stopped {
            ticks.tick().await;
            let now = Instant::now();
            let seconds = last.map(|last| now.duration_since(last).as_secs_f32());
            last = Some(now);
            self.measure(seconds).await;
        }
    }

    /// Makes rates of what has passed in the last `seconds`, and sums up how much there is to do.
    async fn measure(&self, seconds: Option<f32>) {
        let mut meter = Meter {
            seconds,
            sum: ShardLoad::default(),
        };
        self.visit_all(&mut meter).await;
        let load = &self.common.loads[self.id.index()];
        *load.lock().unwrap_or_else(PoisonError::into_inner) = meter.sum;
    }
}
