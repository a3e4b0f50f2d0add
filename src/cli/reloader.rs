//! Reload of a running server: the same sources again, as they are now.

use std::sync::{Mutex, PoisonError};

use super::logging::Log;
use super::serve::{fitted, start_hint};
use crate::broker::{ReloadError, StopHandle};
use crate::config::{Config, Resolved, Sources, compare, resolve};
use crate::reload::ReloadReport;

/// Puts the configuration in force that the sources make now.
pub(super) struct Reloader {
    sources: Sources,
    broker: StopHandle,
    log: Log,
    /// The configuration in force. Held while it is replaced, so that two reloads do not mix.
    in_force: Mutex<Config>,
}

impl Reloader {
    /// Begins with the configuration that the broker was started with.
    pub(super) const fn new(
        sources: Sources,
        broker: StopHandle,
        log: Log,
        config: Config,
    ) -> Self {
        Self {
            sources,
            broker,
            log,
            in_force: Mutex::new(config),
        }
    }

    /// Reads the sources and puts what they say in force. Blocks until that is done, and logs the outcome.
    ///
    /// # Errors
    ///
    /// What is wrong, on one line. Nothing has changed then.
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
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let resolved = resolve(&self.sources).map_err(|error| {
            let problems = error.problems.iter().map(ToString::to_string);
            problems.collect::<Vec<_>>().join("; ").replace('\n', " ")
        })?;
        let Resolved {
            mut config,
            origins,
            warnings,
        } = resolved;
        let changes = compare(&in_force, &mut config);
        let settings = fitted(&config.settings, &origins, &self.broker.listeners());
        let filter = Log::filter(&config.log).map_err(|error| error.to_string())?;
        let mut report = self.broker.reload(settings).map_err(|error| match &error {
            ReloadError::Start(start) => format!("{error}{}", start_hint(start)),
            ReloadError::Stopping | ReloadError::NoStore => error.to_string(),
        })?;
        self.log.set_filter(filter);
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        report.changed = changes.in_force;
        report.needs_restart = changes.needs_restart;
        *in_force = config;
        Ok(report)
    }
}
