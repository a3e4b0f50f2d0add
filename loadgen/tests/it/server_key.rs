//! A server of Mles that wants a key.

use std::process::Command;

use crate::own_mles::OwnMles;
use crate::support::{loadgen, loadgen_json, said};

const KEY: &str = "open sesame";

/// Returns the arguments for few messages to the server at `addr`, with an option for the key.
fn load<'a>(addr: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let args = ["throughput", "--broker", "mles", "--addr", addr];
    let few = ["--messages", "20", "--warm-up", "0"];
    [args.as_slice(), &few, more].concat()
}

#[test]
fn the_right_key_lets_in_and_is_not_in_the_report() {
    let Some(server) = OwnMles::new(&[], KEY) else {
        return;
    };
    let addr = server.addr.to_string();
    for client in ["lean", "library"] {
        let args = load(&addr, &["--key", KEY, "--client", client]);
        let (output, report) = loadgen_json(&args);
        assert_eq!(output.status.code(), Some(0), "{client}: {}", said(&output));
        let outcome = &report["runs"][0]["result"]["fanout"];
        assert_eq!(outcome["tally"]["delivered"], 20 * 10, "{client}");
        assert!(!report.to_string().contains(KEY), "{client}: {report:#}");
    }
}

#[test]
fn the_environment_has_the_key_too() {
    let Some(server) = OwnMles::new(&[], KEY) else {
        return;
    };
    let addr = server.addr.to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(load(&addr, &[]))
        .env("MLES_KEY", KEY)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}

#[test]
fn a_key_that_is_refused_is_told_in_every_scenario() {
    let Some(server) = OwnMles::new(&[], KEY) else {
        return;
    };
    let addr = server.addr.to_string();
    for scenario in [
        "throughput",
        "latency",
        "seed",
        "connect-storm",
        "history-join",
        "slow-reader",
    ] {
        let args = [scenario, "--broker", "mles", "--addr", &addr];
        let output = loadgen(&[args.as_slice(), &["--key", "wrong"]].concat());
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{scenario}: {said}");
        assert!(
            said.contains("does not let it in") && said.contains("--key"),
            "{scenario}: {said}"
        );
    }
}

#[test]
fn a_key_in_the_environment_is_not_for_the_servers_started_here() {
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["compare", "--brokers", "mles", "--scenario", "fanout"])
        .args(["--rounds", "1", "--seconds", "0.3", "--warm-up", "0"])
        .env("MLES_KEY", KEY)
        .output()
        .unwrap();
    let said = said(&output);
    assert!(
        output.status.success() || said.contains("is not installed"),
        "{said}"
    );
}
