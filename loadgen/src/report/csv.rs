//! One line for each run, for spreadsheets: the figures of the tables, run by run. Times are in
//! microseconds. What a scenario does not have is empty.

use std::io::{self, Write};

use serde::Serialize;

use super::group::per_delivery;
use super::{Report, Run, RunResult};
use crate::distribution::Distribution;

/// A line; its fields are the columns.
#[derive(Debug, Default, Serialize)]
struct Row<'a> {
    scenario: &'a str,
    broker: &'a str,
    round: usize,
    valid: bool,
    exact: bool,
    partial: bool,
    delivered: Option<u64>,
    expected: Option<u64>,
    deliveries_per_second: Option<f64>,
    p50_us: Option<f64>,
    p90_us: Option<f64>,
    p99_us: Option<f64>,
    p99_9_us: Option<f64>,
    max_us: Option<f64>,
    mean_us: Option<f64>,
    deviation_us: Option<f64>,
    service_p50_us: Option<f64>,
    service_p99_us: Option<f64>,
    lag_p99_us: Option<f64>,
    lag_max_us: Option<f64>,
    server_us_per_delivery: Option<f64>,
    loadgen_us_per_delivery: Option<f64>,
    bytes_per_idle_subscriber: Option<f64>,
    trouble: String,
}

/// Writes all runs of `report`, in their order, below a line with the names of the columns.
///
/// # Errors
/// What `out` says.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    for run in &report.runs {
        writer.serialize(row(run))?;
    }
    writer.flush()
}

fn row(run: &Run) -> Row<'_> {
    let mut row = Row {
        scenario: &run.scenario,
        broker: run.broker.name(),
        round: run.round,
        exact: run.result.is_exact(),
        partial: run.result.is_partial(),
        trouble: run.trouble().unwrap_or_default(),
        ..Row::default()
    };
    row.valid = row.trouble.is_empty();
    if let Some((tally, server, tool)) = run.result.cost() {
        row.delivered = Some(tally.delivered);
        row.expected = Some(tally.expected);
        row.server_us_per_delivery = server.map(|cpu| rounded(per_delivery(cpu, tally) / 1e3));
        row.loadgen_us_per_delivery = Some(rounded(per_delivery(tool, tally) / 1e3));
    }
    match &run.result {
        RunResult::Fanout(outcome) => {
            row.deliveries_per_second =
                Some(rounded(outcome.tally.delivered as f64 / outcome.seconds));
        }
        RunResult::Latency(outcome) => {
            row.deliveries_per_second =
                Some(rounded(outcome.tally.delivered as f64 / outcome.seconds));
            row.times(&outcome.latency);
            row.service_p50_us = Some(micros(&outcome.service, 50.0));
            row.service_p99_us = Some(micros(&outcome.service, 99.0));
            row.lag_p99_us = Some(micros(&outcome.lag, 99.0));
            row.lag_max_us = Some(micros(&outcome.lag, 100.0));
        }
        RunResult::Seed(outcome) => row.times(&outcome.times),
        RunResult::Idle(idle) => {
            row.bytes_per_idle_subscriber = Some(rounded(idle.bytes_per_subscriber))
        }
        RunResult::Failed(_) => {}
    }
    row
}

impl Row<'_> {
    fn times(&mut self, times: &Distribution) {
        self.p50_us = Some(micros(times, 50.0));
        self.p90_us = Some(micros(times, 90.0));
        self.p99_us = Some(micros(times, 99.0));
        self.p99_9_us = Some(micros(times, 99.9));
        self.max_us = Some(micros(times, 100.0));
        self.mean_us = Some(rounded(times.mean() / 1e3));
        self.deviation_us = Some(rounded(times.deviation() / 1e3));
    }
}

fn micros(times: &Distribution, percent: f64) -> f64 {
    times.percentile(percent) as f64 / 1e3
}

/// To four digits behind the point: more would be noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Broker;
    use crate::scenario::{Amount, Timing};

    #[test]
    fn a_run_that_failed_is_a_line_with_its_reason_quoted() {
        let mut report = Report::new(Timing {
            warm_up_seconds: 0.0,
            measured: Amount::Seconds(1.0),
        });
        let failed = RunResult::Failed("broken, \"badly\"".to_owned());
        report.push(Run::new("latency-10", Broker::Nats, 2, failed));
        let mut text = Vec::new();
        write(&report, &mut text).expect("a vector takes everything");
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let columns = reader.headers().expect("a header").clone();
        let row = reader
            .records()
            .next()
            .expect("a run")
            .expect("well formed");
        let field = |name| columns.iter().position(|it| it == name).map(|at| &row[at]);
        assert_eq!(field("broker"), Some("nats"));
        assert_eq!(field("valid"), Some("false"));
        assert_eq!(field("p99_us"), Some(""));
        assert_eq!(field("trouble"), Some("broken, \"badly\""));
    }
}
