//! Latencies against the rate, where open loops were run at several: where brokers stop keeping up.

use std::iter;

use maud::{Markup, html};

use super::cells::{self, Cells, Row};
use super::line_plot::{Axis, LinePlot, Series, Size};
use super::scale::Scale;
use crate::broker::Broker;
use crate::report::Report;
use crate::report::group::Group;
use crate::report::quantity::{count, time};
use crate::scenario::Load;

const PERCENT: f64 = 99.0;
const SIZE: Size = Size {
    width: 640.0,
    height: 300.0,
};

/// The p99 of one broker at one rate.
struct Point {
    broker: Broker,
    rate: f64,
    value: f64,
    /// `true` if it is that of runs that count.
    is_sound: bool,
}

/// Returns a line for each broker and a table of all rates; nothing for a single rate. Runs that do not count
/// are in the table only.
pub(super) fn plot(report: &Report, groups: &[Group<'_>]) -> Markup {
    let points = points(report, groups);
    let mut rates: Vec<f64> = points.iter().map(|point| point.rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let ([least, _, ..], Some(greatest)) = (rates.as_slice(), rates.last()) else {
        return Markup::default();
    };
    let table = html! {
        div {
            (cells::render(&table(&points, &rates)))
            @if points.iter().any(|point| !point.is_sound) { p.hint { "In brackets: no run counts." } }
        }
    };
    let mut series: Vec<Series> = Vec::new();
    for point in points.iter().filter(|point| point.is_sound) {
        add(&mut series, point);
    }
    let x = Scale::log_between(*least, *greatest);
    let values = series.iter().flat_map(|it| &it.marks).map(|mark| mark.1);
    let y = Axis::new("", Scale::log(values, 1.0), time);
    let plot = LinePlot {
        title: "p99 latency by rate",
        scenario: "all rates",
        description: "A line that rises steeply is a broker that does not keep up. The figures are in \
                      the table beside it.",
        size: SIZE,
        x: Axis {
            label: "messages per second",
            scale: x,
            ticks: apart(&rates, x)
                .into_iter()
                .map(|rate| (rate, count(rate)))
                .collect(),
        },
        y,
        series,
    };
    html! {
        article {
            @match plot.render() { Some(plot) => div.pair { (plot) (table) }, None => (table) }
        }
    }
}

fn points(report: &Report, groups: &[Group<'_>]) -> Vec<Point> {
    let mut points = Vec::new();
    for group in groups {
        let Some(Load::Latency(load)) = report.scenarios.get(group.scenario) else {
            continue;
        };
        let times = group.latency().filter(|times| times.count() > 0);
        if let Some(times) = times.filter(|_| load.rate.is_normal() && load.rate > 0.0) {
            points.push(Point {
                broker: group.broker,
                rate: load.rate,
                value: times.percentile(PERCENT) as f64,
                is_sound: group.is_sound(),
            });
        }
    }
    points
}

fn table(points: &[Point], rates: &[f64]) -> Cells {
    let mut brokers: Vec<Broker> = Vec::new();
    for point in points {
        if !brokers.contains(&point.broker) {
            brokers.push(point.broker);
        }
    }
    let rows = brokers.into_iter().map(|broker| {
        let own = points.iter().filter(|point| point.broker == broker);
        let is_sound = own.clone().any(|point| point.is_sound);
        let at = |rate: &f64| own.clone().find(|point| point.rate == *rate);
        let words = |point: &Point| match point.is_sound {
            true => time(point.value),
            false => format!("({})", time(point.value)),
        };
        let cells = rates
            .iter()
            .map(|rate| at(rate).map_or("–".to_owned(), words));
        let cells = iter::once(broker.name().to_owned()).chain(cells);
        Row {
            cells: cells.collect(),
            is_sound,
        }
    });
    let mut header = vec![String::new()];
    header.extend(rates.iter().map(|rate| format!("{}/s", count(*rate))));
    Cells {
        caption: "p99 latency at each rate".to_owned(),
        names: 1,
        header,
        rows: rows.collect(),
    }
}

fn add(series: &mut Vec<Series>, point: &Point) {
    let Point {
        broker,
        rate,
        value,
        ..
    } = *point;
    let words = format!(
        "{} at {}/s: p99 {}",
        broker.name(),
        count(rate),
        time(value)
    );
    let mark = (rate, value, words);
    match series.iter_mut().find(|series| series.broker == broker) {
        Some(series) => {
            series.lines[0].push((rate, value));
            series.marks.push(mark);
        }
        None => series.push(Series {
            broker,
            is_sound: true,
            lines: vec![vec![(rate, value)]],
            marks: vec![mark],
        }),
    }
}

/// Returns those of `rates`, ascending, whose words do not run into each other.
fn apart(rates: &[f64], scale: Scale) -> Vec<f64> {
    const ROOM: f64 = 0.1;
    let mut apart: Vec<f64> = Vec::new();
    for &rate in rates {
        let before = apart
            .last()
            .map_or(f64::NEG_INFINITY, |last| scale.place(*last));
        if scale.place(rate) - before >= ROOM {
            apart.push(rate);
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::group::groups;
    use crate::report::{Run, RunResult, sample};
    use crate::scenario::Latency;

    /// Returns the page's part of open loops at the first so many rates, of which the last may be invalid.
    fn part(rates: usize, is_last_valid: bool) -> String {
        let mut report = sample::empty();
        for index in 1..=rates {
            let (name, load) = Latency::default().at(1000.0 * index as f64);
            let mut result = sample::latency(index as u64);
            if let RunResult::Latency(outcome) = &mut result
                && index == rates
                && !is_last_valid
            {
                outcome.invalid.push("too late".to_owned());
            }
            report.scenarios.insert(name.clone(), load);
            report.push(Run::new(&name, Broker::Mles, 1, result));
        }
        plot(&report, &groups(&report)).into_string()
    }

    #[test]
    fn four_rates_make_a_line_and_fewer_a_table() {
        assert_eq!(part(1, true), "");
        for (rates, is_last_valid, plots) in
            [(3, true, 0), (4, true, 1), (4, false, 0), (5, false, 1)]
        {
            let part = part(rates, is_last_valid);
            let what = format!("{rates} rates: {part}");
            assert_eq!(part.matches("<figure").count(), plots, "{what}");
            assert_eq!(part.matches("<table").count(), 1, "{what}");
            assert_eq!(part.contains("In brackets"), !is_last_valid, "{what}");
        }
    }
}
