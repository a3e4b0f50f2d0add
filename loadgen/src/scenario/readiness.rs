//! The check that a broker which accepts connections serves them too.

use super::topology::{Shape, Topology};
use super::{ScenarioError, Target};
use crate::broker::Broker;
use crate::fleet::Fleet;
use crate::interrupt::Interrupt;
use crate::verify::Stamp;

/// Lets a subscriber and a publisher in, over TLS where the broker has it, and waits until a message of one
/// reaches the other.
///
/// # Errors
/// The broker does not do that, or not yet; or the user asked to stop.
pub(crate) fn pass_a_message(
    broker: Broker,
    target: &Target,
    interrupt: &Interrupt,
) -> Result<(), ScenarioError> {
    let adapter = broker.adapter(Stamp::LEN, &target.keyring);
    let fleet = Fleet::new(target.addr, adapter.as_ref(), Stamp::LEN, interrupt)?;
    Topology::<Stamp>::assemble(fleet, Shape::single(Stamp::LEN)).map(drop)
}
