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
    open_in(dir, settings).map(Some)
}

#[cfg(feature = "store")]
fn open_in(dir: &Path, settings: &Settings) -> Result<OpenStore, StartError> {
    use std::sync::Arc;
    use std::time::Instant;

    use crate::shard::live::Live;
    use crate::store;

    let begun = Instant::now();
    let live = Live::new(settings.clone(), 0);
    let budget = settings.limits.history_bytes_total as u64;
    let keep = |name: &str| live.keeps_on_disk(name);
    let (handle, loaded) = store::open(dir, &settings.store, budget, &keep)?;
    let runs = loaded.channels.iter().flat_map(|channel| &channel.runs);
    let messages: u64 = runs.map(|run| u64::from(run.messages)).sum();
    tracing::info!(
        dir = %dir.display(), channels = loaded.channels.len(), messages, took = ?begun.elapsed(),
        "histories loaded from the store"
    );
    let forgotten = loaded.too_many;
    if forgotten > 0 {
        tracing::warn!(
            channels = forgotten,
            limit = "history_bytes_total",
            "channels on disk forgotten: there is no memory for them"
        );
    }
    let handle = Arc::new(handle);
    Ok(OpenStore { handle, loaded })
}

#[cfg(not(feature = "store"))]
fn open_in(_: &Path, _: &Settings) -> Result<OpenStore, StartError> {
    Err(StartError::NoStore)
}
