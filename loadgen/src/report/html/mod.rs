//! The report as one HTML file that needs nothing else: no network, no script, no font.
//!
//! Plots are inline SVG and tables with bars, drawn here; what shows and hides brokers is a check box
//! and a style. Every word goes through `maud`, which escapes it; nothing here may write text past it
//! ([`maud::PreEscaped`]) but the style sheet. A policy in the page forbids everything that was not
//! meant to be in it.
//!
//! Plots come from the figures and times of runs ([`super::figure`]), not from kinds of
//! scenarios: a new scenario shows up by itself.

mod bars;
mod broker_style;
mod by_rate;
mod cells;
mod facts;
mod latency;
mod line_plot;
mod scale;
mod summary;
mod title;

use std::collections::BTreeSet;
use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use super::group::{Group, groups};
use super::tables as text;
use super::title::settings;
use crate::broker::Broker;
use cells::Cells;

const STYLE: &str = include_str!("style.css");
/// The page's policy: nothing is loaded, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                      form-action 'none'";

/// Writes `report` as a page.
///
/// # Errors
/// Returns the text that `out` writes.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    out.write_all(page(report).into_string().as_bytes())
}

fn page(report: &Report) -> Markup {
    let groups = groups(report);
    let title = format!("loadgen {}", facts::date(&report.environment));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                link rel="icon" href="data:,";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(broker_style::style())) }
            }
            body {
                (header(report))
                (summary::render(report))
                (legend(&groups))
                main {
                    (latencies(report, &groups))
                    (bars::sections(report, &groups))
                    (all_tables(report, &groups))
                    (facts::brokers(report))
                    (facts::scenarios(report))
                    (facts::environment(report))
                }
            }
        }
    }
}

fn header(report: &Report) -> Markup {
    let here = &report.environment;
    let wrong = report.failures();
    html! {
        header {
            h1 { "loadgen report" }
            p {
                (facts::date(here)) " · " (here.cores) " cores · " (here.cpu) " · Linux " (here.kernel)
            }
            p.badges {
                span.badge { (report.runs.len()) " runs" }
                @if report.partial { " " span.badge.bad { "partial: interrupted before the end" } }
                @if wrong > 0 { " " a.badge.bad href="#problems" { (wrong) " did not count" } }
                @if !report.skipped.is_empty() {
                    " " a.badge href="#brokers" { (report.skipped.len()) " skipped" }
                }
            }
        }
    }
}

/// Draws the legend, with check boxes that hide a broker's lines and bars.
fn legend(groups: &[Group<'_>]) -> Markup {
    let brokers: BTreeSet<Broker> = groups.iter().map(|group| group.broker).collect();
    html! {
        @if !brokers.is_empty() {
            section.legend aria-label="Legend" {
                fieldset {
                    legend { "Brokers shown in plots" }
                    @for broker in brokers {
                        @let id = broker_style::check_box(broker);
                        label for=(id) {
                            input type="checkbox" id=(id) checked autocomplete="off";
                            (broker_style::swatch(broker))
                            (broker.name())
                        }
                    }
                }
            }
        }
    }
}

/// Names the brokers of a scenario of which no run counts: their figures are shown, but are not to be
/// believed.
fn doubts<'a>(groups: impl Iterator<Item = &'a Group<'a>>) -> Markup {
    let doubtful = groups
        .filter(|group| !group.is_sound())
        .map(|group| group.broker.name());
    let doubtful: Vec<&str> = doubtful.collect();
    html! { @if !doubtful.is_empty() { p.doubts { "No run counts: " (doubtful.join(", ")) } } }
}

fn latencies(report: &Report, groups: &[Group<'_>]) -> Markup {
    let mut scenarios: Vec<&str> = Vec::new();
    for group in groups {
        if !scenarios.contains(&group.scenario) {
            scenarios.push(group.scenario);
        }
    }
    let drawn = scenarios.into_iter().filter_map(|scenario| {
        let own: Vec<&Group<'_>> = groups
            .iter()
            .filter(|group| group.scenario == scenario)
            .collect();
        let plots = latency::plots(&report.title(scenario), &own)?;
        Some((scenario, html! { (doubts(own.iter().copied())) (plots) }))
    });
    let drawn: Vec<(&str, Markup)> = drawn.collect();
    html! {
        @if !drawn.is_empty() {
            section id="latency" {
                h2 { "Latency" }
                p.hint { "Less is better. Axes of times are logarithmic, and so is the distance to 100 %." }
                (by_rate::plot(report, groups))
                @for (scenario, plots) in drawn {
                    article {
                        h3 { (title::title(report, scenario)) }
                        @if let Some(load) = report.scenarios.get(scenario) {
                            p.hint { (settings(load)) }
                        }
                        (plots)
                    }
                }
            }
        }
    }
}

/// Returns the tables of the terminal.
fn all_tables(report: &Report, groups: &[Group<'_>]) -> Markup {
    html! {
        section id="tables" {
            h2 { "Tables" }
            @for (caption, table) in text::tables(groups) { (cells::render(&Cells::of(caption, &table))) }
            @if let Some(knee) = &report.knee { p { (text::knee_text(knee)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{RunResult, sample};

    fn html(report: &Report) -> String {
        page(report).into_string()
    }

    #[test]
    fn words_from_outside_stay_words() {
        let html = html(&sample::report());
        // In versions, settings, commands, errors and reasons.
        assert!(html.matches("&lt;script&gt;alert").count() >= 6, "{html}");
        assert!(html.contains("&amp;amp;"), "{html}");
        assert!(!html.contains("<script"), "{html}");
        assert_eq!(html.matches("</style>").count(), 1);
        for attribute in html.split("alert('").skip(1) {
            assert!(attribute.starts_with("&quot;1&quot;"), "{attribute}");
        }
    }

    #[test]
    fn a_page_needs_nothing_else() {
        let html = html(&sample::report());
        for foreign in ["http:/", "https:", "src=", "url(", "@import", "//"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert_eq!(html.matches("Content-Security-Policy").count(), 1);
    }

    #[test]
    fn every_broker_is_in_every_plot() {
        let html = html(&sample::report());
        let plots: Vec<&str> = html.split("<figure").skip(1).collect();
        // By percentile for latency, seed, both storms, history, slow reader and publish, and three courses of
        // the latency.
        assert_eq!(plots.len(), 10);
        for plot in plots {
            let plot = plot.split("</figure>").next().unwrap_or_default();
            for broker in ["mles", "nats"] {
                let series = format!("data-broker=\"{broker}\"");
                assert_eq!(plot.matches(&series).count(), 1, "{plot}");
            }
            assert!(!plot.contains("NaN") && !plot.contains("inf"), "{plot}");
        }
        for key in [
            "server_us_per_delivery",
            "deliveries_per_second",
            "bytes_per_idle_subscriber",
            "rss_full_mib",
            "connections_per_second",
            "server_us_per_connection",
            "bystander_p99_us",
            "memory_growth_mib",
            "messages_per_second",
            "server_us_per_message",
            "server_us_per_client",
        ] {
            assert_eq!(
                html.matches(&format!("section id=\"{key}\"")).count(),
                1,
                "{key}"
            );
        }
    }

    #[test]
    fn what_went_wrong_is_told_first() {
        let mut report = sample::report();
        report.partial = true;
        let html = html(&report);
        let (before, _) = html.split_once("<figure").expect("there are plots");
        for wanted in [
            "PARTIAL",
            "FAILED fanout mosquitto round 1",
            "SKIPPED redis",
        ] {
            assert!(before.contains(wanted), "{wanted}");
        }
    }

    #[test]
    fn runs_that_do_not_count_are_pale_and_apart() {
        let mut report = sample::report();
        let runs = report.runs.iter_mut();
        for run in runs.filter(|run| run.broker == Broker::Nats) {
            if let RunResult::Latency(outcome) = &mut run.result {
                outcome.invalid.push("too late".to_owned());
            }
        }
        let html = html(&report);
        let title = report.title("latency-1000");
        let table = |caption: &str| {
            let caption = format!("<caption><span>{title}: {caption}</span></caption>");
            let (_, table) = html.split_once(&caption).expect("there is a table");
            table
                .split("</table>")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let (counted, others) = (table("all rounds that count, merged"), table("not counted"));
        assert!(
            counted.contains("mles") && !counted.contains("nats"),
            "{counted}"
        );
        assert!(
            !others.contains("mles") && others.contains("nats (not counted)"),
            "{others}"
        );
        assert!(others.contains("<tr class=\"pale\">"), "{others}");
        // By percentile, and three courses.
        assert_eq!(html.matches("class=\"series b-nats pale\"").count(), 4);
        assert_eq!(html.matches("class=\"series b-mles pale\"").count(), 0);
        assert!(html.contains("<tr class=\"b-nats pale\""));
        assert!(!html.contains("<tr class=\"b-mles pale\""));
        let (summary, _) = html.split_once("Legend").expect("it follows");
        let p99 = summary.matches("<strong>p99</strong>: <span class=\"part\">mles ");
        // Of seeds, storms, joins, slow readers and publishers, but not of latencies.
        assert_eq!(p99.count(), 6, "{summary}");
        assert!(
            summary.contains("<strong>nats</strong>: <span class=\"part\">no round counts"),
            "{summary}"
        );
    }

    #[test]
    fn scenarios_are_told_in_words() {
        let html = html(&sample::report());
        let (_, page) = html.split_once("</style>").expect("it has a style");
        assert!(!page.contains('{') && !page.contains("null"), "{page}");
        let named = "1 publisher → 10 subscribers, 64 bytes, pipelined <small class=\"name\">fanout</small>";
        assert!(
            page.contains(&format!("<caption>{named}</caption>")),
            "{page}"
        );
    }

    #[test]
    fn a_report_without_runs_is_a_page() {
        let html = html(&sample::empty());
        assert!(
            html.contains("Repeat it") && !html.contains("<figure"),
            "{html}"
        );
    }

    #[test]
    fn figures_that_are_no_numbers_are_not_drawn() {
        let mut report = sample::empty();
        let mut broken = sample::fanout(1);
        if let RunResult::Fanout(outcome) = &mut broken {
            outcome.seconds = 0.0;
        }
        report.push(crate::report::Run::new("fanout", Broker::Mles, 1, broken));
        let html = html(&report);
        assert!(html.contains("server_us_per_delivery"), "{html}");
        assert!(
            !html.contains("section id=\"deliveries_per_second\""),
            "{html}"
        );
    }
}
