//! Lines over two axes, as inline SVG.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::broker_style::{class, mark};
use super::scale::Scale;
use crate::broker::Broker;

/// A plot of lines, one or more for each broker.
#[derive(Debug)]
pub(super) struct LinePlot<'a> {
    pub(super) title: &'a str,
    /// The scenario's name in the report.
    pub(super) scenario: &'a str,
    /// A description for those who do not see it, and where its figures are to be read.
    pub(super) description: &'a str,
    pub(super) size: Size,
    pub(super) x: Axis<'a>,
    pub(super) y: Axis<'a>,
    pub(super) series: Vec<Series>,
}

/// Units of the drawing; letters are some 12 high.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// One axis with its ticks.
#[derive(Debug)]
pub(super) struct Axis<'a> {
    /// The figure that it counts, with the unit where ticks have none.
    pub(super) label: &'a str,
    pub(super) scale: Scale,
    pub(super) ticks: Vec<(f64, String)>,
}

/// The lines and marks of one broker.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) broker: Broker,
    /// `true` if they are those of runs that count; others are pale.
    pub(super) is_sound: bool,
    /// A line for each round, or one for all.
    pub(super) lines: Vec<Vec<(f64, f64)>>,
    /// Places with words about them.
    pub(super) marks: Vec<(f64, f64, String)>,
}

/// Points without which a line shows no course.
const ENOUGH_POINTS: usize = 4;
/// Room for the words at the axes.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 44.0;

impl LinePlot<'_> {
    /// Returns the figure with its title; `None` if no line has enough points to be one.
    pub(super) fn render(mut self) -> Option<Markup> {
        for series in &mut self.series {
            series.lines.retain(|line| line.len() >= ENOUGH_POINTS);
        }
        self.series.retain(|series| !series.lines.is_empty());
        (!self.series.is_empty()).then(|| self.figure())
    }

    fn figure(&self) -> Markup {
        let Size { width, height } = self.size;
        let view = format!("0 0 {width} {height}");
        html! {
            figure.plot {
                figcaption { (self.title) }
                svg viewBox=(view) role="img" aria-label=(self.words()) {
                    (self.x_axis())
                    (self.y_axis())
                    @for series in &self.series { (self.draw(series)) }
                }
            }
        }
    }

    fn words(&self) -> String {
        format!("{}, {}. {}", self.title, self.scenario, self.description)
    }

    fn x_axis(&self) -> Markup {
        let (bottom, right) = (self.size.height - BOTTOM, self.size.width - RIGHT);
        html! {
            g.axis {
                @for (figure, words) in &self.x.ticks {
                    @let x = self.across(*figure);
                    path.grid d=(format!("M{x:.1},{TOP}V{bottom}")) {}
                    text x=(format!("{x:.1}")) y=(bottom + 18.0) text-anchor=(anchor(self.x.scale.place(*figure))) { (words) }
                }
                text.label x=(f64::midpoint(LEFT, right)) y=(self.size.height - 6.0) text-anchor="middle" {
                    (self.x.label)
                }
            }
        }
    }

    fn y_axis(&self) -> Markup {
        let right = self.size.width - RIGHT;
        html! {
            g.axis {
                @for (figure, words) in &self.y.ticks {
                    @let y = self.down(*figure);
                    path.grid d=(format!("M{LEFT},{y:.1}H{right}")) {}
                    text x=(LEFT - 6.0) y=(format!("{:.1}", y + 4.0)) text-anchor="end" { (words) }
                }
            }
        }
    }

    fn draw(&self, series: &Series) -> Markup {
        let broker = series.broker;
        let dashes = broker.look().dashes;
        html! {
            g.series.(class(broker)).pale[!series.is_sound] data-broker=(broker.name()) {
                @for line in &series.lines {
                    path.line d=(self.path(line)) stroke-dasharray=(dashes) {}
                }
                @for (x, y, words) in &series.marks {
                    (mark(broker, (self.across(*x), self.down(*y)), words))
                }
            }
        }
    }

    fn path(&self, line: &[(f64, f64)]) -> String {
        let mut path = String::new();
        for (index, &(x, y)) in line.iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let (x, y) = (self.across(x), self.down(y));
            let _ = write!(path, "{command}{x:.1},{y:.1}");
        }
        path
    }

    fn across(&self, figure: f64) -> f64 {
        LEFT + self.x.scale.place(figure) * (self.size.width - LEFT - RIGHT)
    }

    fn down(&self, figure: f64) -> f64 {
        let place = self.y.scale.place(figure);
        TOP + (1.0 - place) * (self.size.height - TOP - BOTTOM)
    }
}

/// Returns the anchor of a word at an axis: the last one ends where the axis does.
fn anchor(place: f64) -> &'static str {
    const END: f64 = 0.98;
    if place > END { "end" } else { "middle" }
}

impl<'a> Axis<'a> {
    /// Returns an axis with the scale's own ticks, as `words` says them.
    pub(super) fn new(label: &'a str, scale: Scale, words: impl Fn(f64) -> String) -> Self {
        let ticks = scale.ticks().into_iter();
        Self {
            label,
            scale,
            ticks: ticks.map(|tick| (tick, words(tick))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: &[usize]) -> Option<String> {
        let line = |points: &usize| (0..*points).map(|x| (x as f64, 1.0)).collect();
        let plot = LinePlot {
            title: "title",
            scenario: "scenario",
            description: "",
            size: Size {
                width: 400.0,
                height: 200.0,
            },
            x: Axis::new("", Scale::to(10.0), |tick| tick.to_string()),
            y: Axis::new("", Scale::to(1.0), |tick| tick.to_string()),
            series: vec![Series {
                broker: Broker::Mles,
                is_sound: true,
                lines: points.iter().map(line).collect(),
                marks: Vec::new(),
            }],
        };
        plot.render().map(maud::PreEscaped::into_string)
    }

    #[test]
    fn a_line_takes_four_points() {
        for points in [&[][..], &[0], &[3], &[3, 1]] {
            assert_eq!(plot(points), None, "{points:?}");
        }
        for points in [&[4][..], &[9], &[3, 4]] {
            let svg = plot(points).expect("one line is long enough");
            assert_eq!(svg.matches("class=\"line\"").count(), 1, "{svg}");
        }
    }
}
