//! Metrics of the server as a whole: what it is, what it takes of the machine, and its links.

use std::fmt::Error;

use prometheus_client::metrics::MetricType;

use super::Metrics;
use super::encoder::{Encoder, count, figure, seconds, unix_seconds};
use crate::admin::process;
use crate::peer::LinkState;

impl Metrics {
    /// Writes what the server is, and what it takes of the machine.
    pub(super) fn encode_server(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        encoder.family(
            (
                "mles_build_info",
                "Version of the server, as a label; always 1.",
                MetricType::Gauge,
            ),
            [(("version", env!("CARGO_PKG_VERSION")), 1.0)],
        )?;
        let limiter = &self.common.limiter;
        encoder.gauge(
            "mles_connections",
            "Connections at this moment, joined or not.",
            count(limiter.connections()),
        )?;
        encoder.gauge(
            "mles_channels",
            "Channels at this moment, idle ones with history included.",
            count(limiter.channels()),
        )?;
        let limits = self.common.settings().limits.clone();
        encoder.gauge(
            "mles_connections_limit",
            "Connections that there may be at one time (max_connections).",
            count(limits.max_connections),
        )?;
        encoder.gauge(
            "mles_channels_limit",
            "Channels that there may be at one time (max_channels).",
            count(limits.max_channels),
        )?;
        if let Some(expires) = self.directory.tls().and_then(|tls| tls.expires()) {
            encoder.gauge(
                "mles_certificate_expiry_timestamp_seconds",
                "Time at which the first certificate of the TLS listeners' chain expires, since the epoch of Unix.",
                unix_seconds(expires),
            )?;
        }
        encoder.gauge(
            "process_start_time_seconds",
            "Time at which the broker was started, since the epoch of Unix.",
            unix_seconds(self.started),
        )?;
        if let Some(resident) = process::resident_bytes() {
            encoder.gauge(
                "process_resident_memory_bytes",
                "Memory of the machine that the process takes.",
                figure(resident),
            )?;
        }
        if let Some(time) = process::cpu_time() {
            encoder.family(
                (
                    "process_cpu_seconds",
                    "Time that the process has spent on processors.",
                    MetricType::Counter,
                ),
                [(("", ""), seconds(time))],
            )?;
        }
        Ok(())
    }

    /// Counts the links to upstream servers by their state, if there are upstreams.
    pub(super) fn encode_links(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        if self.common.settings().peer.upstreams.is_empty() {
            return Ok(());
        }
        let mut counts = LinkState::ALL.map(|state| (state, 0));
        for link in &self.common.links {
            let state = link.state();
            if let Some((_, count)) = counts.iter_mut().find(|(other, _)| *other == state) {
                *count += 1;
            }
        }
        let names = counts.map(|(state, count)| (state.to_string(), count));
        encoder.family(
            (
                "mles_links",
                "Links to upstream servers, one for each channel with members, by their state.",
                MetricType::Gauge,
            ),
            names
                .iter()
                .map(|(name, links)| (("state", &**name), count(*links))),
        )
    }
}
