//! Facts about the comparison: brokers, scenarios, the machine, and the command that repeats it.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};

use super::broker_style;
use super::title::title;
use crate::report::Report;
use crate::report::environment::Environment;
use crate::report::title::settings;
use crate::scenario::{Amount, Timing};

/// The last second that a date of four digits has.
const LAST_SECOND: u64 = 253_402_300_799;

/// Returns the brokers: versions, settings, command lines.
pub(super) fn brokers(report: &Report) -> Markup {
    html! {
        section id="brokers" {
            h2 { "Brokers" }
            div.cards {
                @for (broker, provenance) in &report.brokers {
                    div.card {
                        h3 { (broker_style::swatch(*broker)) " " (broker.name()) }
                        p { (provenance.version) }
                        details {
                            summary { "Settings and command of " (broker.name()) }
                            dl {
                                (fact("settings", &provenance.settings))
                                @if let Some(client) = report.clients.get(broker) { (fact("client", client)) }
                                dt { "command" } dd { code { (provenance.command) } }
                            }
                        }
                    }
                }
                @for (broker, client) in &report.clients {
                    @if !report.brokers.contains_key(broker) {
                        div.card {
                            h3 { (broker_style::swatch(*broker)) " " (broker.name()) }
                            dl { (fact("client", client)) (fact("settings", "not known: it ran already")) }
                        }
                    }
                }
                @for (broker, why) in &report.skipped {
                    div.card { h3 { (broker.name()) " " span.badge { "skipped" } } p { (why) } }
                }
            }
        }
    }
}

/// Returns the scenarios with all that was set.
pub(super) fn scenarios(report: &Report) -> Markup {
    html! {
        section id="scenarios" {
            h2 { "Scenarios" }
            p.hint { (timing(&report.timing)) }
            ul.facts {
                @for (name, load) in &report.scenarios {
                    li { (title(report, name)) @let settings = settings(load); @if !settings.is_empty() { p.hint { (settings) } } }
                }
            }
        }
    }
}

/// Returns the machine.
pub(super) fn environment(report: &Report) -> Markup {
    let here = &report.environment;
    html! {
        section id="environment" {
            h2 { "Environment" }
            dl.facts {
                (fact("started", &date(here)))
                (fact("processor", &format!("{} cores, {}", here.cores, here.cpu)))
                (fact("memory", &format!("{:.1} GiB", here.memory_kib as f64 / f64::from(1 << 20))))
                (fact("kernel", &format!("Linux {}", here.kernel)))
                (fact("congestion control", &here.congestion_control))
                (fact("loadgen", &here.loadgen))
            }
        }
        section id="repeat" {
            h2 { "Repeat it" }
            pre { code { (here.repeat()) } }
        }
    }
}

/// Returns when it began, in UTC.
pub(super) fn date(environment: &Environment) -> String {
    let seconds = environment.started;
    if seconds > LAST_SECOND {
        return format!("{seconds} s after 1970");
    }
    let began = UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(began)
        .to_string()
        .replace('T', " ")
        .replace('Z', " UTC")
}

fn timing(timing: &Timing) -> String {
    let measured = match timing.measured {
        // Only scenarios with times of their own were run.
        Amount::Seconds(0.0) => return String::new(),
        Amount::Seconds(seconds) => format!("{seconds} s"),
        Amount::Messages(messages) => format!("{messages} messages of each publisher"),
    };
    format!(
        "Throughput and latency: {measured} after {} s of warm-up.",
        timing.warm_up_seconds
    )
}

fn fact(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { dt { (name) } dd { (value) } } }
}
