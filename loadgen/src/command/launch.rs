//! Starting a broker, for all commands that do.

use mles::protocol::Keyring;

use crate::broker::{Broker, Programs};
use crate::interrupt::Interrupt;
use crate::process::{RunningBroker, StartError};
use crate::scenario::{Target, pass_a_message};

/// Starts `broker` on a free port of loopback and waits until it passes messages on. Some listen before they
/// have read their certificate, or their users.
///
/// # Errors
/// See [`StartError`]; nothing is left running.
pub(super) fn launch(
    broker: Broker,
    programs: &Programs,
    interrupt: &Interrupt,
) -> Result<RunningBroker, StartError> {
    let mut process = broker.start(programs, interrupt)?;
    let target = target(&process);
    process.wait_until(interrupt, || pass_a_message(broker, &target, interrupt))?;
    Ok(process)
}

/// Returns a broker started here as the target of a load.
pub(super) fn target(process: &RunningBroker) -> Target {
    Target {
        addr: process.addr(),
        others: process.others(),
        pids: process.pids(),
        keyring: Keyring::default(),
    }
}
