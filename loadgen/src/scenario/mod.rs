//! Loads on brokers: their shapes, and the named ones that reports are made of.
//!
//! Scenarios know connections and stamps, not brokers: they run the same against each. A scenario
//! returns what it saw and judges nothing; medians, ratios and verdicts are [`crate::report`]'s.

mod by_library;
mod bystander;
mod catalog;
mod cpu_meter;
mod drain;
mod estimate;
mod fanout;
mod history;
mod idle;
mod lag;
mod latency;
mod open_loop;
mod publish;
mod publisher;
mod readiness;
mod reconnect;
mod recorder;
mod seed;
mod slow_reader;
mod storm;
mod timetable;
mod topology;
mod zipf;

use std::net::SocketAddr;

use mles::protocol::Keyring;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::adapter::Role;
use crate::broker::{Broker, Client, HistorySupport};
use crate::fleet::FleetError;
use crate::library::LibraryError;
use crate::process::ProcError;
use crate::verify::Tally;

pub(crate) use catalog::{Preset, ScenarioName, ScenarioOptions};
pub(crate) use drain::{Drain, DrainOutcome};
pub(crate) use fanout::{Amount, Fanout, FanoutOutcome, Mode, Timing};
pub(crate) use history::{HistoryJoin, HistoryOutcome};
#[cfg(test)]
pub(crate) use idle::IdlePoint;
pub(crate) use idle::{Idle, IdleOutcome};
pub(crate) use lag::LagBound;
pub(crate) use latency::{Latency, LatencyOutcome};
pub(crate) use publish::{Publish, PublishOutcome};
pub(crate) use readiness::pass_a_message;
pub(crate) use reconnect::{ReconnectOutcome, ReconnectStorm};
pub(crate) use seed::{Seed, SeedOutcome};
#[cfg(test)]
pub(crate) use slow_reader::MemoryPoint;
pub(crate) use slow_reader::{SlowReader, SlowReaderOutcome};
pub(crate) use storm::{ConnectStorm, StormOutcome};
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
        deaf: usize,
        all: usize,
        seconds: u64,
    },
    /// The process that was named did not do the work.
    #[error("process {0} used no CPU time while it was loaded: it is not the broker")]
    NotTheBroker(u32),
    /// The broker let go of a connection that had just been made.
    #[error(
        "the broker let go of a {0:?} that had just connected: it does not let it in; a server of \
         Mles says no more when the key is wrong (--key)"
    )]
    NotLetIn(Role),
    /// Subscribers that ask for positions were told some that are not right.
    #[error("positions do not fit the messages: {0}")]
    Positions(String),
    /// The warm-up lost messages: there is no use in measuring.
    #[error("messages went astray in the warm-up: {0:?}")]
    WarmUp(Tally),
}

impl ScenarioError {
    /// Returns `true` if the user asked to stop.
    pub(crate) fn is_interrupt(&self) -> bool {
        matches!(self, Self::Fleet(FleetError::Interrupted))
    }

    /// Turns a stop by the user into `None`, where the part that was done is worth keeping.
    fn interrupted<T>(result: Result<T, Self>) -> Result<Option<T>, Self> {
        match result {
            Err(error) if error.is_interrupt() => Ok(None),
            result => result.map(Some),
        }
    }
}

/// The broker under load.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Where its other nodes listen, over which fan-out and latency spread their subscribers.
    pub(crate) others: Vec<SocketAddr>,
    /// Its processes, when they are local and known.
    pub(crate) pids: Vec<u32>,
    /// The source of keys for sessions of Mles.
    pub(crate) keyring: Keyring,
}

impl Load {
    /// Returns why `broker` cannot be loaded with this; `None` when it can.
    pub(crate) fn objection(&self, broker: Broker) -> Option<&'static str> {
        match self {
            Self::History(_) => match broker.history() {
                HistorySupport::None(why) => Some(why),
                HistorySupport::Messages | HistorySupport::MessagesAndJoins => None,
            },
            Self::SlowReader(_) => broker.why_no_slow_reader(),
            Self::Publish(_) => broker.why_no_confirmation(),
            _ => None,
        }
    }

    /// Returns how many messages of each channel a server must keep for this.
    pub(crate) fn history(&self, broker: Broker) -> usize {
        match self {
            Self::History(load) => load.kept_by(broker),
            Self::Reconnect(load) => load.kept_by(broker),
            _ => 0,
        }
    }

    /// Returns `true` if the broker's process has to be a new one for each run.
    pub(crate) fn needs_new_process(&self) -> bool {
        matches!(
            self,
            Self::Idle(_) | Self::SlowReader(_) | Self::Reconnect(_)
        )
    }

    /// Returns the client that speaks with the broker.
    pub(crate) fn client(&self) -> Client {
        match self {
            Self::Fanout(fanout) => fanout.client,
            Self::Latency(latency) => latency.client,
            Self::Seed(seed) => seed.client,
            Self::Idle(_)
            | Self::Storm(_)
            | Self::History(_)
            | Self::SlowReader(_)
            | Self::Publish(_)
            | Self::Reconnect(_) => Client::Lean,
        }
    }

    /// Returns this load through another client; `None` where only the lean one can do it.
    pub(crate) fn by(self, client: Client) -> Option<Self> {
        match self {
            Self::Fanout(fanout) if !fanout.members && fanout.zipf.is_none() => {
                Some(Self::Fanout(Fanout { client, ..fanout }))
            }
            Self::Latency(latency) => Some(Self::Latency(Latency { client, ..latency })),
            Self::Seed(seed) => Some(Self::Seed(Seed { client, ..seed })),
            other => (client == Client::Lean).then_some(other),
        }
    }
}

/// The load of a scenario.
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
    /// Connections all at once.
    Storm(ConnectStorm),
    /// Joins to channels with a history.
    History(HistoryJoin),
    /// A subscriber that stops reading.
    #[serde(rename = "slow-reader")]
    SlowReader(SlowReader),
    /// Publishers that have each message confirmed.
    Publish(Publish),
    /// Clients that are all cut off at once and come back.
    Reconnect(ReconnectStorm),
}
