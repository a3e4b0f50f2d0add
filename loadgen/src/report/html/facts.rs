//! Facts about the comparison: brokers, scenarios, the machine, and the command that repeats it.

use std::time::{Duration, UNIX_EPOCH};

use maud::{Markup, html};
use serde_json::Value;

use super::broker_style;
use crate::report::Report;
use crate::report::environment::Environment;
use crate::scenario::{Amount, Load, Timing};

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
                        dl {
                            (fact("version", &provenance.version))
                            (fact("settings", &provenance.settings))
                            @if let Some(client) = report.clients.get(broker) { (fact("client", client)) }
                            dt { "command" } dd { code { (provenance.command) } }
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
            dl.facts {
                (fact("timing", &timing(&report.timing)))
                @for (name, load) in &report.scenarios { (fact(name, &load_in_words(load))) }
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

/// Returns a load by the names that the JSON has for its settings.
pub(super) fn load_in_words(load: &Load) -> String {
    let mut words = Vec::new();
    match serde_json::to_value(load) {
        Ok(value) => settings("", &value, &mut words),
        Err(error) => words.push(error.to_string()),
    }
    words.retain(|word| !word.starts_with("kind "));
    words.join(" · ")
}

fn settings(name: &str, value: &Value, words: &mut Vec<String>) {
    let name = name.replace('_', " ");
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                settings(format!("{name} {field}").trim(), value, words);
            }
        }
        Value::String(text) => words.push(format!("{name} {text}")),
        other => words.push(format!("{name} {other}")),
    }
}

fn timing(timing: &Timing) -> String {
    let measured = match timing.measured {
        Amount::Seconds(seconds) => format!("{seconds} s"),
        Amount::Messages(messages) => format!("{messages} messages of each publisher"),
    };
    format!("{measured} after {} s of warm-up", timing.warm_up_seconds)
}

fn fact(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { dt { (name) } dd { (value) } } }
}
