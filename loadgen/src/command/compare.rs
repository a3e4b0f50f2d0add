//! `loadgen compare` and `loadgen idle`: the same loads on several brokers, started here.
//!
//! Rounds are interleaved (A B C, A B C …), so that a change of the machine's mood meets all
//! brokers alike. Brokers are started afresh for each scenario; for those that look at a process' memory,
//! for each run.

use std::ops::ControlFlow;
use std::time::Duration;

use super::launch::{launch, target};
use super::runner::Runner;
use super::{CommandError, Measure};
use crate::broker::{Broker, Programs, missing_packages};
use crate::interrupt::Interrupt;
use crate::output::say;
use crate::process::{RunningBroker, StartError};
use crate::report::{Report, Run, RunResult};
use crate::scenario::{Load, Timing};
use crate::watch::Watch;

/// About the time that a broker takes to start.
const START: Duration = Duration::from_millis(300);

/// Which brokers to compare.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// Takes the brokers of the list that are installed; the others are reported as skipped.
    Installed(Vec<Broker>),
    /// Takes all brokers of the list; one that is missing is an error.
    Exactly(Vec<Broker>),
}

impl Selection {
    fn list(&self) -> &[Broker] {
        match self {
            Self::Installed(brokers) | Self::Exactly(brokers) => brokers,
        }
    }
}

/// A comparison of brokers that are started here.
#[derive(Debug)]
pub(crate) struct Compare {
    pub(crate) brokers: Selection,
    pub(crate) programs: Programs,
    /// Fail when packages with programs of the brokers are missing, and say which.
    pub(crate) check_packages: bool,
    /// Tell the plan and do nothing.
    pub(crate) plan_only: bool,
    /// Names and loads, in their order.
    pub(crate) scenarios: Vec<(String, Load)>,
    pub(crate) rounds: usize,
    pub(crate) timing: Timing,
}

impl Compare {
    /// Returns what would be run, and about how long it would take, in a sentence.
    ///
    /// # Errors
    /// A broker that has to be there is not installed.
    pub(crate) fn plan(&self) -> Result<String, CommandError> {
        let mut brokers = self.brokers.list().to_vec();
        match self.brokers {
            Selection::Installed(_) => brokers.retain(|it| it.program(&self.programs).is_ok()),
            Selection::Exactly(_) => {
                for broker in &brokers {
                    broker.program(&self.programs)?;
                }
            }
        }
        Ok(self.plan_for(&brokers))
    }

    fn plan_for(&self, brokers: &[Broker]) -> String {
        let (mut runs, mut time) = (0, Duration::ZERO);
        for (_, load) in &self.scenarios {
            let starts = if load.needs_new_process() {
                self.rounds
            } else {
                1
            };
            let fits = |broker: &&Broker| load.objection(**broker).is_none();
            for broker in brokers.iter().filter(fits) {
                runs += self.rounds;
                time += load.estimate(self.timing, broker.pace()) * count(self.rounds);
                time += START * count(starts);
            }
        }
        let (scenarios, brokers) = (self.scenarios.len(), brokers.len());
        let (rounds, minutes) = (self.rounds, time.as_secs_f64() / 60.0);
        format!(
            "{runs} runs in about {minutes:.1} min (scenarios: {scenarios}, brokers: {brokers}, rounds: {rounds})"
        )
    }

    /// Returns the brokers that can be started, each tried once.
    fn available(
        &self,
        report: &mut Report,
        interrupt: &Interrupt,
    ) -> Result<Vec<Broker>, CommandError> {
        let must_be_there = matches!(self.brokers, Selection::Exactly(_));
        let mut available = Vec::new();
        for &broker in self.brokers.list() {
            match launch(broker, &self.programs, interrupt) {
                Ok(running) => {
                    report.brokers.insert(broker, running.provenance().clone());
                    available.push(broker);
                }
                Err(error @ StartError::NotInstalled { .. }) if !must_be_there => {
                    say(format_args!("SKIPPED {}: {error}", broker.name()));
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

    /// Runs all rounds of one scenario; `Break` when the user stopped it.
    fn scenario(
        &self,
        report: &mut Report,
        (name, load): (&str, &Load),
        brokers: &[Broker],
        runner: &mut Runner<'_>,
    ) -> ControlFlow<()> {
        let brokers = fitting(report, (name, load), brokers);
        let mut running: Vec<Option<RunningBroker>> = brokers.iter().map(|_| None).collect();
        for round in 1..=self.rounds {
            for (running, broker) in running.iter_mut().zip(brokers.iter().copied()) {
                say(format_args!(
                    "{name}: round {round} of {}, {}",
                    self.rounds,
                    broker.name()
                ));
                report.push(self.once(running, broker, (name, load), round, runner)?);
                if report.partial {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Runs a load once, on the broker that is `running` or on a new one, which stays for the next run
    /// where that makes no difference to it.
    fn once(
        &self,
        running: &mut Option<RunningBroker>,
        broker: Broker,
        (name, load): (&str, &Load),
        round: usize,
        runner: &mut Runner<'_>,
    ) -> ControlFlow<(), Run> {
        let failed = |why: String| {
            ControlFlow::Continue(Run::new(name, broker, round, RunResult::Failed(why)))
        };
        let started = match running.take() {
            Some(running) => Ok(running),
            None => {
                let programs = Programs {
                    history: load.history(broker),
                    ..self.programs.clone()
                };
                launch(broker, &programs, runner.interrupt)
            }
        };
        let process = match started {
            Ok(process) => process,
            Err(StartError::Interrupted) => return ControlFlow::Break(()),
            Err(error) => return failed(error.for_report()),
        };
        let target = target(&process);
        match runner.run((name, load), (broker, &target), round) {
            Err(error) if error.is_interrupt() => ControlFlow::Break(()),
            // It may have brought the broker down: the next run gets another.
            Err(error) => failed(error.to_string()),
            Ok(run) => {
                if !load.needs_new_process() {
                    *running = Some(process);
                }
                ControlFlow::Continue(run)
            }
        }
    }
}

impl Measure for Compare {
    /// Runs everything and tells its progress on standard error.
    ///
    /// # Errors
    /// A broker or its package is missing, or it cannot be started. Runs that fail are in the report.
    fn run(&self, interrupt: &Interrupt, watch: &mut Watch) -> Result<Report, CommandError> {
        if self.check_packages {
            let missing = missing_packages(self.brokers.list(), &self.programs);
            if !missing.is_empty() {
                return Err(CommandError::MissingPackages(missing.join(", ")));
            }
        }
        let mut report = Report::new(self.timing);
        let brokers = match self.available(&mut report, interrupt) {
            Err(CommandError::Start(StartError::Interrupted)) => {
                report.partial = true;
                return Ok(report);
            }
            available => available?,
        };
        say(format_args!("{}", self.plan_for(&brokers)));
        let mut runner = Runner::new(self.timing, interrupt, watch);
        for (name, load) in &self.scenarios {
            report.scenarios.insert(name.clone(), load.clone());
            if self
                .scenario(&mut report, (name, load), &brokers, &mut runner)
                .is_break()
            {
                report.partial = true;
                break;
            }
        }
        Ok(report)
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Returns those of `brokers` that `load` is for; the others are in the report with the reason.
fn fitting(report: &mut Report, (name, load): (&str, &Load), brokers: &[Broker]) -> Vec<Broker> {
    let fits = |broker: &Broker| match load.objection(*broker) {
        None => true,
        Some(why) => {
            say(format_args!("SKIPPED {name} {}: {why}", broker.name()));
            report.omit(name, *broker, why);
            false
        }
    };
    brokers.iter().copied().filter(fits).collect()
}
