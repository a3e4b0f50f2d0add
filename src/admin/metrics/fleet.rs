//! Metrics of the fleet that a server is a node of.

use std::fmt::Error;
use std::time::Duration;

use prometheus_client::metrics::MetricType;

use super::Metrics;
use super::encoder::{Encoder, figure, seconds};
use crate::fleet::FleetPhase;

impl Metrics {
    /// Writes figures of the fleet, if there is one.
    pub(super) fn encode_fleet(&self, encoder: &mut Encoder<'_>) -> Result<(), Error> {
        let Some(fleet) = &self.common.fleet else {
            return Ok(());
        };
        let status = fleet.status();
        let age = status.own_record_age().unwrap_or(Duration::ZERO);
        for (name, help, value) in [
            (
                "mles_fleet_serving",
                "1 while records of this node come back from the fleet's log, so that clients are served.",
                f64::from(u8::from(status.phase() == FleetPhase::Serving)),
            ),
            (
                "mles_fleet_connected",
                "1 while the fleet's log is being read.",
                f64::from(u8::from(status.is_connected())),
            ),
            (
                "mles_fleet_own_record_age_seconds",
                "Time since a record of this node came back from the fleet's log; about a second at most while all is well.",
                seconds(age),
            ),
            (
                "mles_fleet_applied_sequence",
                "Place in the fleet's log of the newest record that this node has applied.",
                figure(status.applied().0),
            ),
            (
                "mles_fleet_lag_records",
                "Records that the fleet's log is known to have and this node has not applied; only while it catches up.",
                figure(status.lag()),
            ),
            (
                "mles_fleet_remembered",
                "Seats of publishers and idempotency keys of the last ten minutes that this node remembers, at most a million of each.",
                figure(status.remembered.get()),
            ),
            (
                "mles_fleet_epoch_number",
                "Number of the fleet's epoch: it rises when the log has lost records.",
                figure(status.epoch().number),
            ),
        ] {
            encoder.gauge(name, help, value)?;
        }
        for (name, help, counter) in [
            (
                "mles_fleet_batches",
                "Records that this node has appended to the fleet's log, those that only show that it is there included.",
                &status.batches,
            ),
            (
                "mles_fleet_batch_bytes",
                "Bytes of the records that this node has appended to the fleet's log.",
                &status.batch_bytes,
            ),
            (
                "mles_fleet_append_retries",
                "Times that a record had to be appended once more: the log had not answered, or had not shown it.",
                &status.retries,
            ),
            (
                "mles_fleet_records",
                "Records of all nodes that were read from the fleet's log.",
                &status.records,
            ),
            (
                "mles_fleet_record_bytes",
                "Bytes of the records that were read from the fleet's log.",
                &status.record_bytes,
            ),
            (
                "mles_fleet_repeats",
                "Records that were in the log twice, and publications by an idempotency key that had its place already.",
                &status.repeats,
            ),
            (
                "mles_fleet_fenced_runs",
                "Runs that were left out: their publisher had come back on another session meanwhile, and was told so.",
                &status.fenced,
            ),
            (
                "mles_fleet_late_sections",
                "Proposals that were void: the log had them a minute too late, or in another epoch.",
                &status.late,
            ),
            (
                "mles_fleet_let_go_frames",
                "Frames that clients had published and that were let go, as the node was cut off.",
                &status.let_go_frames,
            ),
            (
                "mles_fleet_unreadable_records",
                "Records of the fleet's log that are damaged, and left out by all nodes.",
                &status.unreadable,
            ),
            (
                "mles_fleet_reconnects",
                "Times that the fleet's log was read anew from the record that was applied last.",
                &status.reconnects,
            ),
            (
                "mles_fleet_restarts",
                "Times that this node has begun anew from what the fleet's log has: it had lost records, or the node was away for too long.",
                &status.restarts,
            ),
            (
                "mles_fleet_differences",
                "Digests of other nodes that are not as those of this node. Always 0, or nodes have read different records.",
                &status.differences,
            ),
        ] {
            let value = figure(counter.get());
            encoder.family((name, help, MetricType::Counter), [(("", ""), value)])?;
        }
        Ok(())
    }
}
