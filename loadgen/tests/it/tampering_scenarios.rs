//! Whatever counts deliveries finds out about one that is lost, comes twice or comes late.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::broker_process::Started;
use crate::fault_proxy::{self, Fault};
use crate::own_mles::OwnMles;
use crate::support::{PAYLOAD, Tamper, loadgen_json, relay, said, words};
use crate::tampering_proxy::{proxy, proxy_after};

/// Harm done to a message, and its name in reports.
const HARM: [(Tamper, &str); 3] = [
    (Tamper::Lose, "lost"),
    (Tamper::Double, "duplicated"),
    (Tamper::Delay, "reordered"),
];

/// Runs a scenario by way of `addr` and asserts that it fails for one message that was `harmed`, and
/// for nothing else.
fn assert_found(addr: SocketAddr, harmed: &str, kind: &str, args: &[&str]) -> Value {
    let addr = addr.to_string();
    let (output, report) = loadgen_json(&[args, &["--addr", &addr]].concat());
    let what = format!("{args:?}, {harmed}: {}{report:#}", said(&output));
    assert_eq!(output.status.code(), Some(1), "{what}");
    let outcome = &report["runs"][0]["result"][kind];
    for count in ["lost", "duplicated", "reordered", "foreign"] {
        let expected = u64::from(count == harmed);
        assert_eq!(outcome["tally"][count], expected, "{what}");
    }
    outcome.clone()
}

#[test]
fn in_every_pattern_of_throughput_over_every_broker() {
    let payload = PAYLOAD.to_string();
    for broker in ["mles", "nats", "redis", "mosquitto", "rabbitmq", "null"] {
        let Some(started) = Started::new(broker) else {
            continue;
        };
        // What is harmed must be a delivery that counts. A broker may give messages back to their
        // sender, or, where publishers are members of the channel, to the other publishers.
        let mut patterns: Vec<&[&str]> =
            vec![&["--channels", "2", "--zipf", "1", "--subscribers", "3"]];
        if ["mles", "nats", "null"].contains(&broker) {
            patterns.push(&["--members", "3"]);
        }
        if !["mles", "null"].contains(&broker) {
            patterns.push(&["--publishers", "3", "--subscribers", "1"]);
        }
        for pattern in patterns {
            for (tamper, harmed) in HARM {
                // What comes next may be another publisher's, and then nothing is out of order.
                if harmed == "reordered" && !pattern.contains(&"--zipf") {
                    continue;
                }
                let addr = proxy(broker, started.addr, tamper);
                let args = ["throughput", "--broker", broker, "--payload", &payload];
                let few = ["--messages", "100", "--warm-up", "0"];
                let args = [args.as_slice(), &few, pattern].concat();
                assert_found(addr, harmed, "fanout", &args);
            }
        }
    }
}

#[test]
fn on_the_channel_beside_a_storm() {
    let Some(started) = Started::new("mles") else {
        return;
    };
    for (tamper, harmed) in HARM {
        let addr = proxy("mles", started.addr, tamper);
        let args = ["connect-storm", "--broker", "mles", "--connections", "30"];
        assert_found(addr, harmed, "storm", &args);
    }
}

#[test]
fn in_a_history() {
    let limits = ["--history-limit", "100", "--allow-anonymous"];
    let Some(server) = OwnMles::new(&limits, "") else {
        return;
    };
    let payload = PAYLOAD.to_string();
    for (tamper, harmed) in HARM {
        // It goes by once while the history is filled, and again to the first joiner.
        let addr = proxy_after("mles", server.addr, tamper, 2);
        let args = ["history-join", "--broker", "mles", "--channels", "1"];
        let few = ["--joiners", "5", "--payload", &payload];
        let history = assert_found(addr, harmed, "history", &[args.as_slice(), &few].concat());
        assert_eq!(history["joined"], 5, "{history:#}");
    }
}

#[test]
fn at_those_beside_a_slow_reader() {
    let payload = PAYLOAD.to_string();
    for (tamper, harmed) in HARM {
        // The warm-up has 30 messages, so the victim is among those that count.
        let args = format!("slow-reader --broker mles --rate 60 --payload {payload}");
        let args = words(&args);
        let time = ["--before", "1", "--after", "0.5"];
        let args = [args.as_slice(), &time].concat();
        assert_found(relay(tamper), harmed, "slow-reader", &args);
    }
}

#[test]
fn a_stall_is_in_the_percentiles_beside_a_slow_reader() {
    let Some(started) = Started::new("mles") else {
        return;
    };
    // A frame has some 50 bytes more than its payload: some 20 KB after 100 messages of the warm-up
    // and 75 that count.
    let stall = Fault::Stall {
        after: 20_000,
        time: Duration::from_millis(200),
    };
    let addr = fault_proxy::proxy(started.addr, stall).to_string();
    let args = ["slow-reader", "--broker", "mles", "--addr", &addr];
    let load = ["--rate", "200", "--payload", "64", "--subscribers", "2"];
    let time = ["--before", "1", "--after", "0.2"];
    let (output, report) = loadgen_json(&[args.as_slice(), &load, &time].concat());
    let before = &report["runs"][0]["result"]["slow-reader"]["before"];
    let nanoseconds = |figure: &str| before[figure].as_u64();
    let what = format!("{}{before:#}", said(&output));
    // Of the 200 messages 40 were due in the stall, and 20 of them waited for over 100 ms.
    assert!(nanoseconds("max") >= Some(195_000_000), "{what}");
    assert!(nanoseconds("p90") >= Some(95_000_000), "{what}");
}
