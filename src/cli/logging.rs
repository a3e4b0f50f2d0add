//! Logs go to standard error, as lines for people or as JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::prelude::*;

use crate::config::{LogFormat, LogSettings};

/// Sets up logging for this process. Call it once.
///
/// # Errors
///
/// When the level cannot be parsed; settings that come out of the configuration can be.
pub(super) fn init(settings: &LogSettings) -> Result<(), ParseError> {
    let filter: Targets = settings.level.parse()?;
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let lines = match settings.format {
        LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
    Ok(())
}
