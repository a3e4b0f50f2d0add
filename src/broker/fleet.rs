//! Finding the log of the fleet that a broker is a node of.

use super::StartError;
use crate::fleet::{FleetHandle, OpenFleet};
use crate::protocol::MAX_FRAME_LEN;
use crate::settings::Settings;

/// Finds the log of the fleet, if the broker is a node of one. Blocks until it is found.
#[cfg(feature = "fleet")]
pub(super) fn open_fleet(settings: &Settings) -> Result<Option<OpenFleet>, StartError> {
    use crate::fleet::{FleetPatience, open};
    use crate::log::nats::NatsLog;

    if !settings.fleet.is_on() {
        return Ok(None);
    }
    let fleet = settings.fleet.clone();
    let patience = FleetPatience::new(fleet.patience);
    let opened = open(patience, || async move { NatsLog::connect(&fleet).await });
    let opened = opened.map_err(|error| StartError::Fleet(error.to_string()))?;
    Ok(Some(opened))
}

/// Finds no log: this program was built without fleets.
#[cfg(not(feature = "fleet"))]
pub(super) fn open_fleet(settings: &Settings) -> Result<Option<OpenFleet>, StartError> {
    if settings.fleet.is_on() {
        return Err(StartError::NoFleet);
    }
    Ok(None)
}

/// Sees to it that each frame fits into a record of the log. Where frames may be as large as the protocol allows, which is the
/// default, that limit is lowered.
pub(super) fn fit_frames(settings: &mut Settings, fleet: &FleetHandle) -> Result<(), StartError> {
    let limits = &mut settings.limits;
    let most = fleet.max_run(limits.max_channel_name);
    if limits.max_frame == MAX_FRAME_LEN {
        limits.max_frame = most.min(MAX_FRAME_LEN);
    } else if limits.max_frame > most {
        let max_frame = limits.max_frame;
        return Err(StartError::FleetFrame { max_frame, most });
    }
    Ok(())
}
