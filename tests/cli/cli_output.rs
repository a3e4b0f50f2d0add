//! Output that cannot be written, and logs that are JSON whatever happens.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::cli_serve::Broker;
use crate::common::free_address;
use crate::fake_server::{FakeServer, frame};
use crate::program::{Mles, mles, taken};

/// A device that takes nothing.
fn full() -> Stdio {
    File::options()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

/// Runs to the end, with a standard output or error that takes nothing.
fn into_full(args: &[&str], is_stdout: bool) -> Output {
    let mut command = mles();
    command.args(args).stdin(Stdio::null());
    if is_stdout {
        command.stdout(full()).stderr(Stdio::piped());
    } else {
        command.stdout(Stdio::piped()).stderr(full());
    }
    command.spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn output_that_cannot_be_written_is_an_error_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    for args in [
        &["--help"][..],
        &["--version"],
        &["help", "serve"],
        &["serve", "--help"],
        &["pub", "--help"],
        &["dev-cert", "--out", out],
        &["check-config", "configs/root.toml"],
    ] {
        let (code, _, stderr) = taken(&into_full(args, true));
        assert_eq!(code, 1, "{args:?}: {stderr}");
        let last = stderr.lines().last().unwrap_or_default();
        assert!(
            last.contains("cannot write to standard output"),
            "{args:?}: {stderr}"
        );
    }
    for args in [
        &["sub", "news"][..],
        &["sub", "news", "--json"],
        &["chat", "news"],
    ] {
        let server = FakeServer::start();
        let mles = Mles::start_with(&server, args, |command| {
            command.stdin(Stdio::piped()).stdout(full())
        });
        let mut peer = server.accept();
        peer.read_frame();
        peer.send(&frame("bob", "news", "one"));
        let (code, _, stderr) = mles.end();
        assert_eq!(code, 1, "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        assert!(
            stderr.contains("cannot write to standard output"),
            "{args:?}: {stderr}"
        );
    }
}

#[test]
fn a_person_who_cannot_be_told_changes_no_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    for (args, expected) in [
        (&["--bogus"][..], 2),
        (&["sub", "news", "--server", "127.0.0.1:1"], 1),
        (&["sub", "news", "--server", "no spaces"], 2),
        (
            &[
                "pub",
                "news",
                "x",
                "--server",
                "tls://127.0.0.1:1",
                "--insecure",
            ],
            1,
        ),
        (&["dev-cert", "--out", out], 0),
        (&["check-config", "/nonexistent"], 1),
        (&["serve", "--config", "/nonexistent"], 1),
        (
            &["serve", "--listen", "203.0.113.1:1", "--allow-anonymous"],
            1,
        ),
    ] {
        let (code, ..) = taken(&into_full(args, false));
        assert_eq!(code, expected, "{args:?}");
    }
}

#[test]
fn a_broker_serves_with_a_standard_error_that_takes_nothing() {
    let server = free_address().to_string();
    let mut command = mles();
    command.args(["serve", "--listen", &server]).stderr(full());
    let mut broker = command.spawn().unwrap();
    let published = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        let mut publisher = mles();
        publisher.args(["pub", "room", "hello", "--server", &server]);
        publisher.output().unwrap().status.success()
    });
    assert!(published, "{:?}", broker.try_wait());
    let pid = broker.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert_eq!(broker.wait().unwrap().code(), Some(0));
}

/// A pipe takes 64 KiB; with nobody reading, whoever writes a line more stands still.
#[test]
fn a_log_that_nobody_reads_holds_nobody_up_and_tells_what_it_dropped() {
    let broker = Broker::start(&["--log-level", "debug", "--max-joining", "100000"]);
    let address: std::net::SocketAddr = broker.server().parse().unwrap();
    // Each of these is a line of about 130 bytes: more than pipe and queue hold.
    for _ in 0..4_000 {
        drop(TcpStream::connect(address));
    }
    for args in [&["pub", "room", "hello"][..], &["sub", "room", "-n", "1"]] {
        let mut client = Mles::start_at(&broker.server(), args, |command| {
            command.stdin(Stdio::null())
        });
        assert_eq!(client.code(), 0, "{args:?}");
    }
    broker.signal("-TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    let told = log
        .lines()
        .filter(|line| line.contains("dropped: standard error"));
    let told: Vec<_> = told.collect();
    assert!(
        !told.is_empty(),
        "nothing is said of the lines that are missing"
    );
    assert!(told[0].contains(" WARN "), "{told:?}");
    assert!(
        log.trim_end().lines().last().unwrap().contains("stopped"),
        "{told:?}"
    );
}

fn expect_json(stderr: &str) {
    assert!(!stderr.is_empty());
    for line in stderr.lines() {
        let object: serde_json::Value = serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{error} in {line:?} of\n{stderr}"));
        for key in ["timestamp", "level", "message", "target"] {
            assert!(object[key].is_string(), "no {key}: {line}");
        }
    }
}

#[test]
fn errors_at_the_start_are_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let says_json = file(
        "json.toml",
        "[log]\nformat = \"json\"\n[limits]\nmax_uid = 0\nx = 1\n",
    );
    let is_bad = file("bad.toml", "[limits\n");
    let json = ["--log-format", "json"];
    for args in [
        &["--bogus"][..],
        &["--shards", "many"],
        &["--log-level", "nonsense"],
        &["--config", "/nonexistent"],
        &["--config", &is_bad],
        &["--listen", "203.0.113.1:1", "--allow-anonymous"],
        &["--listen", "0.0.0.0:0"],
        &[
            "--tls",
            "127.0.0.1:0",
            "--tls-cert",
            "/nonexistent",
            "--tls-key",
            "/nonexistent",
        ],
    ] {
        for first in [true, false] {
            let args = if first { [&json, args] } else { [args, &json] }.concat();
            let mut command = mles();
            let (code, _, stderr) = taken(&command.arg("serve").args(&args).output().unwrap());
            assert!(code == 1 || code == 2, "{args:?}");
            expect_json(&stderr);
        }
        let mut command = mles();
        command
            .arg("serve")
            .args(args)
            .env("MLES_LOG_FORMAT", "json");
        expect_json(&taken(&command.output().unwrap()).2);
    }
    let mut command = mles();
    command.args(["serve", "--config", &says_json]);
    let (code, _, stderr) = taken(&command.output().unwrap());
    assert_eq!(code, 1);
    expect_json(&stderr);
    assert_eq!(stderr.lines().count(), 2, "one for each problem: {stderr}");
}

#[test]
fn a_run_in_json_has_nothing_else_in_it() {
    let mut command = mles();
    command.args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    command.args(["--ws", "127.0.0.1:0", "--key", "k", "--addr-key", "a"]);
    let mut broker = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(broker.stderr.take().unwrap());
    let mut all = String::new();
    while !all.contains("listening") {
        assert!(log.read_line(&mut all).unwrap() > 0, "{all}");
    }
    let pid = broker.id().to_string();
    for signal in ["-USR1", "-HUP", "-TERM"] {
        Command::new("kill").args([signal, &pid]).status().unwrap();
    }
    log.read_to_string(&mut all).unwrap();
    assert_eq!(broker.wait().unwrap().code(), Some(0));
    expect_json(&all);
    assert!(all.contains("addr_key has no effect"), "{all}");
}
