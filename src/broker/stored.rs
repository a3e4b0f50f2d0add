//! Opening and closing the store of the channels that keep their history on disk.

use std::path::Path;

use super::StartError;
use crate::settings::Settings;
use crate::shard::storing::OpenStore;

/// Opens the store if a channel may keep its history on disk, and loads what is in it. Blocks until all is read.
pub(super) fn open_store(settings: &Settings) -> Result<Option<OpenStore>, StartError> {
    if !settings.channels.need_store() {
        return Ok(None);
    }
    let dir = settings.store.dir.as_deref();
    let dir = dir.ok_or(StartError::NoStoreDirectory)?;
    check_directory(dir)?;
    open_in(dir, settings).map(Some)
}

/// Checks that the store's directory is one, or that it could be made.
pub(super) fn check_directory(dir: &Path) -> Result<(), StartError> {
    let nearest = dir.ancestors().find(|path| path.exists());
    match nearest.filter(|path| !path.is_dir()) {
        Some(file) => Err(StartError::StoreDirectory(file.to_owned())),
        None => Ok(()),
    }
}

#[cfg(feature = "store")]
fn open_in(dir: &Path, settings: &Settings) -> Result<OpenStore, StartError> {
    use std::sync::Arc;

    use crate::shard::live::Live;
    use crate::store;

    let live = Live::new(settings.clone(), 0);
    let budget = settings.limits.history_bytes_total as u64;
    let keep = |name: &str| live.keeps_on_disk(name);
    let (handle, loaded) = store::open(dir, &settings.store, budget, &keep)?;
    let handle = Arc::new(handle);
    Ok(OpenStore { handle, loaded })
}

#[cfg(not(feature = "store"))]
fn open_in(_: &Path, _: &Settings) -> Result<OpenStore, StartError> {
    Err(StartError::NoStore)
}
