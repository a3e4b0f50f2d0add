//! Latencies of one scenario: by percentile, and second by second.

use maud::{Markup, html};

use super::cells::{self, Cells, Row};
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

/// All times of one broker.
struct Times {
    broker: Broker,
    /// The broker's name, marked if no run counts.
    label: String,
    /// `true` if they are those of runs that count.
    is_sound: bool,
    all: Distribution,
}

impl Times {
    fn of(group: &Group<'_>) -> Option<Self> {
        Some(Self {
            broker: group.broker,
            label: group.label(),
            is_sound: group.is_sound(),
            all: group.latency().filter(|times| times.count() > 0)?,
        })
    }
}

/// Returns all plots of a scenario that measured times; `None` for one that did not.
pub(super) fn plots(title: &str, groups: &[&Group<'_>]) -> Option<Markup> {
    let times: Vec<Times> = groups.iter().filter_map(|group| Times::of(group)).collect();
    if times.is_empty() {
        return None;
    }
    let (sound, doubtful) = times.iter().partition::<Vec<&Times>, _>(|it| it.is_sound);
    let table = |caption: &str, times: &[&Times]| {
        let cells = percentile_table(format!("{title}: {caption}"), times);
        html! { @if !times.is_empty() { (cells::render(&cells)) } }
    };
    let tables = html! {
        div {
            (table("all rounds that count, merged", &sound))
            (table("not counted", &doubtful))
        }
    };
    Some(html! {
        @match by_percentile(title, &times) {
            Some(plot) => div.pair { (plot) (tables) },
            None => (tables),
        }
        (by_second(title, groups))
    })
}

fn by_percentile(scenario: &str, times: &[Times]) -> Option<Markup> {
    let most = times.iter().map(|it| it.all.count()).max();
    let most = most.unwrap_or(1).max(100) as f64;
    let scale = Scale::log_between(1.0, most);
    let marked = MARKED.iter().map(|&percent| (distance(percent), percent));
    let ticks = marked
        .filter(|(at, _)| *at <= most)
        .map(|(at, percent)| (at, format!("{percent}")));
    let series: Vec<Series> = times.iter().map(percentiles).collect();
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

fn percentiles(of: &Times) -> Series {
    let (broker, times) = (of.broker, &of.all);
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
        let words = format!("{} p{percent}: {}", of.label, time(value));
        (distance(percent), value, words)
    });
    Series {
        broker,
        is_sound: of.is_sound,
        marks: marks.collect(),
        lines: vec![line],
    }
}

fn percentile_table(caption: String, times: &[&Times]) -> Cells {
    let rows = times.iter().map(|of| {
        let times = &of.all;
        // Fewer times than that have none beyond it: it would be the maximum under another name.
        let is_told = |percent| distance(percent) <= times.count() as f64;
        let words = |percent| time(times.percentile(percent) as f64);
        let percentiles = [50.0, 90.0, 99.0, 99.9, 99.99].into_iter();
        let percentiles = percentiles.map(|percent| is_told(percent).then(|| words(percent)));
        let mut cells = vec![of.label.clone()];
        cells.extend(percentiles.map(|words| words.unwrap_or_else(|| "–".to_owned())));
        cells.extend([time(times.max() as f64), count(times.count() as f64)]);
        Row {
            cells,
            is_sound: of.is_sound,
        }
    });
    Cells {
        caption,
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
struct Round<'a> {
    broker: Broker,
    /// The broker's name, marked if no run counts.
    label: String,
    /// `true` if the round counts.
    is_sound: bool,
    number: usize,
    slices: Vec<&'a Slice>,
}

fn by_second(scenario: &str, groups: &[&Group<'_>]) -> Markup {
    let rounds: Vec<Round<'_>> = groups.iter().flat_map(|group| rounds(group)).collect();
    if rounds.is_empty() {
        return Markup::default();
    }
    let plots = COURSES.iter().map(|course| course.plot(scenario, &rounds));
    let plots: Vec<Markup> = plots.flatten().collect();
    html! {
        @if !plots.is_empty() { div.plots { @for plot in plots { (plot) } } }
        details {
            summary { "Second by second as a table" }
            (cells::render(&course_table(scenario, &rounds)))
        }
    }
}

fn rounds<'a>(group: &Group<'a>) -> Vec<Round<'a>> {
    let whole = |slice: &&Slice| slice.seconds >= WHOLE * INTERVAL.as_secs_f64();
    let runs = group.shown_runs().into_iter();
    let rounds = runs.map(|run| Round {
        broker: group.broker,
        label: group.label(),
        is_sound: run.counts(),
        number: run.round,
        slices: run.result.intervals().iter().filter(whole).collect(),
    });
    rounds.filter(|round| !round.slices.is_empty()).collect()
}

impl Course {
    fn plot(&self, scenario: &str, rounds: &[Round<'_>]) -> Option<Markup> {
        let mut series: Vec<Series> = Vec::new();
        for round in rounds {
            let points = round
                .slices
                .iter()
                .map(|slice| (middle(slice), (self.figure)(slice)));
            let points: Vec<(f64, f64)> = points.collect();
            let every = points.len().div_ceil(MOST_MARKS);
            let marked = points.iter().step_by(every).map(|&(x, y)| {
                let (label, number) = (&round.label, round.number);
                let words = format!("{label} round {number} at {x:.1} s: {}", self.words(y));
                (x, y, words)
            });
            let marks: Vec<_> = marked.collect();
            match series
                .last_mut()
                .filter(|series| series.broker == round.broker)
            {
                Some(series) => {
                    series.lines.push(points);
                    series.marks.extend(marks);
                }
                None => series.push(Series {
                    broker: round.broker,
                    is_sound: round.is_sound,
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
    let rows = rounds.iter().flat_map(|round| {
        round.slices.iter().map(|slice| {
            let mut cells = vec![
                round.label.clone(),
                round.number.to_string(),
                format!("{:.1}", middle(slice)),
            ];
            let figures = COURSES.iter();
            cells.extend(figures.map(|course| course.words((course.figure)(slice))));
            Row {
                cells,
                is_sound: round.is_sound,
            }
        })
    });
    Cells {
        caption: format!("{scenario}: each second of each round"),
        names: 1,
        header,
        rows: rows.collect(),
    }
}
