//! Scenarios by what they are, with the name that the command line has for them in small print.

use maud::{Markup, html};

use crate::report::Report;

/// Returns the scenario in words, and its name.
pub(super) fn title(report: &Report, scenario: &str) -> Markup {
    named(&report.title(scenario), scenario)
}

/// Returns `title` with `name` in small print, unless they are the same.
pub(super) fn named(title: &str, name: &str) -> Markup {
    html! { (title) @if title != name { " " small.name { (name) } } }
}
