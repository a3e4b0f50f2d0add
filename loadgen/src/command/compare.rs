//! `loadgen compare` and `loadgen idle`: the same loads on several brokers, started here.
//!
//! Rounds are interleaved (A B C, A B C …), so that a change of the machine's mood meets all
//! brokers alike. Brokers are started afresh for each scenario; for idle scenarios, which look at a
//! process' memory, for each run.

use super::{CommandError, run_once};
use crate::adapter::Broker;
use crate::interrupt::Interrupt;
use crate::process::{Programs, Running, StartError};
use crate::report::Report;
use crate::scenario::{Load, Target, Timing};

/// Which brokers to compare.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// Those of these that are installed; the others are reported as skipped.
    Installed(Vec<Broker>),
    /// These; one that is missing is an error.
    Exactly(Vec<Broker>),
}

/// What to compare, and how.
#[derive(Debug)]
pub(crate) struct Compare {
    pub(crate) brokers: Selection,
    pub(crate) programs: Programs,
    /// Names and loads, in their order.
    pub(crate) scenarios: Vec<(String, Load)>,
    pub(crate) rounds: usize,
    pub(crate) timing: Timing,
}

impl Compare {
    /// Runs everything and tells its progress on standard error.
    ///
    /// # Errors
    /// A broker cannot be started. Runs that fail are in the report.
    pub(crate) fn run(&self, interrupt: &Interrupt) -> Result<Report, CommandError> {
        let mut report = Report::new(self.timing);
        let brokers = self.available(&mut report, interrupt)?;
        for (name, load) in &self.scenarios {
            report.scenarios.insert(name.clone(), load.clone());
            match self.scenario(&mut report, name, load, &brokers, interrupt) {
                Err(StartError::Interrupted) => report.partial = true,
                result => result?,
            }
            if report.partial {
                break;
            }
        }
        Ok(report)
    }

    /// The brokers that can be started, each tried once.
    fn available(
        &self,
        report: &mut Report,
        interrupt: &Interrupt,
    ) -> Result<Vec<Broker>, CommandError> {
        let (brokers, must_be_there) = match &self.brokers {
            Selection::Installed(brokers) => (brokers, false),
            Selection::Exactly(brokers) => (brokers, true),
        };
        let mut available = Vec::new();
        for &broker in brokers {
            match Running::start(broker, &self.programs, interrupt) {
                Ok(running) => {
                    report.brokers.insert(broker, running.provenance().clone());
                    available.push(broker);
                }
                Err(error @ StartError::NotInstalled(_)) if !must_be_there => {
                    eprintln!("SKIPPED {}: {error}", broker.name());
                    report.skipped.insert(broker, error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        if available.is_empty() {
            Err(CommandError::NoBroker)
        } else {
            Ok(available)
        }
    }

    fn scenario(
        &self,
        report: &mut Report,
        name: &str,
        load: &Load,
        brokers: &[Broker],
        interrupt: &Interrupt,
    ) -> Result<(), StartError> {
        let start = |&broker: &Broker| {
            Running::start(broker, &self.programs, interrupt).map(|running| (broker, running))
        };
        let shared = match load {
            Load::Fanout(_) => brokers.iter().map(start).collect::<Result<Vec<_>, _>>()?,
            Load::Idle(_) => Vec::new(),
        };
        for round in 1..=self.rounds {
            for (index, broker) in brokers.iter().enumerate() {
                eprintln!(
                    "{name}: round {round} of {}, {}",
                    self.rounds,
                    broker.name()
                );
                let fresh = match load {
                    Load::Fanout(_) => None,
                    Load::Idle(_) => Some(start(broker)?),
                };
                let Some((broker, running)) = fresh.as_ref().or(shared.get(index)) else {
                    continue;
                };
                let target = Target {
                    addr: running.addr(),
                    pid: Some(running.pid()),
                };
                let under_load = (*broker, target);
                if !run_once(report, name, load, under_load, self.timing, interrupt) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
