//! Publishing with confirmation, over every broker that is installed here and confirms messages.

use crate::broker_process::Started;
use crate::own_mles::OwnMles;
use crate::scenarios::{assert_exact, outcome};
use crate::support::{loadgen, loadgen_json, said, words};

test_brokers! {
    [confirms_every_message,] for
    mles_http: "mles-http",
    mles_resume: "mles-resume",
    mles_v2_resume: "mles-v2-resume",
    mles_disk: "mles-disk",
    mles_batch: "mles-batch",
    nats: "nats",
    nats_2_15: "nats-2.15",
    redis: "redis",
    redis_aof: "redis-aof",
    valkey: "valkey",
}

fn confirms_every_message(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let addr = started.addr.to_string();
    let args = ["publish", "--broker", broker, "--addr", &addr];
    let process = ["--pid", &started.pid];
    let few = words("--connections 6 --duration 300ms --warm-up 50ms --payload 32");
    for in_flight in ["1", "5"] {
        let in_flight = ["--in-flight", in_flight];
        let (output, report) =
            loadgen_json(&[args.as_slice(), &process, &few, &in_flight].concat());
        let what = format!("{broker}, {in_flight:?}: {}", said(&output));
        assert_eq!(output.status.code(), Some(0), "{what}{report:#}");
        let publish = outcome(&report, "publish");
        let messages = publish["messages"].as_u64().unwrap();
        assert!(messages > 0, "{what}");
        assert_exact(publish, messages, &what);
        assert_eq!(publish["times"]["count"], messages, "{what}");
        assert_eq!(publish["unconfirmed"], 0, "{what}");
        assert!(
            publish["server_cpu"]["nanoseconds"].as_u64() > Some(0),
            "{what}"
        );
    }
}

#[test]
fn brokers_that_confirm_nothing_are_told() {
    for broker in ["mles", "mles-v2", "mles-events", "mosquitto", "null"] {
        let args = ["publish", "--broker", broker, "--addr", "127.0.0.1:1"];
        let output = loadgen(&args);
        assert_eq!(output.status.code(), Some(1), "{broker}");
        let said = said(&output);
        assert!(said.contains("this is not for"), "{broker}: {said}");
    }
}

#[test]
fn a_server_that_wants_a_key_refuses_requests_and_that_is_told() {
    let Some(server) = OwnMles::over_http(&[], "secret") else {
        return;
    };
    let addr = server.addr.to_string();
    let args = ["publish", "--broker", "mles-http", "--addr", &addr];
    let output = loadgen(&args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the broker says:"), "{said}");
}
