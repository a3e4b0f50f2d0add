//! One line for each run, for spreadsheets: all figures, run by run. Times are in microseconds. What
//! a scenario does not have is empty.

use std::io::{self, Write};

use super::figure::Figure;
use super::{Report, Run};

/// Columns that are no figures.
const FACTS: [&str; 8] = [
    "scenario",
    "broker",
    "round",
    "valid",
    "exact",
    "partial",
    "delivered",
    "expected",
];

/// Columns that are always there, in this order. Figures that are not among them come after these, in
/// the order of their first run, and the trouble comes last.
const USUAL: [&str; 15] = [
    "deliveries_per_second",
    "p50_us",
    "p90_us",
    "p99_us",
    "p99_9_us",
    "max_us",
    "mean_us",
    "deviation_us",
    "service_p50_us",
    "service_p99_us",
    "lag_p99_us",
    "lag_max_us",
    "server_us_per_delivery",
    "loadgen_us_per_delivery",
    "bytes_per_idle_subscriber",
];

/// Writes all runs of `report`, in their order, below a line with the names of the columns.
///
/// # Errors
/// Returns the text that `out` writes.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    let mut columns = USUAL.to_vec();
    for figure in report.runs.iter().flat_map(Run::all_figures) {
        if !columns.contains(&figure.key) {
            columns.push(figure.key);
        }
    }
    writer.write_record(FACTS.iter().chain(&columns).chain(&["trouble"]))?;
    for run in &report.runs {
        writer.write_record(row(run, &columns))?;
    }
    writer.flush()
}

fn row(run: &Run, columns: &[&str]) -> Vec<String> {
    let trouble = run.trouble().unwrap_or_default();
    let tally = run.result.cost().map(|(tally, ..)| tally);
    let count = |count: Option<u64>| count.map(|count| count.to_string()).unwrap_or_default();
    let mut row = vec![
        run.scenario.clone(),
        run.broker.name().to_owned(),
        run.round.to_string(),
        trouble.is_empty().to_string(),
        run.result.is_exact().to_string(),
        run.result.is_partial().to_string(),
        count(tally.map(|tally| tally.delivered)),
        count(tally.map(|tally| tally.expected)),
    ];
    let figures = run.all_figures();
    row.extend(columns.iter().map(|column| {
        let figure = figures.iter().find(|figure| figure.key == *column);
        figure.map(rounded).unwrap_or_default()
    }));
    row.push(trouble);
    row
}

/// Rounds to four digits behind the point: more would be noise. A float is told from a count by its point.
fn rounded(figure: &Figure) -> String {
    let rounded = (figure.value * 1e4).round() / 1e4;
    format!("{rounded:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;
    use crate::report::RunResult;
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
