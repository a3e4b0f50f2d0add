//! Latencies of an open loop over a real broker, behind a proxy whose faults are known: whatever
//! the machine does besides, what the proxy adds must be there.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::broker_process::Started;
use crate::fault_proxy::{Fault, proxy};
use crate::support::{Tamper, loadgen, loadgen_json, relay, said, text, wait_for, words};

const MILLISECOND: u64 = 1_000_000;
const PAYLOAD: usize = 64;
const SUBSCRIBERS: u64 = 3;

/// Sends `rate` messages for a second to three subscribers by way of `addr`, and returns the outcome.
fn latency(addr: SocketAddr, rate: &str, more: &[&str]) -> Value {
    let (addr, payload) = (addr.to_string(), PAYLOAD.to_string());
    let args = format!(
        "latency --broker mles --addr {addr} --subscribers 3 --payload {payload} --rate {rate} --warm-up 0 --seconds 1"
    );
    let args = words(&args);
    let (output, report) = loadgen_json(&[args.as_slice(), more].concat());
    let outcome = report["runs"][0]["result"]["latency"].clone();
    assert!(outcome.is_object(), "{}{report:#}", said(&output));
    let tally = &outcome["tally"];
    assert_eq!(tally["delivered"], tally["expected"], "{tally}");
    let deliveries = outcome["messages"].as_u64().unwrap() * SUBSCRIBERS;
    assert_eq!(tally["delivered"], deliveries, "{tally}");
    assert_eq!(outcome["latency"]["count"], deliveries);
    assert_eq!(outcome["service"]["count"], deliveries);
    assert_eq!(outcome["lag"]["count"], outcome["messages"]);
    outcome
}

/// Returns a figure in nanoseconds.
fn time(outcome: &Value, of: &str, figure: &str) -> u64 {
    outcome[of][figure].as_u64().unwrap()
}

#[test]
fn a_delay_is_in_the_median() {
    let Some(broker) = Started::new("mles") else {
        return;
    };
    let addr = proxy(broker.addr, Fault::Delay(Duration::from_millis(20)));
    let outcome = latency(addr, "500", &[]);
    // Nothing came sooner, not even the first.
    for figure in ["min", "p50", "p99"] {
        assert!(time(&outcome, "latency", figure) >= 20 * MILLISECOND);
        assert!(time(&outcome, "service", figure) >= 20 * MILLISECOND);
    }
    assert_eq!(outcome["messages"], 500);
}

#[test]
fn a_stall_is_in_the_latency_of_all_that_were_due_in_it() {
    let Some(broker) = Started::new("mles") else {
        return;
    };
    // A frame is longer than its payload, so less than 400 of the 1000 messages have been sent.
    let stall = Fault::Stall {
        after: 400 * PAYLOAD,
        time: Duration::from_millis(200),
    };
    let outcome = latency(proxy(broker.addr, stall), "1000", &[]);
    // The 200 messages due from then on were late by up to 200 ms: each of 10 % by over 100 ms.
    assert!(
        time(&outcome, "latency", "max") >= 195 * MILLISECOND,
        "{outcome:#}"
    );
    assert!(
        time(&outcome, "latency", "p99") >= 180 * MILLISECOND,
        "{outcome:#}"
    );
    let over = outcome["latency"]["p90"].as_u64().unwrap();
    assert!(over >= 95 * MILLISECOND, "{outcome:#}");
}

#[test]
fn a_publisher_that_cannot_send_is_late_from_when_it_was_due() {
    // Nobody reads for a second: the sockets fill, and what is due after that cannot be sent.
    // Service time, which counts from sending, cannot know of it; latency must.
    let Some(broker) = Started::new("mles") else {
        return;
    };
    let stall = Fault::Stall {
        after: 4 << 20,
        time: Duration::from_secs(1),
    };
    // 50 MiB, far more than the sockets between them hold: most of it is sent after the second.
    let addr = proxy(broker.addr, stall).to_string();
    let (output, report) = loadgen_json(&[
        "latency",
        "--broker",
        "mles",
        "--addr",
        &addr,
        "--subscribers",
        "1",
        "--payload",
        "64KiB",
        "--rate",
        "800",
        "--warm-up",
        "0",
        "--seconds",
        "1",
    ]);
    let outcome = &report["runs"][0]["result"]["latency"];
    for part in ["lag", "latency"] {
        assert!(
            time(outcome, part, "p50") >= 200 * MILLISECOND,
            "{outcome:#}"
        );
    }
    let mean = |part: &str| outcome[part]["mean"].as_f64().unwrap() / MILLISECOND as f64;
    assert!(mean("latency") >= mean("service") + 150.0, "{outcome:#}");
    // Whoever's fault that is, the run does not count.
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let why = outcome["invalid"][0].as_str().unwrap();
    assert!(why.contains("lag p99"), "{why}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("INVALID latency-800 mles"), "{table}");
}

#[test]
fn random_arrivals_are_the_same_for_a_seed() {
    let Some(broker) = Started::new("mles") else {
        return;
    };
    let messages = |seed| {
        let more = ["--arrivals", "poisson", "--seed", seed, "--publishers", "2"];
        latency(broker.addr, "300", &more)["messages"].clone()
    };
    let (first, again) = (messages("5"), messages("5"));
    assert_eq!(first, again);
    assert_ne!(first, Value::from(300), "they are random");
}

#[test]
fn loss_duplicates_and_reordering_fail_the_run() {
    for (tamper, count) in [
        (Tamper::Lose, "lost"),
        (Tamper::Double, "duplicated"),
        (Tamper::Delay, "reordered"),
    ] {
        let addr = relay(tamper).to_string();
        let args = ["latency", "--broker", "mles", "--payload", "32"];
        let more = ["--warm-up", "0", "--seconds", "0.2", "--addr", &addr];
        let (output, report) = loadgen_json(&[args.as_slice(), &more].concat());
        let outcome = &report["runs"][0]["result"]["latency"];
        assert_eq!(outcome["tally"][count], 1, "{tamper:?}: {outcome:#}");
        assert_eq!(output.status.code(), Some(1), "{tamper:?}");
    }
}

#[test]
fn the_seed_waits_for_all_and_both_payloads_are_run() {
    let Some(broker) = Started::new("mles") else {
        return;
    };
    let addr = proxy(broker.addr, Fault::Delay(Duration::from_millis(5)));
    let addr = addr.to_string();
    let args = ["seed", "--broker", "mles", "--addr", &addr];
    let more = words("--subscribers 4 --samples 5 --warm-up-samples 1");
    let (output, report) = loadgen_json(&[args.as_slice(), &more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for (run, (name, payload)) in [("seed-hello", 20), ("seed-1.6MB", 1_600_000)]
        .into_iter()
        .enumerate()
    {
        let run = &report["runs"][run];
        assert_eq!(run["scenario"], name);
        assert_eq!(report["scenarios"][name]["payload"], payload);
        let seed = &run["result"]["seed"];
        assert_eq!(seed["times"]["count"], 5, "{seed:#}");
        assert_eq!(seed["tally"]["delivered"], 5 * 4, "{seed:#}");
        assert!(time(seed, "times", "min") >= 5 * MILLISECOND, "{seed:#}");
    }
}

#[test]
fn a_sweep_ends_at_a_rate_that_is_not_sustained() {
    let Some(broker) = Started::new("mles") else {
        return;
    };
    // Nothing comes back in the quarter of a second that is measured, at any rate.
    let addr = proxy(broker.addr, Fault::Delay(Duration::from_millis(300)));
    let addr = addr.to_string();
    let args = format!("sweep --broker mles --addr {addr} --warm-up 0");
    let args = words(&args);
    let more = words("--seconds 0.25 --from 20 --to 1000 --tries 2");
    let (output, report) = loadgen_json(&[args.as_slice(), &more].concat());
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "as often as it may be tried: {report:#}");
    assert_eq!(report["knee"]["sustained"], Value::Null);
    assert_eq!(report["knee"]["not_sustained"], 20.0);
    let why = report["knee"]["why"].as_str().unwrap();
    assert!(why.contains("the rate was not met"), "{why}");
    assert_eq!(output.status.code(), Some(1), "no rate was sustained");
}

#[test]
fn all_files_are_written() {
    let Some(broker) = Started::new("mles") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let [csv, hgrm, log] = ["runs.csv", "percentiles", "log.hlog"].map(|it| dir.path().join(it));
    let files = [
        "--csv",
        text(&csv),
        "--hgrm",
        text(&hgrm),
        "--interval-log",
        text(&log),
    ];
    let outcome = latency(broker.addr, "200", &files);
    let count = outcome["latency"]["count"].as_u64().unwrap();
    let csv = std::fs::read_to_string(csv).unwrap();
    assert_eq!(csv.lines().count(), 2, "{csv}");
    assert!(csv.contains("latency-200,mles,1,"), "{csv}");
    for name in ["latency-200-mles.hgrm", "latency-200-mles-r1.hgrm"] {
        let percentiles = std::fs::read_to_string(hgrm.join(name)).unwrap();
        assert!(
            percentiles.contains(&format!("{count:>12}]")),
            "{percentiles}"
        );
    }
    let log = std::fs::read_to_string(log).unwrap();
    let intervals = log
        .lines()
        .filter(|line| line.starts_with("Tag=latency-200/mles/1,"));
    let series = outcome["intervals"].as_array().unwrap();
    assert_eq!(intervals.count(), series.len(), "{log}");
    let deliveries = series.iter().map(|it| it["deliveries"].as_u64().unwrap());
    assert_eq!(deliveries.sum::<u64>(), count);
}

#[test]
fn an_interrupt_keeps_what_was_measured() {
    let Some(broker) = Started::new("mles") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let [json, log] = ["report.json", "log.hlog"].map(|it| dir.path().join(it));
    let addr = broker.addr.to_string();
    let loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["latency", "--broker", "mles", "--addr", &addr])
        .args(["--warm-up", "0", "--seconds", "600"])
        .args(["--json", text(&json), "--interval-log", text(&log)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first interval is logged: it measures.
    wait_for(|| {
        std::fs::read_to_string(&log)
            .ok()?
            .contains("Tag=")
            .then_some(())
    });
    kill_process(Pid::from_child(&loadgen), Signal::INT).unwrap();
    assert_eq!(loadgen.wait_with_output().unwrap().status.code(), Some(130));
    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    assert_eq!(report["partial"], true);
    let outcome = &report["runs"][0]["result"]["latency"];
    assert_eq!(outcome["partial"], true);
    assert!(outcome["latency"]["count"].as_u64() > Some(0), "{outcome}");
}

#[test]
fn files_that_cannot_be_written_are_told_before_anything_is_measured() {
    let missing = "/nonexistent/file";
    for option in ["--csv", "--interval-log"] {
        // The address would be an error too, had it come to that.
        let args = ["latency", "--broker", "nats", "--addr", "127.0.0.1:1"];
        let output = loadgen(&[args.as_slice(), &[option, missing]].concat());
        assert_eq!(output.status.code(), Some(1));
        let said = said(&output);
        assert!(
            said.contains("cannot write") && said.contains(missing),
            "{said}"
        );
    }
    // A file where the directory is to be.
    let file = tempfile::NamedTempFile::new().unwrap();
    let args = words("latency --broker nats --addr 127.0.0.1:1 --hgrm");
    let output = loadgen(&[args.as_slice(), &[text(file.path())]].concat());
    let said = said(&output);
    assert!(
        said.contains("cannot write") && said.contains(text(file.path())),
        "{said}"
    );
}
