//! The verification, end to end: a relay that loses, doubles or delays one message is found out.

use crate::support::{PAYLOAD, Tamper, loadgen, loadgen_json, relay, said, words};
use std::process::Command;

use serde_json::Value;

const SUBSCRIBERS: u64 = 3;
const MESSAGES: u64 = 200;

fn tally(tamper: Tamper, mode: &str) -> (Option<i32>, Value) {
    let addr = relay(tamper).to_string();
    let (messages, payload) = (MESSAGES.to_string(), PAYLOAD.to_string());
    let args = words("fanout --broker mles --subscribers 3 --warm-up 0");
    let more = format!("--addr {addr} --messages {messages} --payload {payload} --mode {mode}");
    let more = words(&more);
    let (output, report) = loadgen_json(&[args.as_slice(), &more].concat());
    (
        output.status.code(),
        report["runs"][0]["result"]["fanout"]["tally"].clone(),
    )
}

#[test]
fn an_honest_relay_passes_in_both_modes() {
    for mode in ["pipelined", "unbatched"] {
        let (code, tally) = tally(Tamper::Nothing, mode);
        assert_eq!(code, Some(0), "{mode}");
        assert_eq!(tally["delivered"], SUBSCRIBERS * MESSAGES, "{mode}");
        assert_eq!(tally["expected"], SUBSCRIBERS * MESSAGES, "{mode}");
    }
}

#[test]
fn a_lost_message_fails_the_run() {
    let (code, tally) = tally(Tamper::Lose, "pipelined");
    assert_eq!((code, &tally["lost"]), (Some(1), &Value::from(1)));
    assert_eq!(tally["delivered"], SUBSCRIBERS * MESSAGES - 1);
}

#[test]
fn a_doubled_message_fails_the_run() {
    let (code, tally) = tally(Tamper::Double, "pipelined");
    assert_eq!((code, &tally["duplicated"]), (Some(1), &Value::from(1)));
    assert_eq!(tally["delivered"], SUBSCRIBERS * MESSAGES);
}

#[test]
fn a_delayed_message_fails_the_run() {
    let (code, tally) = tally(Tamper::Delay, "pipelined");
    assert_eq!((code, &tally["reordered"]), (Some(1), &Value::from(1)));
    assert_eq!(tally["delivered"], SUBSCRIBERS * MESSAGES);
}

#[test]
fn a_forged_message_fails_the_run_twice_over() {
    let (code, tally) = tally(Tamper::Forge, "pipelined");
    assert_eq!((code, &tally["foreign"]), (Some(1), &Value::from(1)));
    assert_eq!(tally["lost"], 1);
}

#[test]
fn a_process_that_does_not_do_the_work_is_not_measured() {
    let addr = relay(Tamper::Nothing).to_string();
    let mut other = Command::new("/bin/sleep").arg("600").spawn().unwrap();
    let pid = other.id().to_string();
    let args = words("fanout --broker mles --messages 100 --warm-up 0");
    let output = loadgen(&[args.as_slice(), &["--addr", &addr, "--pid", &pid]].concat());
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("is not the broker"),
        "{}",
        said(&output)
    );
}
