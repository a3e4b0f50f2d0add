//! Joining a channel that has a history: how long until all of it is there.
//!
//! A joiner counts from `connect` until it has the last message of the history, and has to have all
//! others before it, in order. Then it leaves, so that the channel does not grow. Joiners take turns
//! over several channels, because a server may take their joins into the history as well.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::cpu_meter::CpuMeter;
use super::topology::{STALL, Shape, TURN, Topology, WRITE_LEN, session_number};
use super::{ScenarioError, Target};
use crate::adapter::Role;
use crate::broker::{Broker, HistorySupport};
use crate::distribution::{Distribution, nanoseconds};
use crate::fleet::{Fleet, LinkId};
use crate::interrupt::Interrupt;
use crate::process::CpuTime;
use crate::verify::{Stamp, Tally, Verifier};

/// Connections served before the next joiner is let in.
const TURN_CONNECTIONS: usize = 32;

/// Room for the joins of those who fill the history, and the probes they hear.
const SPARE: usize = 100;

/// Joins to channels with a history.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct HistoryJoin {
    /// Messages in each channel's history.
    pub(crate) history: usize,
    /// Bytes of each.
    pub(crate) payload: usize,
    pub(crate) channels: usize,
    pub(crate) joiners: usize,
    /// Joiners at a time.
    pub(crate) in_flight: usize,
}

impl Default for HistoryJoin {
    fn default() -> Self {
        Self {
            history: 100,
            payload: 64,
            channels: 20,
            joiners: 500,
            in_flight: 1,
        }
    }
}

impl HistoryJoin {
    /// Returns how many messages of each channel `broker` must keep. Joins that are kept too push messages
    /// out.
    pub(crate) fn kept_by(&self, broker: Broker) -> usize {
        let joins = self.joiners.div_ceil(self.channels);
        match broker.history() {
            HistorySupport::MessagesAndJoins => self.history + joins + SPARE,
            HistorySupport::Messages | HistorySupport::None(_) => self.history,
        }
    }
}

/// The result of joins to channels with a history.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct HistoryOutcome {
    /// Joiners that got to the end of the history.
    pub(crate) joined: u64,
    /// Time from the first `connect` until the last joiner was done.
    pub(crate) seconds: f64,
    /// Times from `connect` to the last message of the history, of those who got it.
    pub(crate) times: Distribution,
    /// `true` if the user stopped it.
    pub(crate) partial: bool,
    /// Messages of the history, due and had.
    pub(crate) tally: Tally,
    /// The broker's CPU time, connections included; `None` when its process is not known.
    pub(crate) server_cpu: Option<CpuTime>,
    /// CPU time of this program.
    pub(crate) tool_cpu: CpuTime,
}

impl HistoryJoin {
    /// Loads `broker` at `target`, which must keep this history.
    ///
    /// # Errors
    /// The broker cannot be reached, lets go of a connection, or loses messages while the channels
    /// are filled. What joiners do not get is in the outcome's tally. A user's stop is an error only
    /// before the first joiner.
    pub(crate) fn run(
        &self,
        broker: Broker,
        target: &Target,
        interrupt: &Interrupt,
    ) -> Result<HistoryOutcome, ScenarioError> {
        let adapter = broker.adapter(self.payload, &target.keyring);
        let fleet = Fleet::new(target.addr, adapter.as_ref(), self.payload, interrupt)?;
        let shape = Shape {
            channels: self.channels,
            ..Shape::single(self.payload)
        };
        let mut topology = Topology::assemble(fleet, shape)?;
        self.fill(&mut topology)?;
        let filled = topology.tally();
        if !filled.is_clean() {
            return Err(ScenarioError::WarmUp(filled));
        }
        topology.dismiss_publishers();
        topology.fleet.limit_turns(TURN_CONNECTIONS);
        let mut joiners = Joiners {
            topology,
            waiting: BTreeMap::new(),
            times: Distribution::new(),
            tally: Tally::default(),
        };
        let meter = CpuMeter::start(target)?;
        let start = Instant::now();
        let partial = ScenarioError::interrupted(joiners.all(self))?.is_none();
        let seconds = start.elapsed().as_secs_f64();
        let cost = meter.stop(joiners.tally.delivered)?;
        Ok(HistoryOutcome {
            joined: joiners.times.count(),
            seconds,
            times: joiners.times,
            partial,
            tally: joiners.tally,
            server_cpu: cost.server,
            tool_cpu: cost.tool,
        })
    }

    /// Publishes the history of each channel and waits until its subscriber has it.
    fn fill(&self, topology: &mut Topology<'_, Stamp>) -> Result<(), ScenarioError> {
        for which in 0..topology.publishers.len() {
            for _ in 0..self.history {
                let link = topology.publishers[which].link;
                topology.publishers[which].publish(topology.fleet.outbox(link), |stamp| stamp);
                while topology.fleet.outbox(link).len() > WRITE_LEN
                    && !topology.fleet.flush(link)?
                {
                    topology.serve(TURN, |_, _| {})?;
                }
            }
            topology.fleet.flush(topology.publishers[which].link)?;
        }
        let mut last = Instant::now();
        while !topology.is_idle() && last.elapsed() < STALL {
            topology.serve(TURN, |_, _| last = Instant::now())?;
        }
        Ok(())
    }
}

/// Those who join, and what they have got.
struct Joiners<'a> {
    topology: Topology<'a, Stamp>,
    /// Joiners that are not done, by connection.
    waiting: BTreeMap<LinkId, Joiner>,
    times: Distribution,
    tally: Tally,
}

struct Joiner {
    since: Instant,
    /// How long it took, once it was done.
    done: Option<Duration>,
    verifier: Verifier,
}

impl Joiners<'_> {
    /// Lets all join. When nothing comes for [`STALL`], those who wait have lost the rest and the
    /// others do not join.
    fn all(&mut self, load: &HistoryJoin) -> Result<(), ScenarioError> {
        let mut opened = 0;
        let mut last = Instant::now();
        while opened < load.joiners || !self.waiting.is_empty() {
            while opened < load.joiners && self.waiting.len() < load.in_flight {
                self.open(opened % load.channels)?;
                opened += 1;
            }
            if self.receive(load.history as u64)? {
                last = Instant::now();
            } else if last.elapsed() > STALL {
                self.account(load.history as u64, |_| true);
                break;
            }
            self.account(load.history as u64, |joiner| joiner.done.is_some());
        }
        Ok(())
    }

    fn open(&mut self, channel: usize) -> Result<(), ScenarioError> {
        let joiner = Joiner {
            since: Instant::now(),
            done: None,
            verifier: Verifier::new(1),
        };
        let name = self.topology.channel(channel).to_owned();
        let fleet = &mut self.topology.fleet;
        let (link, _) = fleet.open_at_once(Role::Subscriber, session_number(), &name)?;
        self.waiting.insert(link, joiner);
        Ok(())
    }

    /// Serves the connections, and says whether a joiner got something.
    fn receive(&mut self, history: u64) -> Result<bool, ScenarioError> {
        let waiting = &mut self.waiting;
        let mut came = false;
        self.topology.fleet.turn(TURN, |link, stamp| {
            if let Some(joiner) = waiting.get_mut(&link) {
                came = true;
                joiner.verifier.check(stamp);
                if joiner.done.is_none() && joiner.verifier.progress(0) >= history {
                    joiner.done = Some(joiner.since.elapsed());
                }
            }
        })?;
        Ok(came)
    }

    /// Counts what joiners have got and lets them go. Those who are done have read all that had come,
    /// so that a message that comes twice has been seen.
    fn account(&mut self, history: u64, is_over: impl Fn(&Joiner) -> bool) {
        let over = self.waiting.iter().filter(|(_, joiner)| is_over(joiner));
        let over: Vec<LinkId> = over.map(|(&link, _)| link).collect();
        for joiner in over {
            self.topology.fleet.close(joiner);
            if let Some(joiner) = self.waiting.remove(&joiner) {
                self.tally.add(&joiner.verifier.tally([history]));
                if let Some(time) = joiner.done {
                    self.times.record(nanoseconds(time));
                }
            }
        }
    }
}
