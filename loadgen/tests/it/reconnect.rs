//! Clients that are cut off all at once and come back: who resumes has everything, who does not is told of.

use serde_json::Value;

use crate::broker_process::Started;
use crate::own_mles::OwnMles;
use crate::scenarios::outcome;
use crate::support::{Tamper, loadgen_json, said, words};
use crate::tampering_proxy::proxy;

const CLIENTS: u64 = 60;
const LOAD: &str = "--clients 60 --channels 3 --rate 60 --spread 1s --bystander-rate 100";

/// Limits of a server that keeps enough for all who come back.
const ENOUGH: [&str; 3] = ["--history-limit", "200", "--allow-anonymous"];

/// Runs the storm and returns the exit code, the outcome, and what to say when an assertion fails.
fn storm(broker: &str, addr: &str, load: &str, more: &[&str]) -> (Option<i32>, Value, String) {
    let args = ["reconnect-storm", "--broker", broker, "--addr", addr];
    let (output, report) = loadgen_json(&[args.as_slice(), &words(load), more].concat());
    let what = format!("{broker}: {}{report:#}", said(&output));
    (
        output.status.code(),
        outcome(&report, "reconnect").clone(),
        what,
    )
}

fn number(outcome: &Value, name: &str) -> u64 {
    outcome[name].as_u64().unwrap()
}

/// Asserts that all who come back over `server` are given what they missed.
fn assert_resumes(broker: &str, server: &OwnMles) {
    let (code, storm, what) = storm(broker, &server.addr.to_string(), LOAD, &[]);
    assert_eq!(code, Some(0), "{what}");
    for figure in ["clients", "returned", "recovered"] {
        assert_eq!(number(&storm, figure), CLIENTS, "{figure}, {what}");
    }
    assert_eq!(storm["resume"]["count"], CLIENTS, "{what}");
    assert!(number(&storm, "replayed") > 0, "{what}");
    for tally in ["tally", "bystander_tally"] {
        let tally = &storm[tally];
        assert_eq!(tally["delivered"], tally["expected"], "{what}");
        assert!(number(tally, "delivered") > 0, "{what}");
    }
    assert_eq!(storm["bystander_before"]["count"], 100, "{what}");
}

#[test]
fn who_resumes_misses_nothing() {
    if let Some(server) = OwnMles::new(&ENOUGH, "") {
        assert_resumes("mles-resume", &server);
    }
    if let Some(server) = OwnMles::over_http(&ENOUGH, "") {
        assert_resumes("mles-v2-resume", &server);
        assert_resumes("mles-events", &server);
    }
}

test_brokers! {
    [those_who_subscribe_again_are_back_without_what_they_missed,] for
    mles: "mles",
    mles_v2: "mles-v2",
    nats: "nats",
    nats_2_15: "nats-2.15",
    redis: "redis",
    valkey: "valkey",
    mosquitto: "mosquitto",
}

fn those_who_subscribe_again_are_back_without_what_they_missed(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let pid = ["--pid", started.pid.as_str()];
    let (code, storm, what) = storm(broker, &started.addr.to_string(), LOAD, &pid);
    assert_eq!(code, Some(0), "{what}");
    assert_eq!(number(&storm, "returned"), CLIENTS, "{what}");
    assert_eq!(storm["resumes"], false, "{what}");
    let tally = &storm["tally"];
    let came = number(tally, "delivered") + number(tally, "lost");
    assert_eq!(came, number(tally, "expected"), "{what}");
    assert!(number(tally, "lost") > 0, "{what}");
    for cpu in ["server_cpu", "server_cpu_before"] {
        assert!(number(&storm[cpu], "nanoseconds") > 0, "{what}");
    }
}

#[test]
fn a_history_that_is_too_short_fails_those_who_resume() {
    let short = ["--history-limit", "1", "--allow-anonymous"];
    let Some(server) = OwnMles::new(&short, "") else {
        return;
    };
    let (code, storm, what) = storm("mles-resume", &server.addr.to_string(), LOAD, &[]);
    assert_eq!(code, Some(1), "{what}");
    assert_eq!(number(&storm, "returned"), CLIENTS, "{what}");
    assert!(number(&storm, "recovered") < CLIENTS, "{what}");
    assert!(number(&storm["tally"], "lost") > 0, "{what}");
}

#[test]
fn a_message_that_is_lost_on_the_way_is_found_out() {
    let Some(server) = OwnMles::new(&ENOUGH, "") else {
        return;
    };
    let addr = proxy("mles-resume", server.addr, Tamper::Lose).to_string();
    let load = "--clients 5 --channels 1 --rate 100 --payload 32 --spread 1s --bystander-rate 20";
    let (code, storm, what) = storm("mles-resume", &addr, load, &[]);
    assert_eq!(code, Some(1), "{what}");
    // By the client, or by the bystander.
    let lost = |tally: &str| number(&storm[tally], "lost");
    assert_eq!(lost("tally") + lost("bystander_tally"), 1, "{what}");
}
