//! Links to other servers: up to an upstream, and down to the servers below.

mod downlink;
mod merge_queue;
pub(crate) mod received_resync;
mod uplink;

pub(super) use downlink::{Downlinks, MAX_LATE};
pub(super) use merge_queue::{Merging, SeatedServer};
pub(super) use uplink::{Compared, Uplink};
