//! A few messages over every broker that is installed here, started and stopped by the program.
//!
//! Each broker has the same tests; what is not installed is skipped by name, see [`Started`].

use crate::broker_process::{Started, compare};
use crate::support::{PAYLOAD, Tamper, loadgen_json, said, words};
use crate::tampering_proxy::proxy;

test_brokers! {
    [
        delivers_every_message_once,
        tells_publishers_and_channels_apart,
        takes_memory_for_idle_subscribers,
        is_found_out_when_tampered_with,
    ] for
    mles: "mles",
    mles_ws: "mles-ws",
    mles_v2: "mles-v2",
    mles_resume: "mles-resume",
    mles_v2_resume: "mles-v2-resume",
    mles_http: "mles-http",
    nats: "nats",
    nats_2_15: "nats-2.15",
    redis: "redis",
    valkey: "valkey",
    mosquitto: "mosquitto",
    rabbitmq: "rabbitmq",
    rabbitmq_mqtt: "rabbitmq-mqtt",
    null: "null",
}

// What stands between would have to speak TLS; the key of the reference depends on the client's address. An event that
// is missing is found out at the next, by its position.
test_brokers! {
    [
        delivers_every_message_once,
        tells_publishers_and_channels_apart,
        takes_memory_for_idle_subscribers,
    ] for
    mles_events: "mles-events",
    mles_tls: "mles-tls",
    mles_wss: "mles-wss",
    reference_v2: "reference-v2",
    reference: "reference",
}

// These have several nodes, or a consumer for each subscriber.
test_brokers! {
    [delivers_every_message_once,] for
    mles_fleet: "mles-fleet",
    nats_jetstream: "nats-jetstream",
}

/// Those that only the lean client speaks with.
const WITHOUT_LIBRARY: [&str; 9] = [
    "mles-ws",
    "mles-v2",
    "mles-tls",
    "mles-wss",
    "mles-resume",
    "mles-v2-resume",
    "mles-events",
    "mles-http",
    "reference-v2",
];

fn delivers_every_message_once(broker: &str) {
    let scenarios = "fanout,fanout-unbatched-x8,large";
    let args = ["compare", "--brokers", broker, "--scenario", scenarios];
    // Long enough that something is delivered in it on a busy machine.
    let short = ["--rounds", "2", "--seconds", "0.3", "--warm-up", "0.1"];
    // What the server 2.9.4 now and then fails at on a busy machine is its own: one run that is exact
    // shows the adapter, and the others are told.
    let mut more = if broker == "reference-v2" { 2 } else { 0 };
    let (output, report) = loop {
        let Some((output, report)) = compare(&[args.as_slice(), &short].concat()) else {
            return;
        };
        if output.status.success() || more == 0 {
            break (output, report);
        }
        more -= 1;
        eprintln!("{broker}: {}{:#}", said(&output), report["runs"]);
    };
    let complaint = said(&output);
    let code = output.status.code();
    assert_eq!(code, Some(0), "{broker}: {complaint}{:#}", report["runs"]);
    assert_eq!(report["schema"], "mles-loadgen/1");
    let version = report["brokers"][broker]["version"].as_str();
    assert!(version.is_some_and(|it| !it.is_empty()));
    assert_eq!(paths_of_the_machine(&report.to_string()), [""; 0]);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6, "three scenarios, two rounds");
    for run in runs {
        let outcome = &run["result"]["fanout"];
        let (tally, cpu) = (&outcome["tally"], &outcome["server_cpu"]);
        assert!(tally["delivered"].as_u64() > Some(0), "{run}");
        assert_eq!(tally["delivered"], tally["expected"], "{run}");
        assert!(cpu["nanoseconds"].as_u64() > Some(0), "{run}");
    }
}

/// Returns the absolute paths in a report. The file that it was written to was named by one.
fn paths_of_the_machine(report: &str) -> Vec<&str> {
    let words = report.split(|c: char| c == '"' || c == '=' || c == '\'' || c.is_whitespace());
    words.filter(|word| word.starts_with('/')).collect()
}

fn tells_publishers_and_channels_apart(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let addr = started.addr.to_string();
    for client in clients(broker) {
        let args = ["fanout", "--broker", broker, "--addr", &addr];
        let shape = ["--publishers", "3", "--channels", "4", "--subscribers", "5"];
        let few = ["--messages", "100", "--warm-up", "0.1"];
        let small = ["--payload", "8", "--window", "1KiB", "--client", client];
        let (output, report) = loadgen_json(&[args.as_slice(), &shape, &few, &small].concat());
        let what = format!("{broker}, {client}: {}", said(&output));
        let code = output.status.code();
        assert_eq!(code, Some(0), "{what}{:#}", report["runs"]);
        assert_eq!(report["scenarios"]["custom"]["client"], *client, "{what}");
        assert!(report["clients"][broker].is_string(), "{what}");
        let outcome = &report["runs"][0]["result"]["fanout"];
        assert_eq!(outcome["tally"]["delivered"], 3 * 4 * 5 * 100, "{what}");
        assert!(outcome["server_cpu"].is_null(), "no --pid was given");
    }
}

fn clients(broker: &str) -> &'static [&'static str] {
    if WITHOUT_LIBRARY.contains(&broker) {
        &["lean"]
    } else {
        &["lean", "library"]
    }
}

fn takes_memory_for_idle_subscribers(broker: &str) {
    let args = ["idle", "--brokers", broker, "--counts", "100,1100"];
    let once = ["--settle", "0.5", "--rounds", "1"];
    let Some((output, report)) = compare(&[args.as_slice(), &once].concat()) else {
        return;
    };
    let complaint = said(&output);
    let code = output.status.code();
    assert_eq!(code, Some(0), "{broker}: {complaint}{:#}", report["runs"]);
    let point = &report["runs"][0]["result"]["idle"]["points"][2];
    assert_eq!(point["subscribers"], 1100);
    for kind in ["anonymous_bytes", "rss_bytes"] {
        assert!(point["memory"][kind].as_u64() > Some(0), "{point}");
    }
}

/// Asserts that nothing done to a delivery passes, and that each kind of harm is called by its name.
fn is_found_out_when_tampered_with(broker: &str) {
    const SUBSCRIBERS: u64 = 3;
    const MESSAGES: u64 = 200;
    let Some(started) = Started::new(broker) else {
        return;
    };
    let (messages, payload) = (MESSAGES.to_string(), PAYLOAD.to_string());
    for (client, tamper, finding) in [
        ("lean", Tamper::Nothing, None),
        ("lean", Tamper::Lose, Some("lost")),
        ("lean", Tamper::Double, Some("duplicated")),
        ("lean", Tamper::Delay, Some("reordered")),
        ("lean", Tamper::Forge, Some("foreign")),
        // The check is the same; what is tested is that libraries do not come between.
        ("library", Tamper::Nothing, None),
        ("library", Tamper::Double, Some("duplicated")),
        ("library", Tamper::Delay, Some("reordered")),
    ] {
        if !clients(broker).contains(&client) {
            continue;
        }
        let addr = proxy(broker, started.addr, tamper).to_string();
        let args = ["fanout", "--broker", broker, "--addr", &addr];
        let shape = ["--subscribers", "3", "--warm-up", "0"];
        let load = format!("--messages {messages} --payload {payload} --client {client}");
        let load = words(&load);
        let (output, report) = loadgen_json(&[args.as_slice(), &shape, &load].concat());
        let what = format!("{broker}, {client}, {tamper:?}: {}", said(&output));
        assert_eq!(
            output.status.code(),
            Some(i32::from(finding.is_some())),
            "{what}"
        );
        let tally = &report["runs"][0]["result"]["fanout"]["tally"];
        // What was forged is not the message it was.
        let lost = u64::from(matches!(tamper, Tamper::Lose | Tamper::Forge));
        assert_eq!(tally["delivered"], SUBSCRIBERS * MESSAGES - lost, "{what}");
        assert_eq!(tally["lost"], lost, "{what}");
        for kind in ["duplicated", "reordered", "foreign"] {
            assert_eq!(
                tally[kind],
                u64::from(finding == Some(kind)),
                "{what}{kind}"
            );
        }
    }
}

#[test]
fn a_client_library_that_there_is_not_is_told() {
    let args = ["compare", "--brokers", "mles-ws", "--scenario", "fanout"];
    let short = ["--client", "library", "--rounds", "1", "--seconds", "0.3"];
    let Some((output, report)) = compare(&[args.as_slice(), &short].concat()) else {
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let why = report["runs"][0]["result"]["failed"].as_str();
    assert!(
        why.is_some_and(|why| why.contains("no client library")),
        "{:#}",
        report["runs"]
    );
}
