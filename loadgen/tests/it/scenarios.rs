//! Patterns, storms and libraries over every broker that is installed here: short, and with all
//! deliveries accounted for. Figures are not asserted: they are the machine's mood.

use std::time::Duration;

use serde_json::Value;

use crate::broker_process::Started;
use crate::fault_proxy::{self, Fault};
use crate::own_mles::OwnMles;
use crate::support::{loadgen, loadgen_json, said, text, words};

test_brokers! {
    [
        delivers_in_every_pattern,
        takes_many_connections_at_once,
        is_timed_through_its_library,
    ] for
    mles: "mles",
    nats: "nats",
    nats_2_15: "nats-2.15",
    redis: "redis",
    valkey: "valkey",
    mosquitto: "mosquitto",
    rabbitmq: "rabbitmq",
    rabbitmq_mqtt: "rabbitmq-mqtt",
    reference: "reference",
    null: "null",
}

/// Returns the outcome `kind` of the only run.
pub fn outcome<'a>(report: &'a Value, kind: &str) -> &'a Value {
    let outcome = &report["runs"][0]["result"][kind];
    assert!(outcome.is_object(), "{report:#}");
    outcome
}

pub fn assert_exact(outcome: &Value, deliveries: u64, what: &str) {
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
    let few = words("--connections 90 --in-flight 20 --bystander-rate 100");
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
    let patient = ["--max-lag", "100s"];
    let args = [["latency"].as_slice(), &target, &few, &rate, &patient].concat();
    let (output, report) = loadgen_json(&args);
    let what = format!("{broker}: {}", said(&output));
    let latency = outcome(&report, "latency");
    assert_exact(latency, 100 * 3, &what);
    assert_eq!(latency["messages"], 100, "{what}");
    for (times, count) in [("latency", 300), ("service", 300), ("lag", 100)] {
        assert_eq!(latency[times]["count"], count, "{what}, {times}");
    }
    let few = words("--subscribers 3 --samples 4 --warm-up-samples 1");
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
    let addr = fault_proxy::proxy(started.addr, Fault::Delay(Duration::from_millis(400)));
    let addr = addr.to_string();
    let latency = words("latency --seconds 0.25 --warm-up 0 --rate 100");
    let slow = words("slow-reader --before 0.25 --after 0.1 --rate 100");
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

#[test]
fn a_broker_is_reached_by_its_name() {
    let Some(started) = Started::new("mles") else {
        return;
    };
    let addr = format!("localhost:{}", started.addr.port());
    let args = ["throughput", "--broker", "mles", "--addr", &addr];
    let few = ["--messages", "20", "--warm-up", "0"];
    let (output, report) = loadgen_json(&[args.as_slice(), &few].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_exact(outcome(&report, "fanout"), 20 * 10, "by name");
}

/// One congestion control for all is read back from a socket, and asked of the brokers that would choose theirs.
#[test]
fn all_have_the_congestion_control_that_was_asked_for() {
    let args = ["compare", "--brokers", "mles,null", "--scenario", "fanout"];
    let short = ["--rounds", "1", "--seconds", "0.1", "--warm-up", "0"];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    let all = ["--congestion", "reno", "--json", text(&path)];
    let output = loadgen(&[args.as_slice(), &short, &all].concat());
    let said = said(&output);
    if said.contains("unshare") {
        eprintln!("SKIPPED congestion control: no network namespace can be made here: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report = std::fs::read(&path).expect("the report was written");
    let report: Value = serde_json::from_slice(&report).expect("it is JSON");
    assert_eq!(report["environment"]["congestion_control"], "reno");
    for broker in ["mles", "null"] {
        let both = &report["brokers"][broker]["congestion"];
        assert_eq!(both["broker"], "reno", "{both}");
        assert_eq!(both["loadgen"], "reno", "{both}");
        let command = report["brokers"][broker]["command"].as_str();
        assert!(
            command.is_some_and(|it| it.contains("congestion reno")),
            "{command:?}"
        );
    }
}
