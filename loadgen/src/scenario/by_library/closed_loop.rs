//! Closed loops through a library: throughput with a window, and one message at a time.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::super::cpu_meter::CpuMeter;
use super::super::fanout::{Amount, Fanout, FanoutOutcome, Timing};
use super::super::seed::{Seed, SeedOutcome};
use super::super::topology::LINGER;
use super::super::{ScenarioError, Target};
use super::{LibraryTopology, give_up, last_delivery, through_library};
use crate::broker::Broker;
use crate::distribution::{Distribution, nanoseconds};
use crate::interrupt::Interrupt;
use crate::library::{Job, Library};
use crate::verify::Stamp;

impl Fanout {
    /// Loads `broker` at `target` through its client library.
    ///
    /// # Errors
    /// As [`Fanout::run`].
    pub(in crate::scenario) fn run_by_library(
        &self,
        broker: Broker,
        target: &Target,
        timing: Timing,
        interrupt: &Interrupt,
    ) -> Result<FanoutOutcome, ScenarioError> {
        let job = Throughput {
            load: self,
            target,
            timing,
            interrupt,
        };
        through_library(broker, job)
    }
}

struct Throughput<'a> {
    load: &'a Fanout,
    target: &'a Target,
    timing: Timing,
    interrupt: &'a Interrupt,
}

impl Job for Throughput<'_> {
    type Output = Result<FanoutOutcome, ScenarioError>;

    /// Warms up, measures, and waits for what comes late.
    async fn through<L: Library>(self) -> Self::Output {
        let Self {
            load,
            target,
            timing,
            interrupt,
        } = self;
        let shape = load.shape();
        let mut run =
            LibraryTopology::<L>::assemble(shape, target, interrupt, |_: Stamp| {}).await?;
        let window = load.window_messages();
        let warm_up = Amount::Seconds(timing.warm_up_seconds);
        run.send(warm_up, window).await?;
        let before = run.tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let sent_before = run.sent();
        let meter = CpuMeter::start(target)?;
        let seconds = run.send(timing.measured, window).await?.as_secs_f64();
        let cost = meter.stop(run.tally().since(&before).delivered)?;
        tokio::time::sleep(LINGER).await;
        Ok(FanoutOutcome {
            messages: run.sent() - sent_before,
            seconds,
            tally: run.tally().since(&before),
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        })
    }
}

impl Seed {
    /// Loads `broker` at `target` through its client library.
    ///
    /// # Errors
    /// As [`Seed::run`].
    pub(in crate::scenario) fn run_by_library(
        &self,
        broker: Broker,
        target: &Target,
        interrupt: &Interrupt,
    ) -> Result<SeedOutcome, ScenarioError> {
        let job = Samples {
            load: self,
            target,
            interrupt,
        };
        through_library(broker, job)
    }
}

struct Samples<'a> {
    load: &'a Seed,
    target: &'a Target,
    interrupt: &'a Interrupt,
}

impl Job for Samples<'_> {
    type Output = Result<SeedOutcome, ScenarioError>;

    async fn through<L: Library>(self) -> Self::Output {
        let Self {
            load,
            target,
            interrupt,
        } = self;
        let shape = load.shape();
        let mut run =
            LibraryTopology::<L>::assemble(shape, target, interrupt, |_: Stamp| {}).await?;
        run.samples(load.warm_up_samples, &mut Distribution::new())
            .await?;
        let before = run.tally();
        if !before.is_clean() {
            return Err(ScenarioError::WarmUp(before));
        }
        let meter = CpuMeter::start(target)?;
        let mut times = Distribution::new();
        let outcome = run.samples(load.samples, &mut times).await;
        let cost = meter.stop(run.tally().since(&before).delivered)?;
        let partial = ScenarioError::interrupted(outcome)?.is_none();
        tokio::time::sleep(LINGER).await;
        Ok(SeedOutcome {
            times,
            partial,
            tally: run.tally().since(&before),
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        })
    }
}

impl<L: Library> LibraryTopology<'_, L> {
    /// Sends messages one at a time and records how long each took to all. Stops at the first that
    /// does not come: it is lost.
    async fn samples(
        &mut self,
        samples: u64,
        times: &mut Distribution,
    ) -> Result<(), ScenarioError> {
        for _ in 0..samples {
            let time = self.send(Amount::Messages(1), 1).await?;
            if self.tally().lost > 0 {
                return Ok(());
            }
            times.record(nanoseconds(time));
        }
        Ok(())
    }

    /// Sends `amount`, waits until it is delivered, and says how long that took. Deliveries that
    /// do not come within ten seconds are given up.
    async fn send(&mut self, amount: Amount, window: u64) -> Result<Duration, ScenarioError> {
        let start = Instant::now();
        for receivers in &self.channels {
            receivers.last_delivery.set(start);
        }
        let sending = self.senders.iter_mut().map(|sender| {
            let (limit, end) = match amount {
                Amount::Seconds(seconds) => {
                    (u64::MAX, Some(start + Duration::from_secs_f64(seconds)))
                }
                Amount::Messages(messages) => (sender.sent.saturating_add(messages), None),
            };
            sender.send(limit, end, window)
        });
        tokio::select! {
            sent = try_join_all(sending) => { sent?; }
            Some(failure) = self.failures.recv() => return Err(failure),
            given_up = give_up(&self.channels, self.interrupt) => given_up?,
        }
        Ok(last_delivery(&self.channels) - start)
    }
}
