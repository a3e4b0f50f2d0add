//! Arguments of `throughput`.

use clap::Args;

use super::latency::TargetArgs;
use super::output::{FileArgs, LossArgs};
use super::value::{exponent, payload_of, size};
use super::{ClientArgs, TimeArgs, invalid};
use crate::command::SingleBroker;
use crate::scenario::{Amount, Fanout, Load, Mode, Preset, Timing};
use crate::verify::Stamp;

#[derive(Debug, Args)]
pub(crate) struct ThroughputArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Pattern that sets the options that are not given
    #[arg(long, default_value = "fan-out")]
    #[arg(help_heading = "Load")]
    preset: Preset,
    /// Publishers of each channel [default: that of --preset]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..1000), value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    publishers: Option<u16>,
    /// Subscribers of each channel [default: that of --preset]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    subscribers: Option<u16>,
    /// Clients of each channel that both publish and subscribe, instead of --publishers and
    /// --subscribers. Messages that come back to their sender are not counted
    #[arg(long, conflicts_with_all = ["publishers", "subscribers"], value_name = "COUNT")]
    #[arg(value_parser = clap::value_parser!(u16).range(2..1000))]
    #[arg(help_heading = "Load")]
    members: Option<u16>,
    /// Channels, each with its own publishers and subscribers [default: that of --preset]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..), value_name = "COUNT")]
    #[arg(help_heading = "Load")]
    channels: Option<u16>,
    /// Give channel k a share of the messages in proportion to 1/k^EXPONENT, with one window for all
    /// channels
    #[arg(long, value_name = "EXPONENT", value_parser = exponent)]
    #[arg(help_heading = "Load")]
    zipf: Option<f64>,
    /// Seed of --zipf: the same seed draws the same channels [default: 1]
    #[arg(long, value_name = "NUMBER")]
    #[arg(help_heading = "Load")]
    seed: Option<u64>,
    /// Size of each message in bytes, or such as 64KiB; at least 8 bytes
    #[arg(long, default_value = "64", value_parser = payload_of::<Stamp>, value_name = "SIZE")]
    #[arg(help_heading = "Load")]
    payload: usize,
    /// How publishers send
    #[arg(long, default_value = "pipelined")]
    #[arg(help_heading = "Load")]
    mode: Mode,
    /// Payload bytes that a pipelined publisher has in flight, at least four messages [default:
    /// 256KiB, or 32KiB where ten publish to one channel]
    #[arg(long, value_parser = size, value_name = "SIZE")]
    #[arg(help_heading = "Load")]
    window: Option<usize>,
    /// Messages to send from each publisher, instead of --duration
    #[arg(long, conflicts_with = "duration", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(value_name = "COUNT", help_heading = "Measurement")]
    messages: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    time: TimeArgs,
    #[command(flatten)]
    pub(super) loss: LossArgs,
    #[command(flatten)]
    pub(super) output: FileArgs,
}

impl ThroughputArgs {
    /// Returns the command's settings.
    ///
    /// # Errors
    /// A law for channels that are not there, or what the client cannot do.
    pub(crate) fn resolve(self) -> Result<SingleBroker, clap::Error> {
        let mut load = Fanout {
            payload: self.payload,
            mode: self.mode,
            ..self.preset.load()
        };
        if let Some(members) = self.members {
            load.members = true;
            (load.publishers, load.subscribers) = (members, members.into());
            load.window = Preset::NToN.load().window;
        } else if self.publishers.or(self.subscribers).is_some() {
            load.members = false;
        }
        load.publishers = self.publishers.unwrap_or(load.publishers);
        load.subscribers = self.subscribers.map_or(load.subscribers, usize::from);
        load.channels = self.channels.map_or(load.channels, usize::from);
        load.window = self.window.unwrap_or(load.window);
        load.zipf = self.zipf.or(load.zipf);
        load.seed = self.seed.unwrap_or(load.seed);
        if self.seed.is_some() && load.zipf.is_none() {
            return Err(invalid("--seed needs --zipf or --preset zipf"));
        }
        if self.window.is_some() && load.mode == Mode::Unbatched {
            return Err(invalid("--window needs --mode pipelined"));
        }
        if load.zipf.is_some() && load.channels < 2 {
            return Err(invalid("--zipf needs at least two --channels"));
        }
        let load = Load::Fanout(load).by(self.client.client);
        let load = load.ok_or_else(|| {
            invalid("--client library cannot run --members, --zipf, and presets with them")
        })?;
        let timing = match self.messages {
            Some(messages) => Timing {
                measured: Amount::Messages(messages),
                ..self.time.resolve()
            },
            None => self.time.resolve(),
        };
        Ok(self
            .target
            .resolve(vec![("custom".to_owned(), load)], timing))
    }
}
