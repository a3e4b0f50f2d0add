//! Metrics of the channels that the scraper has asked for.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;

use super::encoder::{Encoder, count, figure};
use super::{BrokerCollector, ChannelSample};

impl BrokerCollector {
    /// Writes figures of each channel.
    pub(super) fn encode_channels(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        if self.channels.is_empty() {
            return Ok(());
        }
        let mut family = |name, help, value: fn(&ChannelSample) -> f64| {
            let channels = self.channels.iter();
            let samples = channels.map(|channel| (("channel", &*channel.name), value(channel)));
            encoder.family((name, help, MetricType::Gauge), samples)
        };
        family(
            "mles_channel_frames_per_second",
            "Frames that are published in a channel in a second. Channels are shown to scrapers that ask for some.",
            |channel| channel.rate,
        )?;
        family(
            "mles_channel_members",
            "Members of a channel at this moment.",
            |channel| count(channel.members),
        )?;
        family(
            "mles_channel_stalled",
            "Members of a channel at this moment whose sockets are full.",
            |channel| count(channel.stalled),
        )?;
        family(
            "mles_channel_queued_bytes",
            "Bytes that are queued for all members of a channel.",
            |channel| figure(channel.queued_bytes),
        )
    }
}
