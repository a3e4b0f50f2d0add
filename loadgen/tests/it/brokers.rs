//! A few messages over every broker that is installed here, started and stopped by the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{loadgen_json, said, text, wait_for};
use rustix::process::{Pid, Signal, kill_process};

/// Brokers and their programs. `mles` is there when the workspace was built.
const BROKERS: [(&str, &str); 4] = [
    ("mles", "mles"),
    ("nats", "nats-server"),
    ("redis", "redis-server"),
    ("mosquitto", "mosquitto"),
];

/// Where `program` is: beside ours, or where Debian has servers.
fn find(program: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name(program);
    let installed = ["/usr/sbin", "/usr/bin"].map(|dir| Path::new(dir).join(program));
    std::iter::once(beside)
        .chain(installed)
        .find(|it| it.is_file())
}

pub fn installed() -> Vec<&'static str> {
    let (found, missing): (Vec<_>, Vec<_>) = BROKERS
        .into_iter()
        .partition(|(_, program)| find(program).is_some());
    for (broker, program) in missing {
        eprintln!("SKIPPED: {broker} is not tested, {program} is not there");
    }
    found.into_iter().map(|(broker, _)| broker).collect()
}

#[test]
fn every_installed_broker_delivers_every_message_once() {
    for broker in installed() {
        let scenarios = "fanout,fanout-unbatched-x8,large";
        let (output, report) = loadgen_json(&[
            "compare",
            "--brokers",
            broker,
            "--scenario",
            scenarios,
            "--rounds",
            "2",
            "--seconds",
            "0.1",
            "--warm-up",
            "0.1",
        ]);
        let complaint = said(&output);
        let code = output.status.code();
        assert_eq!(code, Some(0), "{broker}: {complaint}{:#}", report["runs"]);
        assert_eq!(report["schema"], "mles-loadgen/1");
        assert!(
            report["brokers"][broker]["version"]
                .as_str()
                .is_some_and(|it| !it.is_empty())
        );
        let runs = report["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 6, "three scenarios, two rounds");
        for run in runs {
            let outcome = &run["result"]["fanout"];
            assert!(outcome["tally"]["delivered"].as_u64() > Some(0), "{run}");
            assert_eq!(
                outcome["tally"]["delivered"], outcome["tally"]["expected"],
                "{run}"
            );
            assert!(
                outcome["server_cpu"]["nanoseconds"].as_u64() > Some(0),
                "{run}"
            );
        }
    }
}

#[test]
fn several_publishers_and_channels_are_told_apart() {
    for broker in installed() {
        let (mut process, port, _dir) = start(broker);
        let addr = format!("127.0.0.1:{port}");
        let (output, report) = loadgen_json(&[
            "fanout",
            "--broker",
            broker,
            "--addr",
            &addr,
            "--publishers",
            "3",
            "--channels",
            "4",
            "--subscribers",
            "5",
            "--messages",
            "100",
            "--warm-up",
            "0.1",
            "--payload",
            "8",
        ]);
        process.kill().unwrap();
        process.wait().unwrap();
        let complaint = said(&output);
        let code = output.status.code();
        assert_eq!(code, Some(0), "{broker}: {complaint}{:#}", report["runs"]);
        let tally = &report["runs"][0]["result"]["fanout"]["tally"];
        assert_eq!(tally["delivered"], 3 * 4 * 5 * 100, "{broker}");
        assert!(
            report["runs"][0]["result"]["fanout"]["server_cpu"].is_null(),
            "no --pid was given"
        );
    }
}

#[test]
fn idle_subscribers_cost_memory() {
    for broker in installed() {
        let (output, report) = loadgen_json(&[
            "idle",
            "--brokers",
            broker,
            "--counts",
            "100,1100",
            "--settle",
            "0.5",
            "--rounds",
            "1",
        ]);
        let complaint = said(&output);
        let code = output.status.code();
        assert_eq!(code, Some(0), "{broker}: {complaint}{:#}", report["runs"]);
        let idle = &report["runs"][0]["result"]["idle"];
        assert_eq!(idle["points"][2]["subscribers"], 1100);
        assert!(
            idle["points"][2]["memory"]["anonymous_bytes"].as_u64() > Some(0),
            "{idle}"
        );
    }
}

#[test]
fn an_interrupt_stops_the_broker_and_keeps_what_was_measured() {
    let Some(&broker) = installed().first() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    let loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args([
            "compare",
            "--brokers",
            broker,
            "--scenario",
            "fanout",
            "--seconds",
            "600",
        ])
        .args(["--json", text(&path)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The broker has worked for a while: it is under load, not being started.
    let busy = |pid: &u32| cpu_ticks(*pid) > 20;
    let child = wait_for(|| children_of(loadgen.id()).into_iter().find(busy));
    kill_process(Pid::from_child(&loadgen), Signal::INT).unwrap();
    let status = loadgen.wait_with_output().unwrap().status;
    assert_eq!(status.code(), Some(130));
    wait_for(|| (!Path::new(&format!("/proc/{child}")).exists()).then_some(()));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    assert_eq!(report["partial"], true);
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// User and kernel time of a process, in ticks; 0 when it is gone.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum()
}

/// Starts a broker outside the program, as a user would.
pub fn start(broker: &str) -> (std::process::Child, u16, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let number = port.to_string();
    let listen = format!("127.0.0.1:{port}");
    let args = match broker {
        "mles" => vec!["serve", "--listen", &listen, "--allow-anonymous"],
        "nats" => vec!["-a", "127.0.0.1", "-p", &number],
        "redis" => vec!["--port", &number, "--bind", "127.0.0.1", "--save", ""],
        _ => vec!["-p", &number],
    };
    let program = BROKERS
        .into_iter()
        .find(|(name, _)| *name == broker)
        .map(|(_, program)| program);
    let program = program.and_then(find).expect("it is installed");
    let process = Command::new(program)
        .args(args)
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(|| std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    (process, port, dir)
}
