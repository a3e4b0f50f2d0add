//! Scenarios in words: a title that says what the load is, and the settings that are not in it.

use super::quantity::{counted, size, thousands};
use crate::broker::Client;
use crate::scenario::{Arrivals, Fanout, LagBound, Latency, Load, Mode};

/// Returns what the load is: `1 publisher → 1,000 subscribers, 64 bytes, pipelined`.
pub(super) fn title(load: &Load) -> String {
    match load {
        Load::Fanout(load) => fanout(load),
        Load::Latency(load) => latency(load),
        Load::Seed(load) => format!(
            "{}, {}, one message at a time",
            fan(1, load.subscribers),
            size(load.payload)
        ),
        Load::Idle(load) => {
            let counts: Vec<String> = load.counts.iter().map(|it| thousands(*it as f64)).collect();
            format!(
                "{} idle subscribers, {} on each channel",
                counts.join(", then "),
                thousands(load.per_channel as f64)
            )
        }
        Load::Storm(load) => format!(
            "{}, {} at a time",
            counted(load.connections, "connection"),
            thousands(load.in_flight as f64)
        ),
        Load::History(load) => format!(
            "{} to {}, each with a history of {} of {}",
            counted(load.joiners, "join"),
            counted(load.channels, "channel"),
            counted(load.history, "message"),
            size(load.payload)
        ),
        Load::Reconnect(load) => format!(
            "{} on {}, all cut off at once, and back within {} s",
            counted(load.all_clients(), "client"),
            counted(load.channels, "channel"),
            load.spread_seconds
        ),
        Load::Publish(load) => format!(
            "{}, {}, {} in flight for each publisher",
            fan(load.connections.into(), 1),
            size(load.payload),
            counted(load.in_flight, "message")
        ),
        Load::SlowReader(load) => format!(
            "{} messages/s of {} to {}, and to one that stops reading",
            thousands(load.rate),
            size(load.payload),
            counted(load.subscribers, "subscriber")
        ),
    }
}

/// Returns the settings that the title does not have; empty if there are none.
pub(super) fn settings(load: &Load) -> String {
    let mut words = match load {
        Load::Fanout(load) => {
            let window = || format!("at most {} in flight for each publisher", size(load.window));
            let window = (load.mode == Mode::Pipelined).then(window);
            let seed = load.zipf.map(|_| format!("seed {}", load.seed));
            window.into_iter().chain(seed).collect()
        }
        Load::Latency(load) => vec![
            match load.arrivals {
                Arrivals::Fixed => "messages due at even intervals".to_owned(),
                Arrivals::Poisson => format!("messages due at random (seed {})", load.seed),
            },
            lag(load.lag_bound),
        ],
        Load::Seed(load) => vec![format!(
            "{} after {} of warm-up",
            counted(to_usize(load.samples), "message"),
            thousands(load.warm_up_samples as f64)
        )],
        Load::Idle(load) => vec![format!(
            "left alone for {} s before each reading",
            load.settle_seconds
        )],
        Load::Storm(load) => vec![format!(
            "meanwhile {} messages/s on another channel",
            thousands(load.bystander_rate)
        )],
        Load::Publish(_) => Vec::new(),
        Load::Reconnect(load) => vec![format!(
            "{} messages/s of {} on all channels together, {} messages/s on another",
            thousands(load.rate),
            size(load.payload),
            thousands(load.bystander_rate)
        )],
        Load::History(load) => vec![format!("{} at a time", counted(load.in_flight, "join"))],
        Load::SlowReader(load) => vec![
            format!(
                "all read for {} s, then one stops for {} s",
                load.before_seconds, load.after_seconds
            ),
            lag(load.lag_bound),
        ],
    };
    if load.client() == Client::Library {
        words.push("through client libraries".to_owned());
    }
    words.join(" · ")
}

fn fanout(load: &Fanout) -> String {
    let publishers = usize::from(load.publishers);
    let clients = if load.members {
        format!(
            "{}, each publishing to all others",
            counted(publishers, "client")
        )
    } else {
        fan(publishers, load.subscribers)
    };
    let mode = match load.mode {
        Mode::Pipelined => "pipelined",
        Mode::Unbatched => "one message in flight",
    };
    let clients = on_channels(load.channels, load.zipf, &clients);
    format!("{clients}, {}, {mode}", size(load.payload))
}

fn latency(load: &Latency) -> String {
    let clients = fan(load.publishers.into(), load.subscribers);
    format!(
        "{} messages/s, {}, {}",
        rate(load.rate),
        on_channels(load.channels, load.zipf, &clients),
        size(load.payload)
    )
}

fn fan(publishers: usize, subscribers: usize) -> String {
    format!(
        "{} → {}",
        counted(publishers, "publisher"),
        counted(subscribers, "subscriber")
    )
}

/// Says how many channels have such `clients`, and how messages are shared out among them.
fn on_channels(channels: usize, zipf: Option<f64>, clients: &str) -> String {
    let clients = match channels {
        1 => clients.to_owned(),
        _ => format!("{}, each {clients}", counted(channels, "channel")),
    };
    match zipf {
        None => clients,
        Some(1.0) => format!("{clients}, messages in proportion to 1/k"),
        Some(exponent) => format!("{clients}, messages in proportion to 1/k^{exponent}"),
    }
}

/// Returns a rate as it was set: one may have a fraction.
fn rate(rate: f64) -> String {
    if rate.fract() == 0.0 {
        thousands(rate)
    } else {
        rate.to_string()
    }
}

fn lag(bound: LagBound) -> String {
    format!(
        "valid if loadgen sends {} % of the messages within {} of their time",
        bound.percentile,
        super::quantity::time(bound.nanoseconds as f64)
    )
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::scenario::{ScenarioName, ScenarioOptions, Seed};

    /// Returns the titles of all scenarios by their names.
    fn titles() -> Vec<(String, String, Load)> {
        let options = ScenarioOptions {
            latency: Latency::default(),
            rates: vec![1000.0, 0.5],
            seed: Seed::default(),
        };
        let names = ScenarioName::value_variants().iter();
        let loads = names.flat_map(|name| name.loads(&options));
        loads
            .map(|(name, load)| (name, title(&load), load))
            .collect()
    }

    #[test]
    fn titles_say_what_the_load_is() {
        let titles = titles();
        for (name, wanted) in [
            (
                "fanout-1000",
                "1 publisher → 1,000 subscribers, 64 bytes, pipelined",
            ),
            (
                "fanout-unbatched",
                "1 publisher → 10 subscribers, 64 bytes, one message in flight",
            ),
            (
                "channels",
                "100 channels, each 1 publisher → 10 subscribers, 64 bytes, pipelined",
            ),
            ("large", "1 publisher → 10 subscribers, 64 KiB, pipelined"),
            (
                "n-to-n",
                "10 clients, each publishing to all others, 64 bytes, pipelined",
            ),
            (
                "latency-1000",
                "1,000 messages/s, 1 publisher → 10 subscribers, 64 bytes",
            ),
            (
                "latency-0.5",
                "0.5 messages/s, 1 publisher → 10 subscribers, 64 bytes",
            ),
            (
                "seed-1.6MB",
                "1 publisher → 100 subscribers, 1.6 MB, one message at a time",
            ),
            (
                "idle",
                "2,000, then 8,000 idle subscribers, 100 on each channel",
            ),
            ("connect-storm", "2,000 connections, 50 at a time"),
            (
                "history-join",
                "500 joins to 20 channels, each with a history of 100 messages of 64 bytes",
            ),
            (
                "slow-reader",
                "2,500 messages/s of 4 KiB to 5 subscribers, and to one that stops reading",
            ),
        ] {
            let found = titles.iter().find(|(it, ..)| it == name);
            assert_eq!(found.map(|(_, title, _)| title.as_str()), Some(wanted));
        }
    }

    #[test]
    fn no_two_scenarios_have_one_title_and_none_has_the_names_of_fields() {
        let titles = titles();
        for (name, title, load) in &titles {
            let other = titles
                .iter()
                .find(|(other, its, _)| other != name && its == title);
            assert!(other.is_none(), "{name} and {other:?}");
            let settings = settings(load);
            for odd in ['{', '}', '"', '_', '['] {
                assert!(
                    !title.contains(odd) && !settings.contains(odd),
                    "{title}: {settings}"
                );
            }
        }
    }
}
