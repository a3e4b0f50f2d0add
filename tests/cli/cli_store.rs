//! What `mles store` tells of the histories that a server has left.

use std::fs;
use std::path::Path;

use crate::cli_serve::Broker;
use crate::program::{mles, taken};

fn store(args: &[&str]) -> (i32, String, String) {
    taken(&mles().arg("store").args(args).output().unwrap())
}

/// Has a server with a store in `dir`.
fn broker(dir: &Path) -> Broker {
    let dir = dir.to_str().unwrap();
    Broker::start(&[
        "--history",
        "disk",
        "--store-dir",
        dir,
        "--store-sync",
        "1ms",
        "--allow-anonymous",
    ])
}

#[test]
fn a_store_is_told_of_checked_exported_and_made_smaller() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("store");
    let name = dir.to_str().unwrap();
    let (code, _, stderr) = store(&["check", name]);
    assert_eq!((code, stderr.lines().count()), (1, 1), "{stderr}");
    assert!(stderr.contains("there is none"), "{stderr}");
    assert!(!dir.exists(), "nothing is made");

    let broker = broker(&dir);
    for (channel, message) in [("room", "one"), ("room", "two"), ("news", "three")] {
        let server = broker.server();
        let args = [
            "pub", channel, message, "--uid", "alice", "--server", &server,
        ];
        let (code, _, stderr) = taken(&mles().args(args).output().unwrap());
        assert_eq!(code, 0, "{stderr}");
    }
    for command in ["check", "stat", "export", "compact", "renew"] {
        let (code, _, stderr) = store(&[command, name]);
        assert_eq!(code, 1, "{command}");
        assert!(stderr.contains("in use by another process"), "{stderr}");
    }
    broker.signal("-TERM");
    assert_eq!(broker.end().0, Some(0));

    let (code, stdout, stderr) = store(&["check", name]);
    assert_eq!((code, &*stderr), (0, ""));
    assert!(
        stdout.starts_with("the store is fine: 2 channels, 3 messages"),
        "{stdout}"
    );
    let (code, stdout, _) = store(&["stat", name]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("in order") && stdout.contains("room"),
        "{stdout}"
    );
    let (code, stdout, _) = store(&["export", name, "--channel", "room"]);
    assert_eq!(code, 0);
    let lines: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let messages: Vec<_> = lines.iter().map(|line| line["message"].clone()).collect();
    assert_eq!(messages, ["one", "two"], "{stdout}");
    assert_eq!(lines[0]["uid"], "alice");
    let (code, stdout, _) = store(&["compact", name]);
    assert_eq!(code, 0);
    assert!(stdout.starts_with("the store takes"), "{stdout}");
    assert_eq!(store(&["check", name]).0, 0);

    let (code, stdout, stderr) = store(&["renew", name]);
    assert_eq!((code, &*stderr), (0, ""));
    assert!(stdout.contains("new epoch"), "{stdout}");
    let aside = dir.join("damaged-1");
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("synced"), [1; 10_000]).unwrap();
    let (_, stdout, _) = store(&["stat", name]);
    assert!(stdout.contains("copied or restored"), "{stdout}");
    let told = stdout.lines().find(|line| line.starts_with("damaged"));
    assert!(told.unwrap().ends_with(aside.to_str().unwrap()), "{stdout}");

    fs::write(dir.join("synced"), "nothing").unwrap();
    let (code, _, stderr) = store(&["check", name]);
    assert_eq!(code, 1);
    assert!(stderr.contains("damaged"), "{stderr}");
}
