//! `mles pub`, `sub` and `chat` as processes: what they send, print and exit with.

use std::process::Stdio;

use mles::client::Key;

use crate::common::wait_until;
use crate::fake_server::{FakeServer, body, frame};
use crate::program::{Mles, mles, taken};

#[test]
fn pub_sends_its_arguments_and_joins_with_the_first() {
    let server = FakeServer::start();
    let args = [
        "pub", "news", "one", "two", "--uid", "alice", "--key", "secret",
    ];
    let mles = Mles::start(&server, &args);
    let mut peer = server.accept();
    let (join, _) = peer.read_join();
    let key = Key::from_parts(["secret", "alice", "news"]);
    assert_eq!(join.key, key.0);
    assert_ne!(join.cid, key.cid().0, "a subscriber may have that one");
    assert_eq!(join.body, body("alice", "news", b"one"));
    assert_eq!(peer.read_frame().body, body("alice", "news", b"two"));
    peer.expect_end();
    assert_eq!(mles.end(), (0, String::new(), String::new()));
}

#[test]
fn pub_sends_lines_as_they_come() {
    let server = FakeServer::start();
    let mut mles = Mles::start_with(&server, &["pub", "news", "--uid", "alice"], |command| {
        command.env("MLES_KEY", "secret").stdin(Stdio::piped())
    });
    mles.say("one\r\n");
    let mut peer = server.accept();
    let (join, _) = peer.read_join();
    assert_eq!(join.key, Key::from_parts(["secret", "alice", "news"]).0);
    assert_eq!(join.body, body("alice", "news", b"one"));
    mles.say("two\nthr");
    assert_eq!(peer.read_frame().body, body("alice", "news", b"two"));
    mles.say("ee");
    drop(mles.child().stdin.take());
    assert_eq!(peer.read_frame().body, body("alice", "news", b"three"));
    peer.expect_end();
    assert_eq!(mles.end().0, 0);
}

#[test]
fn pub_without_input_sends_nothing() {
    let mut command = mles();
    command.args(["pub", "news", "--server", "127.0.0.1:1"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(taken(&output), (0, String::new(), String::new()));
}

#[test]
fn a_refused_join_has_its_own_exit_code_and_says_why() {
    let server = FakeServer::start();
    for args in [
        &["pub", "news", "one", "--linger", "20s"][..],
        &["pub", "news", "one", "two", "--linger", "20s"],
        &["sub", "news"],
        &["chat", "news"],
    ] {
        for (key, cause) in [
            (&[][..], "mles: join refused: missing key; "),
            (&["--key", "k"], "mles: join refused: wrong key ("),
            (
                &["--addr-key", "k"],
                "mles: join refused: wrong address key",
            ),
        ] {
            let mles = Mles::start_listening(&server, &[args, key].concat());
            server.accept().read_frame();
            let (code, _, stderr) = mles.end();
            assert_eq!(code, 3, "{args:?}: {stderr}");
            assert!(stderr.starts_with(cause), "{args:?}: {stderr}");
            assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
        }
        let mles = Mles::start_listening(&server, &[args, &["-v"]].concat());
        server.accept().read_frame();
        let (code, _, stderr) = mles.end();
        assert_eq!(code, 3, "{args:?}: {stderr}");
        assert!(
            stderr.starts_with("mles: join refused: missing key"),
            "{stderr}"
        );
        for cause in ["log", "NAT", "limit"] {
            assert!(stderr.contains(cause), "{args:?}: no {cause} in {stderr}");
        }
    }
}

#[test]
fn an_unreachable_server_is_exit_code_1() {
    for args in [
        &["pub", "news", "one"][..],
        &["sub", "news"],
        &["chat", "news"],
    ] {
        let mut command = mles();
        command.args(args).args(["--server", "127.0.0.1:1"]);
        let (code, _, stderr) = taken(&command.output().unwrap());
        assert_eq!(code, 1, "{args:?}: {stderr}");
        assert!(stderr.contains("cannot connect to 127.0.0.1:1"), "{stderr}");
    }
}

#[test]
fn bad_input_is_exit_code_2() {
    for (args, hint) in [
        (&["pub"][..], "CHANNEL"),
        (&["sub"], "CHANNEL"),
        (&["pub", "", "x"], "value"),
        (&["chat", "news", "--uid", ""], "value"),
        (&["sub", "news", "--count", "0"], "--count"),
        (
            &["sub", "news", "--server", "http://x"],
            "expected HOST or HOST:PORT",
        ),
        (
            &["sub", "news", "--key-file", "/nonexistent/key"],
            "/nonexistent/key",
        ),
    ] {
        let (code, _, stderr) = taken(&mles().args(args).output().unwrap());
        assert_eq!(code, 2, "{args:?}: {stderr}");
        assert!(stderr.contains(hint), "{args:?}: {stderr}");
    }
}

#[test]
fn sub_prints_messages_and_ends_with_the_count() {
    let server = FakeServer::start();
    let (mles, mut peer) = Mles::join(&server, &["sub", "news", "--count", "2"]);
    peer.send(&frame("bob", "news", ""));
    peer.send(&[frame("bob", "news", "one"), frame("eve", "news", "two")].concat());
    let (code, stdout, stderr) = mles.end();
    assert_eq!(
        (code, stdout.as_str(), stderr.as_str()),
        (0, "one\ntwo\n", "")
    );
}

#[test]
fn sub_prints_json_and_names() {
    let server = FakeServer::start();
    for (args, expected) in [
        (
            &["--json", "-n2"][..],
            "{\"channel\":\"news\",\"uid\":\"b\\\"\\n\",\"message\":\"hi\\n\"}\n\
             {\"channel\":\"news\",\"uid\":\"eve\",\"message_b64\":\"/wA=\"}\n",
        ),
        (&["--verbose", "-n1"], "news b\"\\n: hi\n\n"),
        (&["--verbose", "--joins", "-n1"], "news zoe: \n"),
    ] {
        let (mles, mut peer) = Mles::join(&server, &[&["sub", "news"], args].concat());
        // At once: it may end when it has what it wants.
        let frames = [
            frame("zoe", "news", ""),
            frame("b\"\n", "news", "hi\n"),
            frame("eve", "news", [0xFF, 0]),
        ];
        peer.send(&frames.concat());
        let (code, stdout, stderr) = mles.end();
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, expected, ""));
    }
}

#[test]
fn sub_joins_several_channels_at_once() {
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["sub", "a", "b", "-v", "-n", "2"]);
    let mut peers = [server.accept(), server.accept()];
    for (peer, channel) in peers.iter_mut().zip(["a", "b"]) {
        assert!(
            peer.read_join()
                .0
                .body
                .ends_with(&body("", channel, b"")[6..])
        );
        peer.send(&frame("bob", channel, "x"));
    }
    let (code, stdout, _) = mles.end();
    let mut lines: Vec<_> = stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((code, lines.as_slice()), (0, &["a bob: x", "b bob: x"][..]));
}

#[test]
fn sub_tells_a_lost_connection() {
    let server = FakeServer::start();
    let (mles, mut peer) = Mles::join(&server, &["sub", "news"]);
    peer.send(&frame("bob", "news", "one"));
    drop(peer);
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stdout.as_str()), (1, "one\n"));
    assert!(stderr.contains("closed the connection"), "{stderr}");
}

#[test]
fn sub_comes_back_when_asked_to() {
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["sub", "news", "--reconnect", "-n", "2"]);
    for messages in [&["one"][..], &["one", "two"]] {
        let mut peer = server.accept();
        peer.read_frame();
        for message in messages {
            peer.send(&frame("bob", "news", message));
        }
    }
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stdout.as_str()), (0, "one\ntwo\n"), "{stderr}");
    assert!(stderr.contains("trying again in"), "{stderr}");
}

#[test]
fn sub_ends_quietly_when_its_reader_has_gone() {
    let server = FakeServer::start();
    let (mut mles, mut peer) = Mles::join(&server, &["sub", "news"]);
    peer.send(&frame("bob", "news", "one"));
    let (first, stdout) = mles.first_line();
    assert_eq!(first, "one\n");
    drop(stdout);
    // It learns of it by writing. Not at the first time if a child that another thread has just forked
    // still has the other end of the pipe.
    wait_until("it ends", || {
        // Fails when it has ended.
        let _ = peer.try_send(&frame("bob", "news", "two"));
        mles.child().try_wait().unwrap().is_some()
    });
    assert_eq!(mles.end(), (0, String::new(), String::new()));
}

#[cfg(unix)]
#[test]
fn an_interrupted_sub_has_printed_what_came() {
    let server = FakeServer::start();
    let (mut mles, mut peer) = Mles::join(&server, &["sub", "news"]);
    peer.send(&frame("bob", "news", "one"));
    let (line, _stdout) = mles.first_line();
    mles.signal("-INT");
    assert_eq!((line.as_str(), mles.end().0), ("one\n", 130));
}

#[test]
fn chat_shows_joins_and_messages_and_sends_lines() {
    let server = FakeServer::start();
    let mut mles = Mles::start_listening(&server, &["chat", "lobby", "--uid", "alice"]);
    let mut peer = server.accept();
    assert_eq!(peer.read_join().0.body, body("alice", "lobby", b""));
    peer.send(&frame("bob", "lobby", ""));
    peer.send(&frame("bob", "lobby", "hi\x1b[2J"));
    mles.say("hello\n\n/quit\nignored\n");
    assert_eq!(peer.read_frame().body, body("alice", "lobby", b"hello"));
    peer.expect_end();
    drop(peer);
    let (code, stdout, stderr) = mles.end();
    let expected = "* bob joined\nbob: hi\\u{1b}[2J\n";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (0, expected, ""));
}

#[test]
fn chat_ends_with_its_input_or_its_server() {
    let server = FakeServer::start();
    let (mles, mut peer) = Mles::join(&server, &["chat", "lobby"]);
    peer.send(&frame("bob", "lobby", "history"));
    peer.expect_end();
    assert_eq!(mles.end(), (0, "bob: history\n".into(), String::new()));

    let mut mles = Mles::start_listening(&server, &["chat", "lobby"]);
    let mut peer = server.accept();
    peer.read_frame();
    peer.send(&frame("bob", "lobby", "last words"));
    drop(peer);
    // Its input stays open, which waiting would close: the end of the session ends it.
    let _stdin = mles.child().stdin.take();
    let status = mles.child().wait().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn help_has_examples_and_exit_codes() {
    for command in ["pub", "sub", "chat"] {
        let (code, help, _) = taken(&mles().args([command, "--help"]).output().unwrap());
        assert_eq!(code, 0);
        for part in ["Examples:", "Exit codes:", "--key-file", "[env: MLES_KEY]"] {
            assert!(help.contains(part), "{command}: no {part:?} in\n{help}");
        }
    }
}
