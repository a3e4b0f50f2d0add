//! A reader that stops and a history that is joined, over every broker that is installed here and has
//! what the scenario is about.

use crate::broker_process::{Started, compare};
use crate::own_mles::OwnMles;
use crate::scenarios::{assert_exact, outcome};
use crate::support::{loadgen, loadgen_json, said, words};

test_brokers! {
    [one_that_stops_reading_costs_the_others_nothing,] for
    mles: "mles",
    nats: "nats",
    nats_2_15: "nats-2.15",
    redis: "redis",
    valkey: "valkey",
    mosquitto: "mosquitto",
    rabbitmq: "rabbitmq",
    rabbitmq_mqtt: "rabbitmq-mqtt",
    reference: "reference",
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
    let limits = words("--max-frame 16KiB --queue-bytes 8MiB --allow-anonymous");
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
