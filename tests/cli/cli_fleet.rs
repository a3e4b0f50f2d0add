//! What `mles fleet` makes of NATS servers, and what it says when it cannot.

use crate::common::nats::NatsServer;
use crate::program::{mles, taken};

fn fleet(args: &[&str]) -> (i32, String, String) {
    taken(&mles().arg("fleet").args(args).output().unwrap())
}

/// Runs a command that fails, and returns its exit code and what it said, which is one line.
#[track_caller]
fn fails(args: &[&str]) -> (i32, String) {
    let (code, stdout, stderr) = fleet(args);
    assert_eq!(
        (stdout.as_str(), stderr.lines().count()),
        ("", 1),
        "{stderr}"
    );
    (code, stderr.trim_end().to_owned())
}

#[test]
fn a_log_is_made_once_checked_and_told_of() {
    let Some(server) = NatsServer::start() else {
        return;
    };
    let url = server.url();
    let init = ["init", &url, "--name", "demo", "--replicas", "1"];
    let missing = "mles: there is no stream MLES_demo_0: make it with `mles fleet init --name demo`, or find out who \
                   has deleted it";
    for command in ["check", "status"] {
        let said = fails(&[command, &url, "--name", "demo"]);
        assert_eq!(said, (1, missing.to_owned()));
    }
    let (code, said) = fails(&init[..4]);
    assert_eq!(code, 1);
    assert!(
        said.ends_with("; one server alone takes --replicas 1"),
        "{said}"
    );

    let (code, stdout, stderr) = fleet(&init);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let expected = format!(
        "made the stream MLES_demo_0: 1 copy, kept for 1h, 1.0 GiB at most\n\
         start nodes with: mles serve --fleet {url} --fleet-name demo\n"
    );
    assert_eq!(stdout, expected);
    let there = "mles: the stream MLES_demo_0 is there already, and stays as it is";
    assert_eq!(fails(&init), (3, there.to_owned()));

    let (code, stdout, stderr) = fleet(&["check", &url, "--name", "demo"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.starts_with("the fleet demo is fine: nats-server "),
        "{stdout}"
    );
    assert!(
        stderr.starts_with("mles: warning: replicas = 1: "),
        "{stderr}"
    );
    let (code, stdout, _) = fleet(&["status", &url, "--name", "demo"]);
    assert_eq!(code, 0);
    assert!(
        stdout.starts_with("stream   MLES_demo_0 on nats-server "),
        "{stdout}"
    );
    let (code, stdout, _) = fleet(&["status", &url, "--name", "demo", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (code, &told["last"], &told["copies"]),
        (0, &0.into(), &1.into())
    );
}

#[test]
fn what_cannot_be_done_is_told_in_one_line() {
    let nobody = "nats://127.0.0.1:1";
    let refused = "mles: cannot connect to nats://127.0.0.1:1: Connection refused (os error 111)";
    assert_eq!(
        fails(&["check", nobody, "--name", "demo"]),
        (1, refused.to_owned())
    );
    let (code, said) = fails(&["init", "nats://me:hunter2@127.0.0.1", "--name", "demo"]);
    assert_eq!(code, 2);
    assert!(!said.contains("hunter2"), "{said}");
    for wrong in [
        &["init", "http://127.0.0.1", "--name", "demo"][..],
        &["init", nobody, "--name", "a.b"],
        &["init", nobody],
        &["init", nobody, "--name", "demo", "--max-age", "1m"],
        &["init", nobody, "--name", "demo", "--max-bytes", "1"],
        &["init", nobody, "--name", "demo", "--replicas", "2"],
        &["init", nobody, "--name", "demo", "--user", "me"],
        &[
            "check",
            nobody,
            "--name",
            "demo",
            "--token-file",
            "a",
            "--nkey-file",
            "b",
        ],
    ] {
        assert_eq!(fails(wrong).0, 2, "{wrong:?}");
    }
    let no_file = fails(&["check", nobody, "--name", "demo", "--ca", "no/such/file"]);
    assert_eq!(no_file.0, 1);
    assert!(no_file.1.contains("no/such/file"), "{no_file:?}");
}
