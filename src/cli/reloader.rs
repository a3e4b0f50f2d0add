//! Reload of a running server: the same sources again, as they are now.

use std::sync::{Mutex, PoisonError};

use super::logging::Log;
use super::open_files::OpenFilesNotice;
use super::serve::{fitted, start_hint};
use crate::broker::{ReloadError, StopHandle};
use crate::config::{Config, Resolved, Sources, compare, resolve};
use crate::reload::{CERTIFICATES, ReloadReport};

/// The configuration in force, and what was last said of the room for connections.
type InForce = (Config, Option<OpenFilesNotice>);

/// Puts the configuration in force that the sources make now.
pub(super) struct Reloader {
    sources: Sources,
    broker: StopHandle,
    log: Log,
    /// The configuration in force. Held while it is replaced, so that two reloads do not mix.
    in_force: Mutex<InForce>,
}

impl Reloader {
    /// Begins with the configuration that the broker was started with.
    pub(super) const fn new(
        sources: Sources,
        broker: StopHandle,
        log: Log,
        in_force: InForce,
    ) -> Self {
        Self {
            sources,
            broker,
            log,
            in_force: Mutex::new(in_force),
        }
    }

    /// Reads the sources and puts what they say in force. Blocks until that is done, and logs the outcome.
    ///
    /// # Errors
    ///
    /// The error, on one line. Nothing has changed then.
    pub(super) fn reload(&self) -> Result<ReloadReport, String> {
        let reloaded = self.try_reload();
        match &reloaded {
            Ok(report) => tracing::info!("reloaded: {report}"),
            Err(error) => {
                tracing::error!("not reloaded, the settings in force stay: {error}");
            }
        }
        reloaded
    }

    fn try_reload(&self) -> Result<ReloadReport, String> {
        let mut guard = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let (in_force, room) = &mut *guard;
        let resolved = resolve(&self.sources).map_err(|error| {
            let problems = error.problems.iter().map(ToString::to_string);
            problems.collect::<Vec<_>>().join("; ").replace('\n', " ")
        })?;
        let Resolved {
            mut config,
            origins,
            warnings,
        } = resolved;
        let changes = compare(in_force, &mut config);
        let settings = fitted(&config.settings, &origins, &self.broker.listeners(), room);
        let filter = Log::filter(&config.log).map_err(|error| error.to_string())?;
        let mut report = self.broker.reload(settings).map_err(|error| match &error {
            ReloadError::Start(start) => format!("{error}{}", start_hint(start)),
            ReloadError::Stopping | ReloadError::NoStore => error.to_string(),
        })?;
        self.log.set_filter(filter);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        // The broker knows settings by other names, and alone what is in the files of certificates.
        let other = report.changed.iter().any(|name| name == CERTIFICATES);
        report.changed = changes.in_force;
        report
            .changed
            .extend(other.then(|| CERTIFICATES.to_owned()));
        report.needs_restart = changes.needs_restart;
        *in_force = config;
        Ok(report)
    }
}
