//! Percentile files as HdrHistogram's own tools write and plot them: `SCENARIO-BROKER-rROUND.hgrm`
//! for each run, `SCENARIO-BROKER.hgrm` for the runs that count together. Values are in milliseconds.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::Report;
use super::group::groups;
use crate::distribution::Distribution;

/// Reported points for each halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// Writes a file for each run of `report` that has latencies, and one for all rounds together.
///
/// # Errors
/// A file cannot be written.
pub(super) fn write(report: &Report, dir: &Path) -> io::Result<()> {
    for group in groups(report) {
        let name = format!("{}-{}", group.scenario, group.broker.name());
        for run in &group.runs {
            if let Some(times) = run.result.times() {
                let path = dir.join(format!("{name}-r{}.hgrm", run.round));
                write_file(&path, times.distribution)?;
            }
        }
        if let Some(times) = group.latency() {
            write_file(&dir.join(format!("{name}.hgrm")), &times)?;
        }
    }
    Ok(())
}

fn write_file(path: &Path, times: &Distribution) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    write_percentiles(times, &mut out)?;
    out.flush()
}

fn write_percentiles(times: &Distribution, out: &mut impl Write) -> io::Result<()> {
    let histogram = times.histogram();
    let millis = |nanoseconds: f64| nanoseconds / NANOSECONDS_PER_MILLISECOND;
    writeln!(
        out,
        "{:>12} {:>14} {:>10} {:>14}\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    )?;
    let mut count = 0;
    for point in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        count += point.count_since_last_iteration();
        let value = millis(point.value_iterated_to() as f64);
        let quantile = point.quantile_iterated_to();
        write!(out, "{value:>12.6} {quantile:>14.12} {count:>10}")?;
        if quantile < 1.0 {
            writeln!(out, " {:>14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out)?;
        }
    }
    writeln!(
        out,
        "#[Mean    = {:>12.6}, StdDeviation   = {:>12.6}]",
        millis(times.mean()),
        millis(times.deviation())
    )?;
    writeln!(
        out,
        "#[Max     = {:>12.6}, Total count    = {:>12}]",
        millis(times.max() as f64),
        times.count()
    )?;
    writeln!(
        out,
        "#[Buckets = {:>12}, SubBuckets     = {:>12}]",
        histogram.buckets(),
        histogram.distinct_values() / (usize::from(histogram.buckets()) + 1) * 2
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_rise_to_one_and_the_end_says_mean_and_maximum() {
        let mut times = Distribution::new();
        (1..=1000).for_each(|milli| times.record(milli * 1_000_000));
        let mut text = Vec::new();
        write_percentiles(&times, &mut text).expect("a vector takes everything");
        let text = String::from_utf8(text).expect("text");
        let points: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| {
                let fields = line.split_whitespace();
                fields
                    .map(|field| field.parse().expect("a number"))
                    .collect()
            })
            .collect();
        assert!(points.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]));
        let median = points.iter().find(|point| point[1] >= 0.5).expect("0.5");
        assert!((499.0..=502.0).contains(&median[0]), "{median:?}");
        let last = points.last().expect("1.0");
        assert_eq!((last[1], last[2], last.len()), (1.0, 1000.0, 3));
        assert!(text.contains("Total count    =         1000]"), "{text}");
        assert!(text.contains("SubBuckets     =         2048]"), "{text}");
    }
}
