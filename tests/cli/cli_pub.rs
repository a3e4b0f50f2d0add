//! What `mles pub` publishes: files, whole input, lines, and the same message many times.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::fake_server::{FakeServer, body};
use crate::program::{Mles, mles, taken};

/// Expects these messages of alice, and nothing more.
fn expect(server: &FakeServer, messages: &[&[u8]]) {
    let mut peer = server.accept();
    for (i, message) in messages.iter().enumerate() {
        let frame = match i {
            0 => peer.read_join().0,
            _ => peer.read_frame(),
        };
        assert_eq!(frame.body, body("alice", "news", message));
    }
    peer.expect_end();
}

/// Runs `pub news --uid alice` with standard input.
fn publishing(server: &FakeServer, args: &[&str], input: &[u8]) -> Mles {
    let args = [&["pub", "news", "--uid", "alice"], args].concat();
    let mut mles = Mles::start_listening(server, &args);
    let mut stdin = mles.child().stdin.take().unwrap();
    stdin.write_all(input).unwrap();
    mles
}

/// Runs `pub news` where no server is: exit code and what it says.
fn refused(args: &[&str]) -> (i32, String) {
    let mut command = mles();
    command
        .args(["pub", "news", "--server", "127.0.0.1:1"])
        .args(args);
    let (code, stdout, stderr) = taken(&command.stdin(Stdio::null()).output().unwrap());
    assert_eq!(stdout, "");
    (code, stderr)
}

#[test]
fn a_file_and_the_whole_input_are_one_message_each() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("message");
    let content = b"two\nlines\n\n\xff\0";
    fs::write(&path, content).unwrap();
    let file = path.to_str().unwrap();
    for args in [
        &["--file", file][..],
        &["-f", file],
        &["--file", "-"],
        &["--stdin"],
    ] {
        let server = FakeServer::start();
        let mles = publishing(&server, args, content);
        expect(&server, &[content]);
        assert_eq!(mles.end(), (0, String::new(), String::new()), "{args:?}");
    }
}

#[test]
fn lines_are_the_default_and_can_be_asked_for() {
    for args in [&[][..], &["--lines"], &["-l"]] {
        let server = FakeServer::start();
        let mles = publishing(&server, args, b"one\ntwo");
        expect(&server, &[b"one", b"two"]);
        assert_eq!(mles.end().0, 0, "{args:?}");
    }
}

#[test]
fn messages_are_repeated_as_a_whole() {
    let server = FakeServer::start();
    let mles = publishing(&server, &["a", "b", "--count", "3"], b"");
    expect(&server, &[b"a", b"b", b"a", b"b", b"a", b"b"]);
    assert_eq!(mles.end().0, 0);
    let mles = publishing(&server, &["--stdin", "-n", "2"], b"x\n");
    expect(&server, &[b"x\n", b"x\n"]);
    assert_eq!(mles.end().0, 0);
}

#[test]
fn an_interval_is_waited_for_between_messages() {
    let server = FakeServer::start();
    let begun = Instant::now();
    let interval = ["--interval", "100ms"];
    let mles = publishing(
        &server,
        &[&["a", "--count", "4"], &interval[..]].concat(),
        b"",
    );
    expect(&server, &[b"a", b"a", b"a", b"a"]);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert_eq!(mles.end().0, 0);
    let begun = Instant::now();
    let mles = publishing(&server, &interval, b"one\ntwo\nthree\n");
    expect(&server, &[b"one", b"two", b"three"]);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(mles.end().0, 0);
}

#[test]
fn a_message_is_sent_before_the_interval_is_over() {
    let server = FakeServer::start();
    let mles = publishing(&server, &["a", "b", "--interval", "1h"], b"");
    let mut peer = server.accept();
    assert_eq!(peer.read_join().0.body, body("alice", "news", b"a"));
    let mut mles = mles;
    mles.signal("-INT");
    assert_eq!(mles.code(), 128 + 2);
    peer.expect_end();
}

#[test]
fn empty_messages_are_published_only_when_asked_for() {
    let server = FakeServer::start();
    let mles = publishing(&server, &["--allow-empty"], b"one\n\ntwo\n");
    expect(&server, &[b"one", b"", b"two"]);
    assert_eq!(mles.end(), (0, String::new(), String::new()));
    for args in [
        &[""][..],
        &["one", ""],
        &["--stdin"],
        &["--file", "/dev/null"],
    ] {
        let (code, stderr) = refused(args);
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains("--allow-empty"), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        let (code, stderr) = refused(&[args, &["--allow-empty"]].concat());
        assert_eq!(code, 1, "{args:?}: {stderr}");
    }
}

#[test]
fn what_cannot_be_published_is_told_in_one_line_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    fs::write(&path, vec![b'x'; 1 << 24]).unwrap();
    let large = path.to_str().unwrap();
    for (args, code, part) in [
        (
            &["--file", "/nonexistent"][..],
            1,
            "cannot read /nonexistent",
        ),
        (&["--file", "/"], 1, "cannot read /"),
        (&["--file", large], 2, "longer than the largest message"),
        (
            &["--file", "/dev/zero"],
            2,
            "longer than the largest message",
        ),
        (&["x", "--stdin"], 2, "cannot be used with"),
        (&["x", "--lines"], 2, "cannot be used with"),
        (&["--file", large, "--stdin"], 2, "cannot be used with"),
        (&["--count", "2"], 2, "--count repeats"),
        (&["x", "--count", "0"], 2, "--count"),
        (&["x", "--interval", "1s"], 2, "add --count"),
        (&["x", "--count", "2", "--interval", "soon"], 2, "200ms"),
        (&["x", "--linger=-1s"], 2, "200ms"),
    ] {
        let (ended, stderr) = refused(args);
        assert_eq!(ended, code, "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn a_server_that_goes_ends_a_repetition() {
    let server = FakeServer::start();
    let mles = publishing(
        &server,
        &["a", "--count", "1000", "--interval", "1h", "--key", "k"],
        b"",
    );
    let mut peer = server.accept();
    peer.read_frame();
    drop(peer);
    let (code, _, stderr) = mles.end();
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("join refused: wrong key"), "{stderr}");
}
