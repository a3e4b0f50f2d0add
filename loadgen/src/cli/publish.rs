//! Arguments of `publish`.

use clap::Args;

use super::latency::TargetArgs;
use super::output::{LossArgs, TimesFileArgs};
use super::value::{count, payload_of};
use super::{TimeArgs, invalid};
use crate::command::SingleBroker;
use crate::scenario::{Load, Publish, ScenarioName};
use crate::verify::Stamp;

#[derive(Debug, Args)]
pub(crate) struct PublishArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Connections that publish
    #[arg(long, default_value_t = Publish::default().connections, value_name = "COUNT")]
    #[arg(value_parser = clap::value_parser!(u16).range(1..10_000), help_heading = "Load")]
    connections: u16,
    /// Messages of each connection that are sent and not confirmed, at most
    #[arg(long, default_value_t = Publish::default().in_flight, value_parser = count)]
    #[arg(value_name = "COUNT", help_heading = "Load")]
    in_flight: usize,
    /// Size of each message in bytes, or such as 64KiB; at least 8 bytes
    #[arg(long, default_value = "64", value_parser = payload_of::<Stamp>, value_name = "SIZE")]
    #[arg(help_heading = "Load")]
    payload: usize,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: TimesFileArgs,
}

impl PublishArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// There is no time to measure.
    pub(crate) fn resolve(self) -> Result<SingleBroker, clap::Error> {
        if self.time.duration == 0.0 {
            return Err(invalid("--duration must be over 0"));
        }
        let load = Load::Publish(Publish {
            connections: self.connections,
            in_flight: self.in_flight,
            payload: self.payload,
        });
        let scenarios = vec![(ScenarioName::Publish.name(), load)];
        Ok(self.target.resolve(scenarios, self.time.resolve()))
    }
}
