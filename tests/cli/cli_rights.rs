//! Keys with names and rules, with the program as an operator runs it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use crate::cli_serve::Broker;
use crate::program::{mles, taken};

const SECRETS: [(&str, &str); 3] = [
    ("default", "d3fault-secret"),
    ("web", "w3b-secret"),
    ("sensors", "s3nsors-secret"),
];

/// A folder with a key file for each name, and a configuration that uses them.
fn configured() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, secret) in SECRETS.into_iter().chain([("wrong", "wr0ng-secret")]) {
        let path = folder.path().join(name);
        fs::write(&path, secret).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let text = r#"
[auth]
key_file = "DIR/default"
[[key]]
name = "web"
file = "DIR/web"
[[key]]
name = "sensors"
file = "DIR/sensors"
[[rule]]
key = "web"
channel = "user.{uid}"
allow = ["publish", "subscribe", "history"]
[[rule]]
key = "sensors"
uid = "sensor-*"
channel = "user.*"
allow = ["publish"]
"#;
    let text = text.replace("DIR", folder.path().to_str().unwrap());
    fs::write(folder.path().join("mles.toml"), text).unwrap();
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

#[track_caller]
fn assert_no_secret(text: &str) {
    for (_, secret) in SECRETS.into_iter().chain([("wrong", "wr0ng-secret")]) {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn each_key_does_what_its_rules_allow_and_no_secret_is_shown() {
    let folder = configured();
    let config = path(&folder, "mles.toml");
    let broker = Broker::start(&["--config", &config, "--log-level", "mles=trace"]);
    let server = broker.server();
    let run = |key: &str, args: &[&str]| {
        let key_file = path(&folder, key);
        let mut command = mles();
        command.args(args);
        command.args(["--server", &server, "--key-file", &key_file]);
        let (code, stdout, stderr) = taken(&command.output().unwrap());
        assert_no_secret(&stderr);
        (code, stdout)
    };
    let publish = ["pub", "user.alice", "hello", "--uid"];
    assert_eq!(run("sensors", &[&publish[..], &["sensor-1"]].concat()).0, 0);
    // Another uid, another key, a key without a rule, and none of the keys.
    assert_eq!(run("sensors", &[&publish[..], &["alice"]].concat()).0, 3);
    assert_eq!(run("web", &[&publish[..], &["bob"]].concat()).0, 3);
    assert_eq!(run("default", &[&publish[..], &["alice"]].concat()).0, 3);
    assert_eq!(run("wrong", &[&publish[..], &["alice"]].concat()).0, 3);
    let subscribe = ["sub", "user.alice", "--count", "1", "--uid", "alice"];
    assert_eq!(run("web", &subscribe), (0, "hello\n".to_owned()));

    let status = Path::new("/proc").join(broker.id().to_string());
    if let Ok(command_line) = fs::read_to_string(status.join("cmdline")) {
        assert_no_secret(&command_line);
    }
    broker.signal("-USR1");
    broker.signal("-TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0), "{log}");
    assert_no_secret(&log);
    for part in [
        "key sensors has no right at all for uid alice and channel user.alice",
        "key web has no right at all for uid bob and channel user.alice",
        "key default has no right at all for uid alice and channel user.alice",
        "wrong key for uid alice and channel user.alice",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
}

#[test]
fn check_config_shows_keys_and_rules_without_secrets() {
    let folder = configured();
    let config = path(&folder, "mles.toml");
    let output = mles().args(["check-config", &config]).output().unwrap();
    let (code, stdout, stderr) = taken(&output);
    assert_eq!(code, 0, "{stderr}");
    assert_no_secret(&stdout);
    assert!(stdout.contains("channel = \"user.{uid}\""), "{stdout}");
    assert!(
        stderr.contains("nobody can join with the key `default`"),
        "{stderr}"
    );
    fs::remove_file(folder.path().join("web")).unwrap();
    let output = mles().args(["check-config", &config]).output().unwrap();
    let (code, _, stderr) = taken(&output);
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(
        stderr.contains("mles.toml:6: cannot read the key"),
        "{stderr}"
    );
}

#[test]
fn a_missing_right_is_told_apart_from_a_wrong_key_in_one_line() {
    let folder = configured();
    let config = path(&folder, "mles.toml");
    let broker = Broker::start(&["--config", &config]);
    let server = broker.server();
    let (publish, subscribe, chat) = (
        &["pub", "user.sensor-1", "hello"][..],
        &["sub", "user.sensor-1"][..],
        &["chat", "user.sensor-1"][..],
    );
    let nothing = "join refused: no right at all in this channel";
    for (key, uid, args, expected) in [
        (
            "sensors",
            "sensor-1",
            subscribe,
            "no subscribe right in channel \"user.sensor-1\"",
        ),
        ("sensors", "alice", subscribe, nothing),
        ("sensors", "alice", publish, nothing),
        ("default", "alice", chat, nothing),
        ("wrong", "alice", publish, "join refused: wrong key"),
        ("wrong", "alice", subscribe, "join refused: wrong key"),
        ("wrong", "alice", chat, "join refused: wrong key"),
    ] {
        let key_file = path(&folder, key);
        let mut command = mles();
        command.args(args).args(["--uid", uid]);
        command.args(["--server", &server, "--key-file", &key_file]);
        let (code, stdout, stderr) = taken(&command.output().unwrap());
        assert_eq!((code, &*stdout), (3, ""), "{args:?}: {stderr}");
        assert_eq!(stderr, format!("mles: {expected}\n"), "{key} {args:?}");
    }
}
