//! Reports that were kept: shown again, and compared.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{loadgen, said, text};

/// A real one: three brokers, six scenarios, three rounds.
const RESULTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../docs/results/fan-out-2026-11-24.json"
);

fn results() -> Value {
    serde_json::from_slice(&std::fs::read(RESULTS).unwrap()).unwrap()
}

/// Writes `results` to a file of `dir`, and returns its path.
fn keep(dir: &TempDir, name: &str, results: &Value) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, results.to_string()).unwrap();
    text(&path).to_owned()
}

/// Returns the results with `percent` of the server's CPU time in all runs of a scenario over mles.
fn scaled(scenario: &str, percent: u64) -> Value {
    let mut results = results();
    for run in results["runs"].as_array_mut().unwrap() {
        if run["scenario"] == scenario && run["broker"] == "mles" {
            let nanoseconds = &mut run["result"]["fanout"]["server_cpu"]["nanoseconds"];
            *nanoseconds = (nanoseconds.as_u64().unwrap() * percent / 100).into();
        }
    }
    results
}

#[test]
fn a_report_can_be_written_again_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| text(&dir.path().join(name)).to_owned();
    let [json, html, csv] = ["again.json", "report.html", "runs.csv"].map(path);
    let output = loadgen(&[
        "render", RESULTS, "--json", &json, "--html", &html, "--csv", &csv,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let tables = String::from_utf8_lossy(&output.stdout);
    assert!(tables.contains("| fanout-1000 "), "{tables}");
    // What they come to is below them, with what is lost first.
    let (_, summary) = tables.split_once("\nSUMMARY: ").expect("three brokers");
    assert!(
        summary.starts_with("mles 0.1.0, nats 2.9.10, redis 7.0.15; 6 scenarios, 3 rounds each\n"),
        "{summary}"
    );
    for part in [
        "\nmles is ahead:\n",
        "\n  1 publisher → 1,000 subscribers, 64 bytes, pipelined (fanout-1000)\n",
        " × less than redis (",
    ] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    let again: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(
        again["runs"],
        results()["runs"],
        "nothing is lost or rounded"
    );
    let page = std::fs::read_to_string(html).unwrap();
    let command = results()["environment"]["command"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains(&command));
    let lines = std::fs::read_to_string(csv).unwrap().lines().count();
    assert_eq!(lines, results()["runs"].as_array().unwrap().len() + 1);
}

#[test]
fn a_reader_who_has_seen_enough_costs_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("report.html");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["render", RESULTS, "--html", text(&page)])
        .stdout(writer)
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(std::fs::read_to_string(page).unwrap().ends_with("</html>"));
}

#[test]
fn what_got_worse_makes_the_exit_code_one() {
    let dir = tempfile::tempdir().unwrap();
    let slow = keep(&dir, "slow.json", &scaled("fanout", 150));
    let output = loadgen(&["diff", RESULTS, &slow]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{table}{}", said(&output));
    let worse: Vec<_> = table
        .lines()
        .filter(|line| line.contains("REGRESSION"))
        .collect();
    assert_eq!(worse.len(), 1, "{table}");
    assert!(
        worse[0].contains("fanout mles") && worse[0].contains("+50.0 %"),
        "{table}"
    );
    for (args, code) in [
        (vec!["diff", &slow, RESULTS], 0),
        (vec!["diff", RESULTS, RESULTS], 0),
        (vec!["diff", RESULTS, &slow, "--threshold", "60"], 0),
        (vec!["diff", RESULTS, &slow, "--brokers", "nats,redis"], 0),
        (vec!["diff", RESULTS, &slow, "--scenario", "large"], 0),
        (
            vec![
                "diff",
                RESULTS,
                &slow,
                "--scenario",
                "fanout",
                "--brokers",
                "mles",
            ],
            1,
        ),
    ] {
        let output = loadgen(&args);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{args:?}: {}",
            said(&output)
        );
    }
}

#[test]
fn a_change_within_the_range_of_the_rounds_is_noise() {
    let dir = tempfile::tempdir().unwrap();
    // The rounds of fanout-1000 are from 0.0363 to 0.0440: 12 % more of each overlap with them.
    let slow = keep(&dir, "slow.json", &scaled("fanout-1000", 112));
    let output = loadgen(&["diff", RESULTS, &slow, "--scenario", "fanout-1000"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}");
    let noise = table.lines().find(|line| line.contains("noise")).unwrap();
    assert!(
        noise.contains("mles") && noise.contains("+12.0 %"),
        "{table}"
    );
}

#[test]
fn what_is_no_report_or_has_nothing_in_common_makes_it_two() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = results();
    other["schema"] = "mles-loadgen/7".into();
    let schema = keep(&dir, "schema.json", &other);
    let no_report = keep(&dir, "no.json", &Value::Null);
    let missing = text(&dir.path().join("missing.json")).to_owned();
    let cases = [
        (&schema, "mles-loadgen/7"),
        (&no_report, "no report"),
        (&missing, "cannot read"),
    ];
    for (path, why) in cases {
        for args in [
            vec!["diff", RESULTS, path],
            vec!["diff", path, RESULTS],
            vec!["render", path],
        ] {
            let output = loadgen(&args);
            assert_eq!(output.status.code(), Some(2), "{args:?}");
            let said = said(&output);
            assert!(
                said.contains(why) && said.contains(path.as_str()),
                "{args:?}: {said}"
            );
        }
    }
    let nothing = loadgen(&["diff", RESULTS, RESULTS, "--brokers", "mosquitto"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(said(&nothing).contains("in common"), "{}", said(&nothing));
    for useless in ["--html", "--interval-log"] {
        let output = loadgen(&["diff", RESULTS, RESULTS, useless, &missing]);
        assert_eq!(output.status.code(), Some(2), "{useless}");
        assert!(!Path::new(&missing).exists(), "nothing is written");
    }
}

#[test]
fn tables_for_a_document_have_what_sets_mles_apart_below_them() {
    let output = loadgen(&["render", RESULTS, "--markdown"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, wide) = text
        .split_once("\n### fanout-1000\n")
        .expect("it is in the file");
    for part in [
        "| | server CPU per delivery |",
        "\n| mles | ",
        "\nmles is ahead in server CPU per delivery (nats, redis)",
    ] {
        assert!(wide.contains(part), "{part}: {wide}");
    }
}

#[test]
fn a_plan_runs_nothing() {
    let args = ["compare", "--brokers", "null", "--scenario", "fanout,large"];
    let output = loadgen(&[args.as_slice(), &["--rounds", "2", "--plan"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let plan = String::from_utf8_lossy(&output.stdout);
    assert!(plan.starts_with("4 runs in about "), "{plan}");
    assert_eq!(said(&output), "", "nothing is told of runs");
}
