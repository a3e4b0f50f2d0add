//! Sessions that ask for positions: counted in every pattern, and compared with what the server says.

use crate::broker_process::Started;
use crate::scenarios::{assert_exact, outcome};
use crate::support::{loadgen, loadgen_json, said, words};

test_brokers! {
    [are_counted_in_every_pattern,] for
    mles_resume: "mles-resume",
    mles_v2_resume: "mles-v2-resume",
    mles_events: "mles-events",
}

fn are_counted_in_every_pattern(broker: &str) {
    let Some(started) = Started::new(broker) else {
        return;
    };
    let addr = started.addr.to_string();
    for (pattern, deliveries) in [
        ("--preset fan-in --publishers 4", 4 * 50),
        ("--members 5", 5 * 4 * 50),
        (
            "--channels 3 --subscribers 4 --publishers 2",
            3 * 4 * 2 * 50,
        ),
        ("--mode unbatched --subscribers 3", 3 * 50),
    ] {
        let args = ["throughput", "--broker", broker, "--addr", &addr];
        let few = words("--messages 50 --warm-up 0.05");
        let (output, report) = loadgen_json(&[args.as_slice(), &few, &words(pattern)].concat());
        let what = format!("{broker}, {pattern}: {}", said(&output));
        assert_eq!(output.status.code(), Some(0), "{what}{report:#}");
        assert_exact(outcome(&report, "fanout"), deliveries, &what);
    }
}

#[test]
fn a_server_that_does_not_know_them_is_found_out() {
    // It passes the wish on to the others, as it does with whatever is in a join.
    let Some(started) = Started::new("reference") else {
        return;
    };
    let addr = started.addr.to_string();
    let args = ["throughput", "--broker", "mles-resume", "--addr", &addr];
    let output = loadgen(&args);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("unknown key"), "{}", said(&output));
}
