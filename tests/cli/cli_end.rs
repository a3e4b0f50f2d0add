//! The ends of clients' commands: refusals, stopped servers, signals.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cli_serve::Broker;
use crate::common::free_address;
use crate::fake_server::{FakeServer, body, frame};
use crate::program::{Mles, mles, taken};

#[test]
fn a_server_that_is_stopped_is_no_refusal_however_early() {
    for key in ["right", "wrong"] {
        let mut broker = Broker::start(&["--key", "right"]);
        let mut command = mles();
        command.args(["sub", "room", "--key", key, "--server", &broker.server()]);
        let sub = command.stderr(Stdio::piped()).spawn().unwrap();
        if key == "right" {
            broker.wait_for("joined=1");
            broker.signal("-TERM");
        }
        let output = sub.wait_with_output().unwrap();
        let (code, _, stderr) = taken(&output);
        if key == "right" {
            assert_eq!(code, 1, "{stderr}");
            assert_eq!(stderr, "mles: the server closed the connection\n");
        } else {
            assert_eq!(code, 3, "{stderr}");
            assert!(stderr.contains("join refused: wrong key"), "{stderr}");
            assert_eq!(stderr.lines().count(), 1, "{stderr}");
        }
    }
}

#[test]
fn a_connection_that_ends_later_is_lost_and_not_refused() {
    let server = FakeServer::start();
    let (mles, peer) = Mles::join(&server, &["sub", "news"]);
    // Longer than a refusal takes. The server goes on listening.
    std::thread::sleep(Duration::from_secs(3));
    drop(peer);
    assert_eq!(mles.end().0, 1);
}

/// A command with `--reconnect`, and its stderr.
fn coming_back(address: &str, command: &str) -> (Mles, impl Iterator<Item = String> + use<>) {
    let mut mles = Mles::start_at(address, &[command, "news", "--reconnect"], |command| {
        command.stdin(Stdio::piped())
    });
    let stderr = BufReader::new(mles.child().stderr.take().unwrap());
    (mles, stderr.lines().map(Result::unwrap))
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for_and_told_once() {
    for command in ["sub", "chat"] {
        let address = free_address();
        let (mut mles, mut told) = coming_back(&address.to_string(), command);
        let line = told.next().unwrap();
        assert!(line.contains("cannot connect to"), "{line}");
        assert!(line.contains("trying again in"), "{line}");
        // Some attempts fail meanwhile.
        std::thread::sleep(Duration::from_secs(1));
        let server = FakeServer::start_at(address);
        let mut peer = server.accept();
        peer.read_frame();
        peer.send(&frame("bob", "news", "one"));
        let (line, _stdout) = mles.first_line();
        assert!(line.ends_with("one\n"), "{line}");
        assert_eq!(told.next().unwrap(), "mles: connected");
        // The first end afterwards is told again.
        drop(peer);
        let line = told.next().unwrap();
        assert!(line.contains("the server closed the connection"), "{line}");
    }
}

#[test]
fn a_refusal_is_tried_again_and_told_once() {
    let server = FakeServer::start();
    let (mut mles, mut told) = coming_back(&server.address(), "sub");
    for _ in 0..3 {
        let (join, _) = server.accept().read_join();
        assert!(join.body.ends_with(&body("", "news", b"")[6..]));
    }
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(&frame("bob", "news", "one"));
    let line = told.next().unwrap();
    assert!(line.contains("join refused: missing key"), "{line}");
    assert_eq!(told.next().unwrap(), "mles: connected");
    mles.signal("-TERM");
    assert_eq!(mles.code(), 128 + 15);
}

#[test]
fn silence_shows_that_a_connection_is_back() {
    let server = FakeServer::start();
    let (_mles, mut told) = coming_back(&server.address(), "sub");
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(&frame("bob", "news", "one"));
    drop(peer);
    let _quiet = server.accept();
    assert!(told.next().unwrap().contains("closed the connection"));
    assert_eq!(told.next().unwrap(), "mles: connected");
}

/// The system ignores what the first process of a container does not handle itself, and reports a
/// process that it has ended as killed.
#[test]
fn signals_are_handled_by_the_commands_themselves() {
    for command in ["sub", "chat", "pub"] {
        for (signal, code) in [("-TERM", 128 + 15), ("-INT", 128 + 2)] {
            for reconnect in [false, true] {
                if command == "pub" && reconnect {
                    continue;
                }
                let server = FakeServer::start();
                let args: &[_] = if reconnect {
                    &[command, "news", "--reconnect"]
                } else {
                    &[command, "news"]
                };
                let mut mles = Mles::start_listening(&server, args);
                if command == "pub" {
                    mles.say("one\n");
                }
                let _peer = server.accept();
                mles.signal(signal);
                assert_eq!(mles.code(), code, "{command} {signal}");
            }
        }
    }
}

#[test]
fn a_sub_whose_reader_stands_still_ends_by_a_signal_all_the_same() {
    let server = FakeServer::start();
    let (mut mles, mut peer) = Mles::join(&server, &["sub", "news"]);
    // More than the pipe holds: it stands still in the middle of a write.
    let large = frame("bob", "news", "x".repeat(60_000));
    for _ in 0..20 {
        peer.send(&large);
    }
    let mut first = [0];
    let mut stdout = mles.child().stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    mles.signal("-TERM");
    assert_eq!(mles.code(), 128 + 15);
}

#[test]
fn a_sub_on_a_quiet_channel_ends_when_its_reader_has_gone() {
    for command in ["sub", "chat"] {
        let server = FakeServer::start();
        let mut mles = Mles::start_listening(&server, &[command, "news"]);
        let mut peer = server.accept();
        peer.read_frame();
        peer.send(&frame("bob", "news", "one"));
        let (line, stdout) = mles.first_line();
        assert!(line.ends_with("one\n"), "{line}");
        drop(stdout);
        assert_eq!(mles.code(), 0, "{command}");
    }
}

#[test]
fn a_sub_without_a_reader_of_a_pipe_goes_on() {
    let server = FakeServer::start();
    let mut mles = Mles::start_with(&server, &["sub", "news", "-n", "2"], |command| {
        command.stdin(Stdio::null()).stdout(Stdio::null())
    });
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(&frame("bob", "news", "none"));
    // One that comes later, and whose reader of a pipe has gone, has ended by then.
    let mut other = Mles::start_listening(&server, &["sub", "news"]);
    let mut other_peer = server.accept();
    other_peer.read_frame();
    other_peer.send(&frame("bob", "news", "one"));
    let (_, stdout) = other.first_line();
    drop(stdout);
    assert_eq!(other.code(), 0);
    assert!(mles.child().try_wait().unwrap().is_none());
    peer.send(&frame("bob", "news", "one"));
    assert_eq!(mles.code(), 0);
}

#[test]
fn the_first_process_of_a_namespace_ends_by_a_signal() {
    let server = FakeServer::start();
    let mut command = Command::new("unshare");
    command.args([
        "--pid",
        "--fork",
        "--kill-child",
        env!("CARGO_BIN_EXE_mles"),
    ]);
    command.args(["sub", "news", "--server", &server.address()]);
    let spawned = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let Ok(mut unshare) = spawned else {
        eprintln!("SKIPPED: no unshare");
        return;
    };
    let deadline = std::time::Instant::now() + crate::fake_server::PATIENCE;
    let child = loop {
        let path = format!("/proc/{0}/task/{0}/children", unshare.id());
        let children = std::fs::read_to_string(path).unwrap_or_default();
        if let Some(child) = children.split_whitespace().next() {
            break child.to_owned();
        }
        if let Some(status) = unshare.try_wait().unwrap() {
            eprintln!("SKIPPED: unshare {status}");
            return;
        }
        assert!(std::time::Instant::now() < deadline, "no child");
    };
    let mut peer = server.accept();
    peer.read_frame();
    let sent = Command::new("kill")
        .args(["-TERM", &child])
        .status()
        .unwrap();
    assert!(sent.success());
    assert_eq!(unshare.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn every_way_of_printing_ends_in_the_same_ways() {
    for form in [
        &["--format", "{uid} {message}"][..],
        &["--json", "--timestamps"],
        &["--timestamps", "--timeout", "1h", "--count", "9"],
    ] {
        let server = FakeServer::start();
        let begin = || {
            let (mut mles, mut peer) = Mles::join(&server, &[&["sub", "news"], form].concat());
            peer.send(&frame("bob", "news", "one"));
            let (line, stdout) = mles.first_line();
            assert!(line.contains("one"), "{form:?}: {line}");
            (mles, peer, stdout)
        };
        let (mut mles, _peer, _stdout) = begin();
        mles.signal("-TERM");
        assert_eq!(mles.code(), 128 + 15, "{form:?}");
        let (mut mles, _peer, stdout) = begin();
        drop(stdout);
        assert_eq!(mles.code(), 0, "{form:?}");
        let (mut mles, peer, _stdout) = begin();
        drop(peer);
        assert_eq!(mles.code(), 1, "{form:?}");
    }
}

/// Whoever types the input, or does not, holds no signal up.
#[test]
fn a_pub_that_waits_for_its_whole_input_ends_by_a_signal() {
    for args in [&["--stdin"][..], &["--file", "-"]] {
        let server = FakeServer::start();
        let mut mles = Mles::start_listening(&server, &[&["pub", "news"], args].concat());
        mles.say("not all");
        // It handles signals only once it runs.
        let status = format!("/proc/{}/task", mles.child().id());
        crate::common::wait_until("it reads", || {
            std::fs::read_dir(&status).is_ok_and(|tasks| tasks.count() > 2)
        });
        mles.signal("-INT");
        assert_eq!(mles.code(), 128 + 2, "{args:?}");
        server.expect_nobody();
    }
}
