//! Positions, gaps and receipts on the command line.

use std::collections::BTreeSet;
use std::process::Stdio;

use mles::client::{Epoch, Position};
use mles::protocol::{Notice, Welcome};
use serde_json::{Value, json};

use crate::cli_serve::Broker;
use crate::cutting_proxy::CuttingProxy;
use crate::fake_server::{FakeServer, Peer, body, frame};
use crate::program::{Mles, mles, taken};

fn at(offset: u64) -> Position {
    let epoch = Epoch(0xE);
    Position { epoch, offset }
}

/// Answers a join: everything that was missed follows.
fn welcome(peer: &mut Peer, offset: u64, replay: u64) {
    let welcome = Welcome {
        position: at(offset),
        start: None,
        replay,
        recovered: true,
        missed: Some(0),
        published: None,
    };
    peer.send(&Notice::Welcome(welcome).encode());
}

fn send_gap(peer: &mut Peer, missed: u64) {
    let members = false;
    peer.send(&Notice::Gap { missed, members }.encode());
}

fn send_receipt(peer: &mut Peer, count: u64, offset: u64) {
    let position = at(offset);
    peer.send(&Notice::Receipt { count, position }.encode());
}

#[test]
fn objects_have_positions_and_tell_of_gaps() {
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["sub", "news", "--json", "-n", "2"]);
    let mut peer = server.accept();
    assert_eq!(peer.read_join().1.since, None);
    welcome(&mut peer, 7, 1);
    peer.send(&frame("bob", "news", "seven"));
    send_gap(&mut peer, 3);
    peer.send(&frame("bob", "news", "eleven"));
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stderr.as_str()), (0, ""));
    let objects: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let message = |text: &str, position: Position| {
        let position = position.to_string();
        json!({"channel": "news", "uid": "bob", "message": text, "position": position})
    };
    let expected = [
        message("seven", at(7)),
        json!({"channel": "news", "gap": {"missed": 3}}),
        message("eleven", at(11)),
    ];
    assert_eq!(objects, expected);
}

/// Sends who is there, a message, and who has come and left since, and a last message.
fn tell_members(peer: &mut Peer) {
    welcome(peer, 7, 0);
    let uids = vec!["alice".into(), "b\u{1b}b".into()];
    peer.send(&Notice::Members { count: 3, uids }.encode());
    peer.send(&frame("bob", "news", "eight"));
    let changes = Notice::Changes {
        count: 1,
        joined: vec!["zoe".into()],
        left: vec!["alice".into(), "bob".into(), "zoe".into()],
    };
    peer.send(&changes.encode());
    peer.send(&frame("bob", "news", "nine"));
}

#[test]
fn members_are_objects_among_the_messages() {
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["sub", "news", "--members", "--json", "-n", "2"]);
    let mut peer = server.accept();
    assert_eq!(peer.read_join().1.members, Some(1000));
    tell_members(&mut peer);
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stderr.as_str()), (0, ""));
    let objects: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(objects.len(), 4, "{stdout}");
    let members = json!({"count": 3, "uids": ["alice", "b\u{1b}b"]});
    assert_eq!(objects[0], json!({"channel": "news", "members": members}));
    assert_eq!(objects[1]["message"], "eight");
    let changes = json!({"count": 1, "joined": ["zoe"], "left": ["alice", "bob", "zoe"]});
    assert_eq!(objects[2], json!({"channel": "news", "changes": changes}));
    assert_eq!(objects[3]["message"], "nine");
}

#[test]
fn members_are_lines_on_standard_error() {
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["sub", "news", "--members", "-n", "2"]);
    let mut peer = server.accept();
    peer.read_join();
    tell_members(&mut peer);
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stdout.as_str()), (0, "eight\nnine\n"));
    let expected = "mles: 3 members on \"news\": alice, b\\u{1b}b, and 1 more\n\
                    mles: 1 member on \"news\": zoe joined, alice left, bob left, zoe left\n";
    assert_eq!(stderr, expected);
}

#[test]
fn a_gap_is_a_line_on_standard_error() {
    let server = FakeServer::start();
    let since = at(7).to_string();
    let args = ["sub", "news", "--since", &since, "-n", "2"];
    let mles = Mles::start(&server, &args);
    let mut peer = server.accept();
    assert_eq!(peer.read_join().1.since, Some(at(7)));
    let welcome = Welcome {
        position: at(1),
        start: None,
        replay: 1,
        recovered: false,
        missed: None,
        published: None,
    };
    peer.send(&Notice::Welcome(welcome).encode());
    peer.send(&frame("bob", "news", "one"));
    send_gap(&mut peer, 1);
    peer.send(&frame("bob", "news", "three"));
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stdout.as_str()), (0, "one\nthree\n"));
    assert_eq!(
        stderr,
        "mles: messages may be missing here on \"news\": the server does not know what came before\n\
         mles: 1 message missing here on \"news\"\n"
    );
}

#[test]
fn a_template_shows_positions() {
    let server = FakeServer::start();
    let args = ["sub", "news", "-n1", "--format", "{position} {message}"];
    let mles = Mles::start(&server, &args);
    let mut peer = server.accept();
    peer.read_join();
    welcome(&mut peer, 1, 1);
    peer.send(&frame("bob", "news", "one"));
    let expected = format!("{} one\n", at(1));
    assert_eq!(mles.end(), (0, expected, String::new()));
}

#[test]
fn a_chat_shows_a_gap_where_it_is() {
    let server = FakeServer::start();
    let args = ["chat", "news", "--uid", "alice", "--reconnect"];
    let mut mles = Mles::start_listening(&server, &args);
    let mut peer = server.accept();
    peer.read_join();
    welcome(&mut peer, 0, 0);
    peer.send(&frame("bob", "news", "one"));
    send_gap(&mut peer, 2);
    peer.send(&frame("bob", "news", "four"));
    let (line, mut stdout) = mles.first_line();
    assert_eq!(line, "bob: one\n");
    let mut rest = String::new();
    for _ in 0..2 {
        std::io::BufRead::read_line(&mut stdout, &mut rest).unwrap();
    }
    assert_eq!(rest, "* 2 messages missing here on \"news\"\nbob: four\n");
    mles.say("/quit\n");
    assert_eq!(mles.code(), 0);
}

#[test]
fn what_cannot_be_asked_for_is_told_in_one_line() {
    let since = at(7).to_string();
    for (args, part) in [
        (
            &["sub", "news", "--since", "yesterday"][..],
            "not a position",
        ),
        (&["sub", "news", "--since", ""], "--since"),
        (&["sub", "news", "--since", "7"], "not a position"),
        (&["sub", "news", "more", "--since", &since], "one channel"),
        (
            &["sub", "news", "--no-history", "--since", &since],
            "cannot be used with",
        ),
        (
            &["pub", "news", "x", "--confirm", "--allow-empty"],
            "cannot be used with",
        ),
    ] {
        let mut command = mles();
        command.args(args).args(["--server", "127.0.0.1:1"]);
        let (code, stdout, stderr) = taken(&command.output().unwrap());
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn confirmed_messages_are_sent_together_and_their_positions_printed() {
    let server = FakeServer::start();
    let args = ["pub", "news", "--uid", "alice", "--confirm"];
    let mut mles = Mles::start_listening(&server, &args);
    mles.say("one\ntwo\nthree\n");
    drop(mles.child().stdin.take());
    let mut peer = server.accept();
    let (join, request) = peer.read_join();
    assert_eq!(join.body, body("alice", "news", b"one"));
    assert_eq!((request.since, request.publisher), (None, None));
    welcome(&mut peer, 4, 0);
    for message in [&b"two"[..], b"three"] {
        assert_eq!(peer.read_frame().body, body("alice", "news", message));
    }
    send_receipt(&mut peer, 1, 5);
    peer.send(&frame("bob", "news", "six"));
    send_receipt(&mut peer, 2, 8);
    let expected = format!("{}\n{}\n{}\n", at(5), at(7), at(8));
    assert_eq!(mles.end(), (0, expected, String::new()));
}

#[test]
fn what_is_not_confirmed_is_a_failure() {
    // A server that gives no positions.
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["pub", "news", "one", "two", "--confirm"]);
    let mut peer = server.accept();
    peer.read_join();
    peer.send(&frame("bob", "news", "old"));
    let (code, stdout, stderr) = mles.end();
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(stderr.contains("the server does not confirm"), "{stderr}");
    assert!(stderr.contains("0 of 1 message was confirmed"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    peer.expect_end();

    // One that goes away.
    let server = FakeServer::start();
    let mles = Mles::start(&server, &["pub", "news", "one", "two", "--confirm"]);
    let mut peer = server.accept();
    peer.read_join();
    welcome(&mut peer, 0, 0);
    send_receipt(&mut peer, 1, 1);
    peer.read_frame();
    drop(peer);
    let (code, stdout, stderr) = mles.end();
    assert_eq!(code, 1, "{stderr}");
    assert_eq!(stdout, format!("{}\n", at(1)));
    assert!(
        stderr.contains("1 of 2 messages were confirmed"),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn a_later_command_goes_on_where_an_earlier_one_stopped() {
    let broker = Broker::start(&[]);
    let server = broker.server();
    let run = |args: &[&str]| {
        let mut command = mles();
        command.args(args).args(["--server", &server]);
        let (code, stdout, stderr) = taken(&command.stdin(Stdio::null()).output().unwrap());
        assert_eq!((code, stderr.as_str()), (0, ""), "{args:?}");
        stdout
    };
    let printed = run(&["pub", "news", "one", "two", "three", "--confirm"]);
    let positions: Vec<_> = printed.lines().collect();
    assert_eq!(positions.len(), 3, "{printed}");
    let since = run(&["sub", "news", "--since", positions[0], "-n2"]);
    assert_eq!(since, "two\nthree\n");
    let all = run(&["sub", "news", "-n3", "--format", "{position}"]);
    assert_eq!(all, printed);
    let lines: Vec<Value> = run(&["sub", "news", "--since", positions[1], "-n1", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["position"], positions[2]);
}

#[test]
fn pub_reconnects_until_each_message_is_confirmed_and_there_once() {
    const MESSAGES: usize = 400;
    let broker = Broker::start(&[]);
    let proxy = CuttingProxy::start(broker.server().parse().unwrap());
    let mut publisher = mles();
    publisher.args([
        "pub",
        "news",
        "--confirm",
        "--reconnect",
        "--interval",
        "2ms",
    ]);
    publisher.args(["--count", &MESSAGES.to_string(), "again"]);
    publisher.args(["--server", &proxy.address()]);
    publisher.stdout(Stdio::piped()).stderr(Stdio::piped());
    let publisher = publisher.spawn().unwrap();
    let sub = |count: &str| {
        let mut sub = mles();
        sub.args(["sub", "news", "-n", count, "--server", &broker.server()]);
        taken(&sub.output().unwrap()).1
    };
    let mut cuts = 0;
    for so_far in ["1", "100", "200"] {
        assert_eq!(sub(so_far).lines().count().to_string(), so_far);
        cuts += proxy.cut();
    }
    assert!(cuts > 0, "nothing was cut");
    let (code, stdout, stderr) = taken(&publisher.wait_with_output().unwrap());
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("trying again"), "{stderr}");
    let positions: BTreeSet<_> = stdout.lines().collect();
    assert_eq!(
        (stdout.lines().count(), positions.len()),
        (MESSAGES, MESSAGES)
    );
    // One more, and it is the next behind all of them.
    let mut one = mles();
    one.args([
        "pub",
        "news",
        "one",
        "--confirm",
        "--server",
        &broker.server(),
    ]);
    let printed = taken(&one.output().unwrap()).1;
    let last: Position = printed.trim_end().parse().unwrap();
    assert_eq!(last.offset, MESSAGES as u64 + 1);
}
