//! Input that cannot work is told in a line that says what and where, and by the exit code.

use std::io::Write;
use std::net::TcpListener;
use std::process::Command;

use crate::support::{loadgen, said, words};

/// Asserts that the program ends with `code` and names all of `words`.
fn assert_fails(args: &[&str], code: i32, words: &[&str]) {
    let output = loadgen(args);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} should name {word}: {said}");
    }
}

#[test]
fn a_broker_that_cannot_be_reached() {
    // A port that was free a moment ago.
    let addr = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    for scenario in [
        "throughput",
        "fanout",
        "latency",
        "seed",
        "connect-storm",
        "slow-reader",
    ] {
        let args = [scenario, "--broker", "nats", "--addr", &addr];
        assert_fails(&args, 1, &["cannot connect", &addr]);
    }
    let args = ["history-join", "--broker", "mles", "--addr", &addr];
    assert_fails(&args, 1, &["cannot connect", &addr]);
}

#[test]
fn a_peer_that_is_no_such_broker() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // The program hangs up when it has seen this.
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            std::thread::park();
        }
    });
    let args = format!("fanout --broker nats --subscribers 1 --addr {addr}");
    let args = words(&args);
    assert_fails(&args, 1, &["unexpected bytes", "HTTP/1.1 400"]);
}

#[test]
fn names_that_do_not_exist() {
    assert_fails(
        &["compare", "--scenario", "nonsense"],
        2,
        &["nonsense", "fanout-1000"],
    );
    assert_fails(
        &["compare", "--brokers", "kafka"],
        2,
        &["kafka", "mosquitto"],
    );
    assert_fails(
        &["compare", "--client", "library", "--scenario", "idle"],
        2,
        &["--client library", "idle"],
    );
}

#[test]
fn a_report_that_cannot_be_written_is_told_before_anything_is_measured() {
    let path = "/nonexistent/report";
    for option in ["--json", "--csv", "--html"] {
        // The address would be an error too, had it come to that.
        let args = format!("fanout --broker nats --addr 127.0.0.1:1 {option} {path}");
        let args = words(&args);
        assert_fails(&args, 1, &["cannot write", path]);
    }
}

#[test]
fn a_command_that_measures_nothing_leaves_no_report_behind() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept.html");
    std::fs::write(&kept, "kept").unwrap();
    let [json, csv] = ["new.json", "new.csv"].map(|it| dir.path().join(it).display().to_string());
    let files = format!("--json {json} --csv {csv} --html {}", kept.display());
    for (command, code) in [
        // Refused, for its options or its files.
        ("compare --brokers null --scenario fanout --samples 5", 2),
        ("idle --brokers null --counts 5", 2),
        ("throughput --broker nats --addr 127.0.0.1:1 --seed 2", 2),
        ("render /nonexistent/results.json", 2),
        // Nobody listens there.
        ("throughput --broker nats --addr 127.0.0.1:1", 1),
        ("compare --brokers mles --mles-bin /nonexistent/mles", 1),
        ("compare --brokers null --scenario fanout --plan", 0),
    ] {
        let line = format!("{command} {files}");
        assert_fails(&words(&line), code, &[]);
        let left = std::fs::read_dir(dir.path()).unwrap();
        let left: Vec<_> = left.map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["kept.html"], "{command}");
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept", "{command}");
    }
}

#[test]
fn a_program_that_is_not_there_or_does_not_run() {
    let only_mles = words("compare --brokers mles --scenario fanout --mles-bin");
    let missing = [only_mles.as_slice(), &["/nonexistent/mles"]].concat();
    assert_fails(&missing, 1, &["cannot start", "/nonexistent/mles"]);
    let fails = [only_mles.as_slice(), &["/bin/false"]].concat();
    assert_fails(&fails, 1, &["/bin/false", "exit status: 1"]);
}

#[test]
fn a_package_that_is_missing_is_named_with_the_command_that_brings_it() {
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["compare", "--brokers", "redis", "--install"])
        // Nothing is found there, whatever is installed.
        .env("PATH", empty.path())
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("run `scripts/setup`") && said.contains("redis-server"),
        "{said}"
    );
}

#[test]
fn options_that_have_no_meaning_for_a_command() {
    let nats = "--broker nats --addr 127.0.0.1:1";
    for (command, option) in [
        ("start --broker nats", "--json=x"),
        ("start --broker nats", "--allow-loss"),
        ("idle", "--allow-loss"),
        ("idle", "--hgrm=x"),
        ("idle", "--interval-log=x"),
        ("throughput", "--hgrm=x"),
        ("throughput", "--seed=2"),
        ("throughput --mode unbatched", "--window=4KiB"),
        ("seed", "--interval-log=x"),
        ("seed", "--duration=3s"),
        ("render x.json", "--allow-loss"),
        ("diff x.json y.json", "--html=x"),
        ("compare --scenario fanout", "--interval-log=x"),
        ("compare --scenario fanout,idle", "--hgrm=x"),
    ] {
        let target = match command.split(' ').next() {
            Some("throughput" | "seed") => nats,
            _ => "",
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x").display().to_string();
        let option = option.replace("=x", &format!("={file}"));
        let line = format!("{command} {target} {option}");
        let name = option.split('=').next().unwrap_or_default();
        assert_fails(&words(&line), 2, &[name]);
    }
}

#[test]
fn figures_that_make_no_sense() {
    let fanout = ["fanout", "--broker", "nats", "--addr", "127.0.0.1:1"];
    for (option, value) in [
        ("--payload", "7"),
        ("--payload", "1GB"),
        ("--subscribers", "0"),
        ("--duration", "-1s"),
        ("--mode", "fast"),
    ] {
        let option = format!("{option}={value}");
        assert_fails(
            &[fanout.as_slice(), &[option.as_str()]].concat(),
            2,
            &[value],
        );
    }
    assert_fails(&["idle", "--counts", "5,2"], 2, &["--counts"]);
    for (options, named) in [
        (["--zipf", "1"].as_slice(), "--channels"),
        (&["--zipf=-1", "--channels", "2"], "-1"),
        (&["--members", "1"], "1"),
        (&["--members", "3", "--publishers", "2"], "--publishers"),
        (
            &["--members", "3", "--client", "library"],
            "--client library",
        ),
        (&["--preset", "all"], "fan-in"),
    ] {
        let args = ["throughput", "--broker", "nats", "--addr", "127.0.0.1:1"];
        assert_fails(&[args.as_slice(), options].concat(), 2, &[named]);
    }
    for (scenario, option, value) in [
        ("connect-storm", "--connections", "0"),
        ("connect-storm", "--in-flight", "0"),
        ("history-join", "--joiners", "none"),
        ("slow-reader", "--payload", "23"),
        ("slow-reader", "--after", "0"),
    ] {
        let args = [scenario, "--broker", "mles", "--addr", "127.0.0.1:1"];
        assert_fails(&[args.as_slice(), &[option, value]].concat(), 2, &[option]);
    }
    assert_fails(
        &["compare", "--scenario", "fanout", "--samples", "5"],
        2,
        &["--samples", "seed"],
    );
}

#[test]
fn a_congestion_control_that_there_is_not_is_told_in_a_line() {
    let args = ["compare", "--brokers", "null", "--scenario", "fanout"];
    let output = loadgen(&[args.as_slice(), &["--congestion", "carrier-pigeon"]].concat());
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("--congestion carrier-pigeon: "), "{said}");
}

#[test]
fn a_drain_that_makes_no_sense() {
    let args = ["drain", "--broker", "nats"];
    assert_fails(&args, 2, &["--broker", "mles-resume"]);
    let args = ["drain", "--period", "500ms"];
    assert_fails(&args, 2, &["--period", "1s"]);
    let args = ["drain", "--mles-bin", "/nonexistent/mles"];
    assert_fails(&args, 1, &["cannot start", "/nonexistent/mles"]);
}
