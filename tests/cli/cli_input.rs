//! The messages and channels that `pub`, `chat` and `sub` accept.

use crate::fake_server::{FakeServer, body, frame};
use crate::program::{Mles, mles, taken};
use std::io::Write as _;

fn reading(server: &FakeServer, args: &[&str]) -> Mles {
    Mles::start_listening(server, args)
}

#[test]
fn a_line_over_the_largest_message_ends_pub_with_what_came_before_it() {
    let server = FakeServer::start();
    let mut mles = reading(&server, &["pub", "news", "--uid", "alice"]);
    let mut stdin = mles.child().stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        stdin.write_all(b"one\ntwo\n").unwrap();
        // It ends long before this does.
        let chunk = vec![b'x'; 1 << 20];
        (0..1 << 20).find(|_| stdin.write_all(&chunk).is_err())
    });
    let mut peer = server.accept();
    let expected = [b"one", b"two"].map(|message| body("alice", "news", message));
    assert_eq!(peer.read_bodies(2), expected);
    peer.expect_end();
    let (code, _, stderr) = mles.end();
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("line 3 of standard input"), "{stderr}");
    assert!(
        stderr.contains(" bytes") && stderr.lines().count() == 1,
        "{stderr}"
    );
    let written = writing.join().unwrap().expect("it read on without end");
    assert!(written < 100, "{written} MiB were read");
}

#[test]
fn the_largest_message_is_sent_as_a_line() {
    // The length of a message takes one byte when it is empty, and five here.
    let largest = (1 << 24) - 1 - body("alice", "news", b"").len() - 4;
    for (len, code) in [(largest, 0), (largest + 1, 2)] {
        let server = FakeServer::start();
        let mut mles = reading(&server, &["pub", "news", "--uid", "alice"]);
        let mut stdin = mles.child().stdin.take().unwrap();
        let writing = std::thread::spawn(move || {
            let _ = stdin.write_all(&vec![b'x'; len]);
        });
        if code == 0 {
            let mut peer = server.accept();
            // There is no room for it beside what the first frame asks for.
            assert_eq!(peer.read_join().0.body, body("alice", "news", b""));
            assert_eq!(peer.read_frame().body.len(), (1 << 24) - 1);
            peer.expect_end();
        }
        let ended = mles.end();
        assert_eq!(ended.0, code, "{len}: {}", ended.2);
        writing.join().unwrap();
    }
}

#[test]
fn a_chat_stops_at_a_line_that_is_too_large() {
    let server = FakeServer::start();
    let mut mles = reading(&server, &["chat", "news", "--uid", "alice"]);
    let mut stdin = mles.child().stdin.take().unwrap();
    let writing = std::thread::spawn(move || {
        let _ = stdin.write_all(b"hello\n");
        let _ = stdin.write_all(&vec![b'x'; 20 << 20]);
        stdin
    });
    let mut peer = server.accept();
    let expected = [&b""[..], b"hello"].map(|message| body("alice", "news", message));
    assert_eq!(peer.read_bodies(2), expected);
    peer.expect_end();
    let (code, _, stderr) = mles.end();
    assert_eq!(code, 2, "{stderr}");
    drop(writing.join());
}

#[test]
fn input_that_cannot_be_read_is_told() {
    let server = FakeServer::start();
    for command in ["pub", "chat"] {
        let folder = std::fs::File::open(std::env::temp_dir()).unwrap();
        let mles = Mles::start_with(&server, &[command, "news"], |command| command.stdin(folder));
        let (code, _, stderr) = mles.end();
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("cannot read standard input"), "{stderr}");
    }
}

#[test]
fn empty_lines_are_left_out_and_counted() {
    let server = FakeServer::start();
    let mut mles = reading(&server, &["pub", "news", "--uid", "alice"]);
    mles.say("\n\r\none\n\ntwo");
    drop(mles.child().stdin.take());
    let mut peer = server.accept();
    let expected = [b"one", b"two"].map(|message| body("alice", "news", message));
    assert_eq!(peer.read_bodies(2), expected);
    peer.expect_end();
    let (code, _, stderr) = mles.end();
    assert_eq!(code, 0);
    assert!(stderr.contains("3 empty lines"), "{stderr}");
}

#[test]
fn messages_may_begin_with_a_dash() {
    let server = FakeServer::start();
    let options = ["--uid", "alice"];
    for (args, messages) in [
        (&["-5"][..], &["-5"][..]),
        (&["-1.5", "2", "-3e4"], &["-1.5", "2", "-3e4"]),
        (&["-"], &["-"]),
        (&["--", "--reconnect", "-x"], &["--reconnect", "-x"]),
        (&["--allow-empty", "", "x"], &["", "x"]),
    ] {
        let mles = Mles::start(&server, &[&["pub", "news"], &options[..], args].concat());
        let mut peer = server.accept();
        let messages = messages.iter().map(|message| message.as_bytes());
        let expected: Vec<_> = messages
            .map(|message| body("alice", "news", message))
            .collect();
        assert_eq!(peer.read_bodies(expected.len()), expected);
        peer.expect_end();
        assert_eq!(mles.end().0, 0);
    }
    let (code, _, stderr) = taken(&mles().args(["pub", "news", "-x"]).output().unwrap());
    assert_eq!(code, 2);
    assert!(stderr.contains("-- -x"), "it does not say how: {stderr}");
}

#[test]
fn a_channel_that_is_named_twice_is_joined_once() {
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["sub", "news", "other", "news", "-n", "1"]);
    let (mut peer, _other) = (server.accept(), server.accept());
    peer.read_frame();
    peer.send(&frame("bob", "news", "one"));
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, "one\n", ""));
    server.expect_nobody();
}
