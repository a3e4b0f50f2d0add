//! `loadgen drain`: two servers of Mles, one of which is stopped while clients are connected to it.

use std::fmt;
use std::time::Duration;

use super::CommandError;
use super::launch::{launch, target};
use crate::broker::{Broker, Drained, Programs};
use crate::interrupt::Interrupt;
use crate::process::free_address;
use crate::scenario::{Drain, DrainOutcome};

/// How long the first server may take to end after its last client has gone.
const END: Duration = Duration::from_secs(20);

/// Two servers to start, and the clients that move from one to the other.
#[derive(Debug)]
pub(crate) struct DrainCommand {
    pub(crate) broker: Broker,
    pub(crate) programs: Programs,
    pub(crate) drain: Drain,
}

/// What came of it, and how the first server ended.
#[derive(Debug)]
pub(crate) struct DrainReport {
    outcome: DrainOutcome,
    /// Why the end of the first server was not as it should be.
    bad_end: Option<String>,
}

impl DrainCommand {
    /// Starts both servers, moves the clients, and stops both.
    ///
    /// # Errors
    /// A server cannot be started, or a publisher loses its connection.
    pub(crate) fn run(&self, interrupt: &Interrupt) -> Result<DrainReport, CommandError> {
        let upstream = free_address()?;
        let mut programs = self.programs.clone();
        programs.history = self.drain.kept();
        programs.drained = Some(Drained::Upstream(upstream));
        let second = launch(self.broker, &programs, interrupt)?;
        programs.drained = Some(Drained::Downstream {
            upstream,
            period: self.drain.period,
        });
        let mut first = launch(self.broker, &programs, interrupt)?;
        let targets = [&target(&first), &target(&second)];
        let outcome = self
            .drain
            .run(self.broker, targets, || first.terminate(), interrupt)?;
        let bad_end = first.wait_for_success(END, interrupt).err();
        Ok(DrainReport { outcome, bad_end })
    }
}

impl DrainReport {
    /// Returns `true` if all is as it should be.
    pub(crate) fn is_good(&self) -> bool {
        self.bad_end.is_none() && self.outcome.troubles().is_empty()
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.outcome)?;
        match &self.bad_end {
            Some(why) => writeln!(f, "FAULT     the first server {why}"),
            None => Ok(()),
        }
    }
}
