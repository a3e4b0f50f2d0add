//! Broker processes: starting them with settings that compare, reading their cost, stopping them.
//!
//! Processes that were started here are stopped here, by their ids, however this program comes to its end
//! (short of SIGKILL): [`RunningBroker`] stops its process when dropped, and signals only set a flag.
//! Nothing here knows a broker's protocol.

mod child;
mod congestion;
mod proc;
mod recipe;
mod running;
mod socket;

pub(crate) use congestion::enter as enter_congestion;
pub(crate) use proc::{CpuTime, Memory, ProcError};
pub(crate) use recipe::{Front, Helper, Invocation, Place, Recipe, Version, free_address, words};
pub(crate) use running::{Provenance, RunningBroker, StartError};
pub(crate) use socket::PeerEnd;
