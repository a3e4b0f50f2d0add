//! Latencies of one scenario: by percentile, and second by second.

use maud::{Markup, html};

use super::cells::{self, Cells};
use super::line_plot::{Axis, LinePlot, Series, Size};
use super::scale::Scale;
use crate::broker::Broker;
use crate::distribution::Distribution;
use crate::report::group::Group;
use crate::report::quantity::{count, time};
use crate::watch::{INTERVAL, Slice};

/// The percentiles that are marked, as on the axis; the first is where the axis begins.
const MARKED: [f64; 9] = [
    0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999, 99.9999, 99.99999,
];
/// Reported points for each halving of the distance to 100 %.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// The most marks on a line of a time series.
const MOST_MARKS: usize = 15;
const NANOSECOND: f64 = 1.0;

/// A slice that is shorter than this part of the others is the rest of a run: its rate says nothing.
const WHOLE: f64 = 0.5;

const WIDE: Size = Size {
    width: 640.0,
    height: 330.0,
};
const SMALL: Size = Size {
    width: 400.0,
    height: 240.0,
};

/// Returns all plots of a scenario that measured times; `None` for one that did not.
pub(super) fn plots(scenario: &str, groups: &[&Group<'_>]) -> Option<Markup> {
    let times: Vec<(Broker, Distribution)> = groups
        .iter()
        .filter_map(|group| Some((group.broker, group.latency()?)))
        .filter(|(_, times)| times.count() > 0)
        .collect();
    if times.is_empty() {
        return None;
    }
    Some(html! {
        div.pair {
            (by_percentile(scenario, &times))
            (cells::render(&percentile_table(scenario, &times)))
        }
        (by_second(scenario, groups))
    })
}

fn by_percentile(scenario: &str, times: &[(Broker, Distribution)]) -> Markup {
    let most = times.iter().map(|(_, times)| times.count()).max();
    let most = most.unwrap_or(1).max(100) as f64;
    let scale = Scale::log_between(1.0, most);
    let marked = MARKED.iter().map(|&percent| (distance(percent), percent));
    let ticks = marked
        .filter(|(at, _)| *at <= most)
        .map(|(at, percent)| (at, format!("{percent}")));
    let series: Vec<Series> = times
        .iter()
        .map(|(broker, times)| percentiles(*broker, times))
        .collect();
    let figures = series.iter().flat_map(|it| &it.lines[0]).map(|(_, y)| *y);
    let y = Scale::log(figures, NANOSECOND);
    LinePlot {
        title: "Latency by percentile",
        scenario,
        description: "Lower and flatter is better. The figures are in the table beside it.",
        size: WIDE,
        x: Axis {
            label: "percentile",
            scale,
            ticks: ticks.collect(),
        },
        y: Axis::new("", y, time),
        series,
    }
    .render()
}

/// Returns `1/(1 - percentile)`: how many one must take until one of them is beyond it.
fn distance(percent: f64) -> f64 {
    100.0 / (100.0 - percent)
}

fn percentiles(broker: Broker, times: &Distribution) -> Series {
    let all = times.count() as f64;
    let points = times.histogram().iter_quantiles(TICKS_PER_HALF_DISTANCE);
    let points = points.map(|point| {
        (
            1.0 / (1.0 - point.quantile_iterated_to()),
            point.value_iterated_to(),
        )
    });
    let mut line: Vec<(f64, f64)> = points
        .take_while(|(at, _)| *at < all)
        .map(|(at, value)| (at, value as f64))
        .collect();
    line.push((all, times.max() as f64));
    let marked = MARKED[1..]
        .iter()
        .filter(|percent| distance(**percent) <= all);
    let marks = marked.map(|&percent| {
        let value = times.percentile(percent) as f64;
        let words = format!("{} p{percent}: {}", broker.name(), time(value));
        (distance(percent), value, words)
    });
    Series {
        broker,
        marks: marks.collect(),
        lines: vec![line],
    }
}

fn percentile_table(scenario: &str, times: &[(Broker, Distribution)]) -> Cells {
    let rows = times.iter().map(|(broker, times)| {
        // Fewer times than that have none beyond it: it would be the maximum under another name.
        let is_told = |percent| distance(percent) <= times.count() as f64;
        let words = |percent| time(times.percentile(percent) as f64);
        let percentiles = [50.0, 90.0, 99.0, 99.9, 99.99].into_iter();
        let percentiles = percentiles.map(|percent| is_told(percent).then(|| words(percent)));
        let mut row = vec![broker.name().to_owned()];
        row.extend(percentiles.map(|words| words.unwrap_or_else(|| "–".to_owned())));
        row.extend([time(times.max() as f64), count(times.count() as f64)]);
        row
    });
    Cells {
        caption: format!("{scenario}: all rounds that count, merged"),
        names: 1,
        header: ["", "p50", "p90", "p99", "p99.9", "p99.99", "max", "times"]
            .map(str::to_owned)
            .into(),
        rows: rows.collect(),
    }
}

/// A figure that is drawn second by second.
struct Course {
    title: &'static str,
    is_time: bool,
    figure: fn(&Slice) -> f64,
}

const COURSES: [Course; 3] = [
    Course {
        title: "Median latency",
        is_time: true,
        figure: |slice| slice.p50_ns as f64,
    },
    Course {
        title: "p99 latency",
        is_time: true,
        figure: |slice| slice.p99_ns as f64,
    },
    Course {
        title: "Deliveries per second",
        is_time: false,
        figure: |slice| slice.deliveries as f64 / slice.seconds,
    },
];

/// A round of a broker, second by second.
type Round<'a> = (Broker, usize, Vec<&'a Slice>);

fn by_second(scenario: &str, groups: &[&Group<'_>]) -> Markup {
    let rounds: Vec<Round<'_>> = groups.iter().flat_map(|group| rounds(group)).collect();
    if rounds.is_empty() {
        return Markup::default();
    }
    html! {
        div.plots { @for course in &COURSES { (course.plot(scenario, &rounds)) } }
        details {
            summary { "Second by second as a table" }
            (cells::render(&course_table(scenario, &rounds)))
        }
    }
}

fn rounds<'a>(group: &Group<'a>) -> Vec<Round<'a>> {
    let runs = group.counting_runs().into_iter();
    let whole = |slice: &&Slice| slice.seconds >= WHOLE * INTERVAL.as_secs_f64();
    runs.map(|run| {
        (
            group.broker,
            run.round,
            run.result.intervals().iter().filter(whole).collect(),
        )
    })
    .filter(|(.., slices): &Round<'_>| !slices.is_empty())
    .collect()
}

impl Course {
    fn plot(&self, scenario: &str, rounds: &[Round<'_>]) -> Markup {
        let mut series: Vec<Series> = Vec::new();
        for (broker, round, slices) in rounds {
            let points = slices
                .iter()
                .map(|slice| (middle(slice), (self.figure)(slice)));
            let points: Vec<(f64, f64)> = points.collect();
            let every = points.len().div_ceil(MOST_MARKS);
            let marked = points.iter().step_by(every).map(|&(x, y)| {
                let words = format!(
                    "{} round {round} at {x:.1} s: {}",
                    broker.name(),
                    self.words(y)
                );
                (x, y, words)
            });
            let marks: Vec<_> = marked.collect();
            match series.last_mut().filter(|series| series.broker == *broker) {
                Some(series) => {
                    series.lines.push(points);
                    series.marks.extend(marks);
                }
                None => series.push(Series {
                    broker: *broker,
                    lines: vec![points],
                    marks,
                }),
            }
        }
        let points: Vec<(f64, f64)> = series
            .iter()
            .flat_map(|it| it.lines.iter().flatten().copied())
            .collect();
        let figures = points.iter().map(|(_, y)| *y);
        let y = if self.is_time {
            Scale::log(figures, NANOSECOND)
        } else {
            Scale::from_zero(figures)
        };
        LinePlot {
            title: self.title,
            scenario,
            description: "One line for each round. The figures are in the table below.",
            size: SMALL,
            x: Axis::new(
                "seconds",
                Scale::from_zero(points.iter().map(|(x, _)| x.ceil())),
                count,
            ),
            y: Axis::new("", y, |figure| self.words(figure)),
            series,
        }
        .render()
    }

    fn words(&self, figure: f64) -> String {
        if self.is_time {
            time(figure)
        } else {
            count(figure)
        }
    }
}

fn middle(slice: &Slice) -> f64 {
    slice.start_seconds + slice.seconds / 2.0
}

fn course_table(scenario: &str, rounds: &[Round<'_>]) -> Cells {
    let mut header: Vec<String> = ["", "round", "second"].map(str::to_owned).into();
    header.extend(COURSES.iter().map(|course| course.title.to_owned()));
    let rows = rounds.iter().flat_map(|(broker, round, slices)| {
        slices.iter().map(move |slice| {
            let mut row = vec![
                broker.name().to_owned(),
                round.to_string(),
                format!("{:.1}", middle(slice)),
            ];
            row.extend(
                COURSES
                    .iter()
                    .map(|course| course.words((course.figure)(slice))),
            );
            row
        })
    });
    Cells {
        caption: format!("{scenario}: each second of each round"),
        names: 1,
        header,
        rows: rows.collect(),
    }
}
