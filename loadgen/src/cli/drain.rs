//! Arguments of `drain`, in which clients move from one server to another.

use std::time::Duration;

use clap::Args;
use rlimit::Resource;

use super::value::{count, duration, payload_of, rate};
use super::{ProgramArgs, invalid};
use crate::broker::Broker;
use crate::command::DrainCommand;
use crate::scenario::Drain;
use crate::verify::Stamp;

#[derive(Debug, Args)]
pub(crate) struct DrainArgs {
    /// Sessions of the clients: mles-resume, mles-v2-resume or mles-events
    #[arg(long, default_value = "mles-resume")]
    broker: Broker,
    /// Clients on all channels together [default: 10000, or as many as a linked server takes with the files that it may
    /// open]
    #[arg(long, value_parser = count, value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    clients: Option<usize>,
    /// Channels, which the clients are spread over
    #[arg(long, default_value_t = 100, value_parser = count, value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    channels: usize,
    /// Messages per second on all channels together
    #[arg(long, default_value_t = 100.0, value_parser = rate)]
    #[arg(help_heading = "Load")]
    rate: f64,
    /// Size of each message in bytes, or such as 64KiB; at least 8 bytes
    #[arg(long, default_value = "64", value_parser = payload_of::<Stamp>, value_name = "SIZE")]
    #[arg(help_heading = "Load")]
    payload: usize,
    /// Time over which the first server lets its clients go, such as 20s
    #[arg(long, default_value = "20s", value_parser = duration, value_name = "DURATION")]
    #[arg(help_heading = "Load")]
    period: f64,
    #[command(flatten)]
    programs: ProgramArgs,
}

/// Returns the default number of clients. A linked server counts two files for each connection, as its channel may need a
/// link, and some for itself.
fn most_clients() -> usize {
    const CLIENTS: usize = 10_000;
    const OTHER_FILES: usize = 200;
    let files = rlimit::getrlimit(Resource::NOFILE).map_or(0, |(_, hard)| hard);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    (files.saturating_sub(OTHER_FILES) / 2).clamp(1, CLIENTS)
}

impl DrainArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// The broker is no server of Mles whose clients come back to where they were, or the period is too short to
    /// count joins in it.
    pub(crate) fn resolve(self) -> Result<DrainCommand, clap::Error> {
        if !self.broker.resumes() {
            return Err(invalid(
                "--broker must be mles-resume, mles-v2-resume or mles-events",
            ));
        }
        if self.period < 1.0 {
            return Err(invalid("--period must be at least 1s"));
        }
        Ok(DrainCommand {
            broker: self.broker,
            programs: self.programs.resolve(),
            drain: Drain {
                clients: self.clients.unwrap_or_else(most_clients),
                channels: self.channels,
                payload: self.payload,
                rate: self.rate,
                period: Duration::from_secs_f64(self.period),
            },
        })
    }
}
