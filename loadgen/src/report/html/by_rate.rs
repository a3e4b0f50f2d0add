//! Latencies against the rate, where open loops were run at several: where brokers stop keeping up.

use maud::{Markup, html};

use super::cells::{self, Cells};
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

/// Returns a place for each group, lines between those of one broker; nothing for a single rate.
pub(super) fn plot(report: &Report, groups: &[Group<'_>]) -> Markup {
    let mut series: Vec<Series> = Vec::new();
    for group in groups {
        let Some(Load::Latency(load)) = report.scenarios.get(group.scenario) else {
            continue;
        };
        let times = group.latency().filter(|times| times.count() > 0);
        if let Some(times) = times.filter(|_| load.rate.is_normal() && load.rate > 0.0) {
            let value = times.percentile(PERCENT) as f64;
            add(&mut series, group.broker, (load.rate, value));
        }
    }
    let mut rates: Vec<f64> = series
        .iter()
        .flat_map(|it| &it.marks)
        .map(|mark| mark.0)
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup();
    let ([least, _, ..], Some(greatest)) = (rates.as_slice(), rates.last()) else {
        return Markup::default();
    };
    let table = table(&series, &rates);
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
    html! { article { div.pair { (plot.render()) (cells::render(&table)) } } }
}

fn table(series: &[Series], rates: &[f64]) -> Cells {
    let rows = series.iter().map(|series| {
        let at = |rate: &f64| series.marks.iter().find(|(at, ..)| at == rate);
        let words = |rate| at(rate).map_or("–".to_owned(), |(_, value, _)| time(*value));
        let mut row = vec![series.broker.name().to_owned()];
        row.extend(rates.iter().map(words));
        row
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

fn add(series: &mut Vec<Series>, broker: Broker, (rate, value): (f64, f64)) {
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
