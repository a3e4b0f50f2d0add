//! Figures of which there is one for each broker: a table for each scenario, with a bar in each row.

use maud::{Markup, html};

use super::broker_style::class;
use super::doubts;
use super::scale::Scale;
use super::title::title;
use crate::report::Report;
use crate::report::figure::{Better, Figure};
use crate::report::group::{Group, Rounds};
use crate::report::quantity::{self, with_unit};

/// The bars of one figure in one scenario.
struct Panel<'a> {
    scenario: &'a str,
    rows: Vec<(&'a Group<'a>, Rounds)>,
}

/// Returns a section for each figure that has bars, in the order in which runs tell them.
pub(super) fn sections(report: &Report, groups: &[Group<'_>]) -> Markup {
    let figures: Vec<(&Group<'_>, Rounds)> = groups
        .iter()
        .flat_map(|group| {
            group
                .figures()
                .into_iter()
                .map(move |rounds| (group, rounds))
        })
        .filter(|(_, rounds)| rounds.figure.has_bars && rounds.figure.value.is_finite())
        .collect();
    let mut kinds: Vec<Figure> = Vec::new();
    for (_, rounds) in &figures {
        if !kinds.iter().any(|kind| kind.key == rounds.figure.key) {
            kinds.push(rounds.figure);
        }
    }
    html! {
        div.sections { @for kind in &kinds {
            section id=(kind.key) {
                h2 { (capital(kind.name)) }
                p.hint {
                    (direction(&panels(&figures, kind.key)))
                    " Whiskers span the rounds; × compares with the first row."
                }
                div.panels { @for panel in panels(&figures, kind.key) { (panel.render(report)) } }
            }
        } }
    }
}

fn panels<'a>(figures: &[(&'a Group<'a>, Rounds)], key: &str) -> Vec<Panel<'a>> {
    let mut panels: Vec<Panel<'a>> = Vec::new();
    for (group, rounds) in figures
        .iter()
        .filter(|(_, rounds)| rounds.figure.key == key)
    {
        let row = (*group, rounds.clone());
        match panels
            .iter_mut()
            .find(|panel| panel.scenario == group.scenario)
        {
            Some(panel) => panel.rows.push(row),
            None => panels.push(Panel {
                scenario: group.scenario,
                rows: vec![row],
            }),
        }
    }
    panels
}

/// Returns which way is better; open loops have no better rate than that of the schedule.
fn direction(panels: &[Panel<'_>]) -> &'static str {
    let mut betters = panels
        .iter()
        .flat_map(|panel| &panel.rows)
        .map(|(_, rounds)| rounds.figure.better);
    match betters.find(|better| *better != Better::Neither) {
        Some(Better::Lower) => "Less is better.",
        Some(Better::Higher) => "More is better.",
        Some(Better::Neither) | None => "",
    }
}

impl Panel<'_> {
    fn render(&self, report: &Report) -> Markup {
        let greatest = self
            .rows
            .iter()
            .map(|(_, rounds)| rounds.range().1.max(rounds.figure.value));
        let scale = Scale::to(greatest.fold(0.0, f64::max));
        let first = self.rows.first().filter(|(group, _)| group.is_sound());
        let first = first.map(|(_, rounds)| rounds.figure.value);
        html! {
            div.panel {
                table.bars {
                    caption { (title(report, self.scenario)) }
                    tbody { @for (group, rounds) in &self.rows { (row(group, rounds, &scale, first)) } }
                }
                (doubts(self.rows.iter().map(|(group, _)| *group)))
            }
        }
    }
}

fn row(group: &Group<'_>, rounds: &Rounds, scale: &Scale, first: Option<f64>) -> Markup {
    let ratio = first.filter(|_| group.is_sound());
    let ratio = ratio.map(|first| quantity::ratio(rounds.figure.value / first));
    html! {
        tr.(class(group.broker)).pale[!group.is_sound()] data-broker=(group.broker.name()) {
            th scope="row" { (group.broker.name()) }
            td.bar { (bar(rounds, scale)) }
            td.value { (value(rounds)) }
            td.ratio { @if let Some(ratio) = ratio { (ratio) } }
        }
    }
}

fn bar(rounds: &Rounds, scale: &Scale) -> Markup {
    let percent = |figure: f64| format!("{:.2}%", scale.place(figure) * 100.0);
    let (least, greatest) = rounds.range();
    html! {
        svg aria-hidden="true" {
            rect.fill y="2" height="12" width=(percent(rounds.figure.value)) rx="2" {}
            @if least < greatest {
                line.whisker x1=(percent(least)) x2=(percent(greatest)) y1="8" y2="8" {}
                @for end in [least, greatest] {
                    line.whisker x1=(percent(end)) x2=(percent(end)) y1="5" y2="11" {}
                }
            }
        }
    }
}

fn value(rounds: &Rounds) -> Markup {
    let figure = &rounds.figure;
    let (least, greatest) = rounds.range();
    html! {
        (with_unit(figure.value, figure.unit))
        @if rounds.values.len() > 1 {
            " " span.range { "(" (with_unit(least, figure.unit)) " – " (with_unit(greatest, figure.unit)) ")" }
        }
    }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters
        .next()
        .map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}
