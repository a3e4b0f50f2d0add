//! Arguments of `throughput`.

use clap::Args;

use super::latency::TargetArgs;
use super::value::{exponent, payload_of, size};
use super::{ClientArgs, TimeArgs, invalid};
use crate::command::SingleBroker;
use crate::scenario::{Amount, Fanout, Load, Mode, Preset, Timing};
use crate::verify::Stamp;

#[derive(Debug, Args)]
pub(crate) struct ThroughputArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// What the options that are not given come from
    #[arg(long, default_value = "fan-out")]
    preset: Preset,
    /// Publishers of each channel
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..1000))]
    publishers: Option<u16>,
    /// Subscribers of each channel
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    subscribers: Option<u16>,
    /// Clients of each channel that both publish and subscribe, instead of these. What comes back to
    /// its sender is not counted
    #[arg(long, conflicts_with_all = ["publishers", "subscribers"], value_name = "CLIENTS")]
    #[arg(value_parser = clap::value_parser!(u16).range(2..1000))]
    members: Option<u16>,
    /// Channels, each with publishers and subscribers of its own
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    channels: Option<u16>,
    /// Give channel k messages in proportion to 1/k^EXPONENT, with one window for all channels
    #[arg(long, value_name = "EXPONENT", value_parser = exponent)]
    zipf: Option<f64>,
    /// What the channel of each message is drawn from: the same seed draws the same
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Size of each message, at least 8 bytes, like 64 or 64KiB
    #[arg(long, default_value = "64", value_parser = payload_of::<Stamp>)]
    payload: usize,
    /// How publishers send
    #[arg(long, default_value = "pipelined")]
    mode: Mode,
    /// Payload bytes that a pipelined publisher has under way, at least four messages [default:
    /// 256KiB, but 32KiB where ten publish to one channel]
    #[arg(long, value_parser = size)]
    window: Option<usize>,
    /// Messages of each publisher, instead of a time
    #[arg(long, conflicts_with = "seconds", value_parser = clap::value_parser!(u64).range(1..))]
    messages: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    time: TimeArgs,
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
            seed: self.seed,
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
