//! What is done to a broker: the shapes of load, and the named ones that reports are made of.
//!
//! Scenarios know connections and stamps, not brokers: they run the same against each. A scenario
//! returns what it saw and judges nothing; medians, ratios and verdicts are [`crate::report`]'s.

mod by_library;
mod cast;
mod fanout;
mod idle;
mod latency;
mod meter;
mod open_loop;
mod recorder;
mod seed;
mod table;
mod timetable;

use std::net::SocketAddr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::adapter::Broker;
use crate::fleet::FleetError;
use crate::library::{Client, LibraryError};
use crate::process::ProcError;
use crate::verify::Tally;

pub(crate) use fanout::{Amount, Fanout, Mode, Outcome, Timing};
#[cfg(test)]
pub(crate) use idle::IdlePoint;
pub(crate) use idle::{Idle, IdleResult};
pub(crate) use latency::{LagBound, Latency, LatencyOutcome};
pub(crate) use seed::{Seed, SeedOutcome};
pub(crate) use table::Table;
pub(crate) use timetable::Arrivals;

/// A scenario could not be brought to its end.
#[derive(Debug, Error)]
pub(crate) enum ScenarioError {
    /// A connection failed.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A client library failed.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// Nothing but the adapter speaks with this broker.
    #[error("there is no client library here that speaks with {}", .0.name())]
    NoLibrary(Broker),
    /// The broker process could not be looked at.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// Subscribers that never heard a probe.
    #[error("{deaf} of {all} subscribers got no message within {seconds} s of subscribing")]
    Deaf {
        /// How many.
        deaf: usize,
        /// Of how many.
        all: usize,
        /// The deadline.
        seconds: u64,
    },
    /// The process that was named did not do the work.
    #[error("process {0} used no CPU time while it was loaded: it is not the broker")]
    NotTheBroker(u32),
    /// The warm-up lost messages: there is no use in measuring.
    #[error("messages went astray in the warm-up: {0:?}")]
    WarmUp(Tally),
}

impl ScenarioError {
    /// Whether the user asked to stop.
    pub(crate) fn is_interrupt(&self) -> bool {
        matches!(self, Self::Fleet(FleetError::Interrupted))
    }

    /// What came of something that was worth as much as it got to: `None` when the user stopped it.
    fn interrupted<T>(result: Result<T, Self>) -> Result<Option<T>, Self> {
        match result {
            Err(error) if error.is_interrupt() => Ok(None),
            result => result.map(Some),
        }
    }
}

/// The broker under load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Its process, when it is local and known.
    pub(crate) pid: Option<u32>,
}

/// Scenarios by name, as `compare` runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Named {
    /// 1 publisher → 10 subscribers, 64 bytes, pipelined
    Fanout,
    /// The same, one message in flight
    FanoutUnbatched,
    /// Eight of the former beside each other
    #[value(name = "fanout-unbatched-x8")]
    FanoutUnbatchedX8,
    /// 1 publisher → 100 subscribers, 64 bytes, pipelined
    #[value(name = "fanout-100")]
    Fanout100,
    /// 1 publisher → 1000 subscribers, 64 bytes, pipelined
    #[value(name = "fanout-1000")]
    Fanout1000,
    /// 100 channels with 1 publisher → 10 subscribers each, 64 bytes, pipelined
    Channels,
    /// 1 publisher → 10 subscribers, 64 KiB, pipelined
    Large,
    /// Memory per idle subscriber
    Idle,
    /// Latency in an open loop, once for each of `--rates`
    Latency,
    /// 1 publisher → 100 subscribers, time until all have it, `Hello World!` and 1.6 MB
    Seed,
}

impl Named {
    /// The name used on the command line and in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fanout => "fanout",
            Self::FanoutUnbatched => "fanout-unbatched",
            Self::FanoutUnbatchedX8 => "fanout-unbatched-x8",
            Self::Fanout100 => "fanout-100",
            Self::Fanout1000 => "fanout-1000",
            Self::Channels => "channels",
            Self::Large => "large",
            Self::Idle => "idle",
            Self::Latency => "latency",
            Self::Seed => "seed",
        }
    }

    /// What it does, by the names in reports: `latency` at each of `rates`, the others as they are.
    pub(crate) fn loads(self, latency: &Latency, rates: &[f64]) -> Vec<(String, Load)> {
        let fanout = Fanout::default();
        let load = match self {
            Self::Latency => return rates.iter().map(|&rate| latency.at(rate)).collect(),
            Self::Seed => return Seed::default().both(),
            Self::Idle => Load::Idle(Idle::default()),
            Self::Fanout => Load::Fanout(fanout),
            Self::FanoutUnbatched => Load::Fanout(Fanout {
                mode: Mode::Unbatched,
                ..fanout
            }),
            Self::FanoutUnbatchedX8 => Load::Fanout(Fanout {
                mode: Mode::Unbatched,
                channels: 8,
                ..fanout
            }),
            Self::Fanout100 => Load::Fanout(Fanout {
                subscribers: 100,
                ..fanout
            }),
            Self::Fanout1000 => Load::Fanout(Fanout {
                subscribers: 1000,
                ..fanout
            }),
            Self::Channels => Load::Fanout(Fanout {
                channels: 100,
                ..fanout
            }),
            Self::Large => Load::Fanout(Fanout {
                payload: 64 << 10,
                ..fanout
            }),
        };
        vec![(self.name().to_owned(), load)]
    }
}

impl Load {
    /// What speaks with the broker.
    pub(crate) fn client(&self) -> Client {
        match self {
            Self::Fanout(fanout) => fanout.client,
            Self::Idle(_) | Self::Latency(_) | Self::Seed(_) => Client::Lean,
        }
    }

    /// The same by another client; `None` where only the lean one can do it.
    pub(crate) fn by(self, client: Client) -> Option<Self> {
        match self {
            Self::Fanout(fanout) => Some(Self::Fanout(Fanout { client, ..fanout })),
            other => (client == Client::Lean).then_some(other),
        }
    }
}

/// What a scenario does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Load {
    /// Messages to subscribers.
    Fanout(Fanout),
    /// Subscribers without messages.
    Idle(Idle),
    /// Messages on a schedule.
    Latency(Latency),
    /// One message at a time, until all have it.
    Seed(Seed),
}
