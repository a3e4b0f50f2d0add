//! Every scenario over every broker that is installed here and has what the scenario is about: short,
//! and with all deliveries accounted for. Figures are not asserted: they are the machine's mood.

use std::time::Duration;

use serde_json::Value;

use crate::faults::{self, Fault};
use crate::own_mles::OwnMles;
use crate::started::{Started, compare};
use crate::support::{loadgen, loadgen_json, said};

macro_rules! test_brokers {
    ($($module:ident: $broker:literal,)*) => {$(
        mod $module {
            #[test]
            fn delivers_in_every_pattern() {
                super::delivers_in_every_pattern($broker);
            }

            #[test]
            fn takes_many_connections_at_once() {
                super::takes_many_connections_at_once($broker);
            }

            #[test]
            fn is_timed_through_its_library() {
                super::is_timed_through_its_library($broker);
            }
        }
    )*};
}

test_brokers! {
    mles: "mles",
    nats: "nats",
    redis: "redis",
    mosquitto: "mosquitto",
    rabbitmq: "rabbitmq",
    rabbitmq_mqtt: "rabbitmq-mqtt",
    reference: "reference",
    null: "null",
}

macro_rules! test_slow_readers {
    ($($name:ident: $broker:literal,)*) => {$(
        #[test]
        fn $name() {
            one_that_stops_reading_costs_the_others_nothing($broker);
        }
    )*};
}

test_slow_readers! {
    a_slow_reader_of_mles: "mles",
    a_slow_reader_of_nats: "nats",
    a_slow_reader_of_redis: "redis",
    a_slow_reader_of_mosquitto: "mosquitto",
    a_slow_reader_of_rabbitmq: "rabbitmq",
    a_slow_reader_of_rabbitmq_mqtt: "rabbitmq-mqtt",
    a_slow_reader_of_the_reference: "reference",
}

/// The outcome `kind` of the only run.
fn outcome<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let outcome = &report["runs"][0]["result"][kind];
    assert!(outcome.is_object(), "{report:#}");
    outcome
}

fn assert_exact(outcome: &Value, deliveries: u64, what: &str) {
    let tally = &outcome["tally"];
    for (figure, expected) in [
        ("expected", deliveries),
        ("delivered", deliveries),
        ("lost", 0),
        ("duplicated", 0),
        ("reordered", 0),
        ("foreign", 0),
    ] {
        assert_eq!(tally[figure], expected, "{what}, {figure}: {outcome:#}");
    }
}

fn delivers_in_every_pattern(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let addr = started.addr.to_string();
    const MESSAGES: u64 = 50;
    let patterns: [(&[&str], u64); 4] = [
        (&["--preset", "fan-in"], 10 * MESSAGES),
        (&["--members", "5"], 5 * 4 * MESSAGES),
        (
            &["--preset", "n-to-n", "--channels", "2"],
            2 * 10 * 9 * MESSAGES,
        ),
        (
            &["--channels", "6", "--zipf", "1.5", "--publishers", "2"],
            6 * 2 * 10 * MESSAGES,
        ),
    ];
    for (pattern, deliveries) in patterns {
        let args = ["throughput", "--broker", broker, "--addr", &addr];
        let few = ["--messages", "50", "--warm-up", "0.05", "--window", "4KiB"];
        let (output, report) = loadgen_json(&[args.as_slice(), &few, pattern].concat());
        let what = format!("{broker}, {pattern:?}: {}", said(&output));
        assert_eq!(output.status.code(), Some(0), "{what}{report:#}");
        assert_exact(outcome(&report, "fanout"), deliveries, &what);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("windowed closed loop"), "{what}{text}");
    }
}

fn takes_many_connections_at_once(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let addr = started.addr.to_string();
    let args = ["connect-storm", "--broker", broker, "--addr", &addr];
    let few = [
        "--connections",
        "90",
        "--in-flight",
        "20",
        "--bystander-rate",
        "100",
    ];
    let process = ["--pid", &started.pid];
    let (output, report) = loadgen_json(&[args.as_slice(), &few, &process].concat());
    let what = format!("{broker}: {}", said(&output));
    assert_eq!(output.status.code(), Some(0), "{what}{report:#}");
    let storm = outcome(&report, "storm");
    assert_eq!(
        (&storm["connected"], &storm["failed"]),
        (&90.into(), &0.into()),
        "{what}"
    );
    assert_eq!(storm["connect"]["count"], 90, "{what}");
    assert!(
        storm["server_cpu"]["nanoseconds"].as_u64() > Some(0),
        "{what}"
    );
    // A second at a hundred messages before, and as many as there was time for meanwhile.
    assert_eq!(storm["bystander_before"]["count"], 100, "{what}");
    let tally = &storm["tally"];
    assert_eq!(tally["delivered"], tally["expected"], "{what}");
    assert!(tally["delivered"].as_u64() >= Some(100), "{what}");
}

fn is_timed_through_its_library(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let addr = started.addr.to_string();
    let target = ["--broker", broker, "--addr", &addr, "--client", "library"];
    let few = ["--publishers", "2", "--subscribers", "3", "--channels", "2"];
    let rate = ["--rate", "200", "--seconds", "0.5", "--warm-up", "0.1"];
    // Other tests take the cores: how late this program is says nothing here.
    let patient = ["--max-lag", "100000"];
    let args = [["latency"].as_slice(), &target, &few, &rate, &patient].concat();
    let (output, report) = loadgen_json(&args);
    let what = format!("{broker}: {}", said(&output));
    let latency = outcome(&report, "latency");
    assert_exact(latency, 100 * 3, &what);
    assert_eq!(latency["messages"], 100, "{what}");
    for (times, count) in [("latency", 300), ("service", 300), ("lag", 100)] {
        assert_eq!(latency[times]["count"], count, "{what}, {times}");
    }
    let few = [
        "--subscribers",
        "3",
        "--samples",
        "4",
        "--warm-up-samples",
        "1",
    ];
    let (output, report) = loadgen_json(&[["seed"].as_slice(), &target, &few].concat());
    let what = format!("{broker}: {}", said(&output));
    assert_eq!(output.status.code(), Some(0), "{what}{report:#}");
    let seed = outcome(&report, "seed");
    assert_eq!(seed["times"]["count"], 4, "{what}");
    assert_exact(seed, 4 * 3, &what);
    assert!(
        !report["clients"][broker]
            .as_str()
            .unwrap()
            .contains("loadgen"),
        "{what}"
    );
}

fn one_that_stops_reading_costs_the_others_nothing(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let addr = started.addr.to_string();
    let args = ["slow-reader", "--broker", broker, "--addr", &addr];
    let few = ["--subscribers", "3", "--rate", "200", "--payload", "16KiB"];
    let time = ["--before", "0.5", "--after", "1", "--pid", &started.pid];
    let (output, report) = loadgen_json(&[args.as_slice(), &few, &time].concat());
    let what = format!("{broker}: {}", said(&output));
    let slow = outcome(&report, "slow-reader");
    assert_exact(slow, (100 + 200) * 3, &what);
    assert_eq!(slow["before"]["count"], 100 * 3, "{what}");
    assert_eq!(slow["after"]["count"], 200 * 3, "{what}");
    let memory = slow["memory"].as_array().unwrap();
    assert!(memory.len() >= 2, "{what}");
    assert!(memory[0]["rss_bytes"].as_u64() > Some(0), "{what}");
}

#[test]
fn a_reader_that_is_too_slow_is_let_go_and_that_is_seen() {
    // Enough for the one that reads when the machine is busy.
    let limits = [
        "--max-frame",
        "16KiB",
        "--queue-bytes",
        "8MiB",
        "--allow-anonymous",
    ];
    let Some(server) = OwnMles::new(&limits, "") else {
        return;
    };
    let addr = server.addr.to_string();
    let args = ["slow-reader", "--broker", "mles", "--addr", &addr];
    // 32 MB: more than that and what the kernel keeps.
    let load = ["--subscribers", "1", "--rate", "2000", "--payload", "8KiB"];
    let time = ["--before", "0.2", "--after", "2"];
    let (output, report) = loadgen_json(&[args.as_slice(), &load, &time].concat());
    let slow = outcome(&report, "slow-reader");
    let let_go = slow["let_go_seconds"].as_f64();
    assert!(
        let_go.is_some_and(|it| it > 0.0),
        "{}{slow:#}",
        said(&output)
    );
    assert_eq!(
        slow["memory"].as_array().unwrap().len(),
        0,
        "no --pid was given"
    );
}

#[test]
fn connections_that_are_refused_fail_a_storm() {
    // Those of the bystander and of five channels are there before: that makes room for some.
    let few = ["--max-connections", "40", "--allow-anonymous"];
    let Some(server) = OwnMles::new(&few, "") else {
        return;
    };
    let addr = server.addr.to_string();
    let args = ["connect-storm", "--broker", "mles", "--addr", &addr];
    let (output, report) = loadgen_json(&[args.as_slice(), &["--connections", "100"]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let storm = outcome(&report, "storm");
    let [connected, failed] = ["connected", "failed"].map(|it| storm[it].as_u64().unwrap());
    assert_eq!(connected + failed, 100, "{storm:#}");
    assert!(connected > 0 && failed >= 60, "{storm:#}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("of 100 connections failed: the broker closed"),
        "{text}"
    );
}

#[test]
fn a_rate_that_is_not_met_is_told() {
    let Some(started) = Started::new("mles") else {
        return;
    };
    // Nothing comes back in the quarter of a second that is measured.
    let addr = faults::proxy(started.addr, Fault::Delay(Duration::from_millis(400)));
    let addr = addr.to_string();
    let latency = [
        "latency",
        "--seconds",
        "0.25",
        "--warm-up",
        "0",
        "--rate",
        "100",
    ];
    let slow = [
        "slow-reader",
        "--before",
        "0.25",
        "--after",
        "0.1",
        "--rate",
        "100",
    ];
    for scenario in [latency, slow] {
        let target = ["--broker", "mles", "--addr", &addr];
        let output = loadgen(&[scenario.as_slice(), &target].concat());
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            text.contains("INVALID") && text.contains("the rate was not met"),
            "{text}"
        );
    }
}

#[test]
fn a_history_is_there_whole_for_every_joiner() {
    for broker in ["mles", "reference"] {
        let args = ["compare", "--brokers", broker, "--scenario", "history-join"];
        let Some((output, report)) = compare(&[args.as_slice(), &["--rounds", "1"]].concat())
        else {
            continue;
        };
        let what = format!("{broker}: {}", said(&output));
        assert_eq!(output.status.code(), Some(0), "{what}{report:#}");
        let history = outcome(&report, "history");
        assert_eq!(history["joined"], 500, "{what}");
        assert_exact(history, 500 * 100, &what);
        assert!(
            history["server_cpu"]["nanoseconds"].as_u64() > Some(0),
            "{what}"
        );
    }
}

#[test]
fn a_history_that_is_too_short_fails_every_joiner() {
    let short = ["--history-limit", "60", "--allow-anonymous"];
    let Some(server) = OwnMles::new(&short, "") else {
        return;
    };
    let addr = server.addr.to_string();
    let args = ["history-join", "--broker", "mles", "--addr", &addr];
    let few = ["--joiners", "8", "--in-flight", "4", "--channels", "2"];
    let (output, report) = loadgen_json(&[args.as_slice(), &few].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let history = outcome(&report, "history");
    assert_eq!(history["tally"]["lost"], 8 * 40, "{history:#}");
    // What is missing can be allowed, and is told all the same.
    let allowed = [args.as_slice(), &few, &["--allow-loss"]].concat();
    let output = loadgen(&allowed);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("ALLOWED history-join mles round 1: 480 of 800"),
        "{text}"
    );
}

#[test]
fn brokers_without_a_history_are_left_out_with_the_reason() {
    let args = ["compare", "--brokers", "null", "--rounds", "1"];
    let scenarios = ["--scenario", "history-join,slow-reader"];
    let (output, report) = loadgen_json(&[args.as_slice(), &scenarios].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(report["runs"].as_array().unwrap().len(), 0);
    let omitted = report["omitted"].as_array().unwrap();
    let names: Vec<_> = omitted.iter().map(|it| it["scenario"].as_str()).collect();
    assert_eq!(names, [Some("history-join"), Some("slow-reader")]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("SKIPPED history-join null: "), "{text}");
    let args = ["history-join", "--broker", "redis", "--addr", "127.0.0.1:1"];
    let output = loadgen(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("keeps no history"),
        "{}",
        said(&output)
    );
}

#[test]
fn skewed_channels_are_loaded_on_schedule_too() {
    let Some(started) = Started::new("mles") else {
        return;
    };
    let addr = started.addr.to_string();
    let args = [
        "latency", "--broker", "mles", "--addr", &addr, "--zipf", "1",
    ];
    let load = ["--channels", "10", "--subscribers", "2", "--rate", "500"];
    let time = ["--seconds", "1", "--warm-up", "0"];
    let (output, report) = loadgen_json(&[args.as_slice(), &load, &time].concat());
    let latency = outcome(&report, "latency");
    let messages = latency["messages"].as_u64().unwrap();
    // Each of ten channels begins somewhere within its own pace.
    assert!(
        (490..=510).contains(&messages),
        "{}{latency:#}",
        said(&output)
    );
    assert_exact(latency, messages * 2, "mles");
}
