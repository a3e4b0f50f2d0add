//! Opening the store of the channels that keep their history on disk.

use super::StartError;
use crate::settings::Settings;
use crate::shard::storing::OpenStore;

/// Opens the store if a channel may keep its history on disk.
pub(super) fn open_store(settings: &Settings) -> Result<Option<OpenStore>, StartError> {
    if !settings.channels.need_store() {
        return Ok(None);
    }
    if settings.store.dir.is_none() {
        return Err(StartError::NoStoreDirectory);
    }
    Err(StartError::NoStore)
}
