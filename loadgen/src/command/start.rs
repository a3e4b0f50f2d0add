//! `loadgen start`: one broker, as `compare` starts it, until the user asks to stop.

use std::io::{self, Write as _};
use std::time::Duration;

use super::CommandError;
use super::launch::launch;
use crate::broker::{Broker, Programs};
use crate::interrupt::Interrupt;
use crate::process::StartError;

/// How often the broker is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// One broker to start and leave running.
#[derive(Debug)]
pub(crate) struct Start {
    pub(crate) broker: Broker,
    pub(crate) programs: Programs,
}

impl Start {
    /// Starts the broker, prints how other commands reach it, and stops it when asked to.
    ///
    /// # Errors
    /// The broker cannot be started, or ends by itself.
    pub(crate) fn run(&self, interrupt: &Interrupt) -> Result<(), CommandError> {
        let mut running = match launch(self.broker, &self.programs, interrupt) {
            Err(StartError::Interrupted) => return Ok(()),
            started => started?,
        };
        let addrs = std::iter::once(running.addr()).chain(running.others());
        let addrs: Vec<_> = addrs.map(|addr| addr.to_string()).collect();
        let pids: Vec<_> = running.pids().iter().map(ToString::to_string).collect();
        // Nobody may be there to read it.
        let _ = writeln!(
            io::stdout(),
            "--broker {} --addr {} --pid {}",
            self.broker.name(),
            addrs.join(","),
            pids.join(",")
        );
        while !interrupt.sleep(LOOK) {
            running.check()?;
        }
        Ok(())
    }
}
