//! Ctrl-C while a broker is under load.

use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{text, wait_for};

#[test]
fn an_interrupt_stops_the_broker_and_keeps_what_was_measured() {
    // It is always there, and does nothing else than a broker does.
    let broker = "null";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.json");
    let page = dir.path().join("report.html");
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
        .args(["--json", text(&path), "--html", text(&page)])
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
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(
        page.contains("partial: interrupted before the end"),
        "{page}"
    );
}

fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Returns user and kernel time of a process, in ticks; 0 when it is gone.
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
