//! The summary at the top of the page.

use maud::{Markup, html};

use super::title::named;
use crate::report::Report;
use crate::report::summary::{Finding, Line, Summary};

/// The most problems that are not folded away.
const FEW_PROBLEMS: usize = 8;
/// The most scenarios in a list that is not folded away.
const FEW_SCENARIOS: usize = 8;

/// Returns what the report comes to.
pub(super) fn render(report: &Report) -> Markup {
    let summary = Summary::of(report);
    html! {
        section.summary id="summary" aria-labelledby="summary-title" {
            h2 id="summary-title" { "Summary" }
            p { (summary.compared) }
            p { strong { (summary.verdict) } }
            @if summary.subject.is_some() {
                p.hint {
                    "Ahead or behind means that the ranges of all rounds that count do not overlap. "
                    "Where they overlap, the difference is noise."
                }
                (lists(&summary))
            }
            (problems(report, &summary.uncounted))
        }
    }
}

/// Draws the lists: where the broker is behind in full, others folded where they are long or say nothing.
fn lists(summary: &Summary) -> Markup {
    html! {
        @for list in summary.lists() {
            @let is_open = list.class == "behind" || list.class == "ahead" && list.findings.len() <= FEW_SCENARIOS;
            details.findings.(list.class) open[is_open] {
                summary { h3 { (list.title) } " " span.badge { (count(list.findings)) } }
                ul { @for finding in list.findings { (item(finding)) } }
            }
        }
    }
}

/// Returns how many comparisons there are in a list: a line has the broker's own figure and those of others.
fn count(findings: &[Finding]) -> usize {
    let lines = findings.iter().flat_map(|it| &it.lines);
    lines.map(|line| line.parts.len().max(2) - 1).sum()
}

fn item(finding: &Finding) -> Markup {
    html! {
        li {
            (named(&finding.title, &finding.scenario))
            ul { @for line in &finding.lines { (said(line)) } }
        }
    }
}

/// Returns a line that breaks between its parts only.
fn said(line: &Line) -> Markup {
    html! {
        li {
            strong { (line.of) } ": "
            @for (index, part) in line.parts.iter().enumerate() {
                @if index > 0 { ", " }
                span.part { (part) }
            }
        }
    }
}

/// Lists what did not count: in full where it is short.
fn problems(report: &Report, problems: &[String]) -> Markup {
    let is_short = problems.len() <= FEW_PROBLEMS;
    html! {
        @if report.partial || !problems.is_empty() {
            div.problems id="problems" {
                h3 { "What did not count" }
                @if report.partial { p { "PARTIAL: interrupted before the end." } }
                @if !problems.is_empty() {
                    details open[is_short] {
                        summary { "Runs and brokers that were left out: " (problems.len()) }
                        ul { @for problem in problems { li { (problem) } } }
                    }
                }
            }
        }
    }
}
