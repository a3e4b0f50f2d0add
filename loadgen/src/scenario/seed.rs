//! The comparison that the seed of this project was published with in 2017: how long after one
//! publish all of a hundred receivers on one channel have the message, one message at a time.
//!
//! A sample begins before the message is handed to its socket and ends when the last receiver has
//! its last byte. The next begins after that, so nothing else is under way.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::cpu_meter::CpuMeter;
use super::topology::{STALL, Shape, TURN, Topology};
use super::{Load, ScenarioError, Target};
use crate::broker::Broker;
use crate::broker::Client;
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::{Stamp, Tally};

/// One message at a time, timed until all subscribers have it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Seed {
    /// Receivers on the channel.
    pub(crate) subscribers: usize,
    /// Messages that are measured.
    pub(crate) samples: u64,
    /// Messages before these.
    pub(crate) warm_up_samples: u64,
    /// Bytes of each message, its stamp of 8 bytes included.
    pub(crate) payload: usize,
    /// The client that speaks with the broker.
    pub(crate) client: Client,
}

impl Seed {
    /// `Hello World!` behind the stamp.
    const HELLO: usize = Stamp::LEN + "Hello World!".len();
    /// 1.6 MB, its stamp included.
    const LARGE: usize = 1_600_000;

    /// Returns the load with both payloads of that comparison, and their names in reports.
    pub(crate) fn both(&self) -> Vec<(String, Load)> {
        [("seed-hello", Self::HELLO), ("seed-1.6MB", Self::LARGE)]
            .map(|(name, payload)| {
                let load = Self {
                    payload,
                    ..self.clone()
                };
                (name.to_owned(), Load::Seed(load))
            })
            .into()
    }
}

impl Default for Seed {
    fn default() -> Self {
        Self {
            subscribers: 100,
            samples: 300,
            warm_up_samples: 10,
            payload: Self::HELLO,
            client: Client::Lean,
        }
    }
}

/// The times until all subscribers had a message.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SeedOutcome {
    /// Times from publish until all have it, for each message.
    pub(crate) times: Distribution,
    /// `true` if the user stopped it.
    pub(crate) partial: bool,
    /// Deliveries, due and had.
    pub(crate) tally: Tally,
    /// The broker's CPU time, all threads; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// CPU time of this program.
    pub(crate) tool_cpu: CpuTime,
}

impl Seed {
    /// Loads `broker` at `target`.
    ///
    /// # Errors
    /// The broker cannot be reached, lets go of a connection, or loses messages before anything is
    /// measured. Loss while measuring is no error but in the outcome's tally. A user's stop is an
    /// error only before the measurement.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        interrupt: &Interrupt,
    ) -> Result<SeedOutcome, ScenarioError> {
        if self.client == Client::Library {
            return self.run_by_library(broker, target, interrupt);
        }
        let adapter = broker.adapter(self.payload, &target.keyring);
        let fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        let mut topology = Topology::assemble(fleet, self.shape())?;
        samples(
            &mut topology,
            self.warm_up_samples,
            &mut Distribution::new(),
        )?;
        let before = topology.tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let meter = CpuMeter::start(target)?;
        let mut times = Distribution::new();
        let mut outcome = samples(&mut topology, self.samples, &mut times);
        let cost = meter.stop(topology.tally().since(&before).delivered)?;
        if outcome.is_ok() {
            outcome = topology.linger();
        }
        let partial = ScenarioError::interrupted(outcome)?.is_none();
        Ok(SeedOutcome {
            times,
            partial,
            tally: topology.tally().since(&before),
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        })
    }
}

impl Seed {
    pub(super) fn shape(&self) -> Shape {
        Shape {
            subscribers: self.subscribers,
            ..Shape::single(self.payload)
        }
    }
}

/// Sends messages one at a time and records how long each took to all. Stops at the first that
/// does not come: it is lost.
fn samples(
    topology: &mut Topology<'_, Stamp>,
    samples: u64,
    times: &mut Distribution,
) -> Result<(), ScenarioError> {
    for _ in 0..samples {
        let start = Instant::now();
        for publisher in &mut topology.publishers {
            publisher.publish(topology.fleet.outbox(publisher.link), |stamp| stamp);
            topology.fleet.flush(publisher.link)?;
        }
        let mut last_delivery = start;
        while !topology.is_idle() {
            let mut came = false;
            topology.serve(TURN, |_, _| came = true)?;
            if came {
                last_delivery = Instant::now();
            } else if last_delivery.elapsed() > STALL {
                return Ok(());
            }
        }
        times.record(nanoseconds(start.elapsed()));
    }
    Ok(())
}
