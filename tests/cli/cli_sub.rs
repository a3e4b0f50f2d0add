//! What `mles sub` prints, and when it ends.

use std::process::{Output, Stdio};

use crate::cli_serve::Broker;
use crate::fake_server::{FakeServer, frame};
use crate::program::{Mles, mles, taken};

/// The messages of a server to a `sub`: exit code, standard output and error.
fn printed(args: &[&str], frames: &[Vec<u8>]) -> (i32, String, String) {
    let server = FakeServer::start();
    let (mles, mut peer) = Mles::join(&server, &[&["sub", "news"], args].concat());
    peer.send(&frames.concat());
    mles.end()
}

#[test]
fn a_template_says_how_messages_are_printed() {
    let frames = [
        frame("bob", "news", "hi"),
        frame("e\u{1b}ve", "news", [0xFF, 0]),
    ];
    for (template, expected) in [
        ("{channel} {uid}", "news bob\nnews e\\u{1b}ve\n"),
        ("{hex},{base64},{length}", "6869,aGk=,2\nff00,/wA=,2\n"),
        (r"\t{{{uid}}}", "\t{bob}\n\t{e\\u{1b}ve}\n"),
        ("fixed", "fixed\nfixed\n"),
    ] {
        let ended = printed(&["-C", "2", "--format", template], &frames);
        assert_eq!(ended, (0, expected.to_owned(), String::new()), "{template}");
    }
    let (_, stdout, _) = printed(&["-C", "1", "--format", "{time}|{message}"], &frames);
    expect_time(stdout.trim_end().strip_suffix("|hi").unwrap());
}

/// Expects a time such as `2026-11-27T01:02:03.456Z`.
fn expect_time(text: &str) {
    let shape = text.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(shape, "0000-00-00T00:00:00.000Z", "{text}");
}

#[test]
fn times_go_in_front_or_into_the_object() {
    let frames = [frame("bob", "news", "hi")];
    let (_, stdout, _) = printed(&["-n1", "--timestamps"], &frames);
    let (time, rest) = stdout.split_once(' ').unwrap();
    expect_time(time);
    assert_eq!(rest, "hi\n");
    let (_, stdout, _) = printed(&["-n1", "--timestamps", "-v"], &frames);
    let (time, rest) = stdout.split_once(' ').unwrap();
    expect_time(time);
    assert_eq!(rest, "news bob: hi\n");
    let (_, stdout, _) = printed(&["-n1", "--timestamps", "--json", "-v"], &frames);
    let object: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    expect_time(object["time"].as_str().unwrap());
    assert_eq!(object["message"], "hi");
}

#[test]
fn a_time_limit_ends_it_and_tells_what_is_missing() {
    let frames = [frame("bob", "news", "one")];
    let ended = printed(&["--timeout", "1s"], &frames);
    assert_eq!(ended, (0, "one\n".into(), String::new()));
    let (code, stdout, stderr) = printed(&["--count", "2", "-W", "1"], &frames);
    assert_eq!((code, stdout.as_str()), (124, "one\n"));
    assert_eq!(stderr, "mles: timed out after 1s with 1 of 2 messages\n");
    let ended = printed(&["--count", "1", "--timeout", "1h"], &frames);
    assert_eq!(ended, (0, "one\n".into(), String::new()));
}

#[test]
fn a_time_limit_holds_while_there_is_no_server() {
    let mut command = mles();
    command.args(["sub", "news", "--reconnect", "-n1", "-W", "300ms"]);
    command.args(["--server", "127.0.0.1:1"]);
    let (code, stdout, stderr) = taken(&command.output().unwrap());
    assert_eq!((code, stdout.as_str()), (124, ""), "{stderr}");
    assert!(stderr.contains("cannot connect"), "{stderr}");
    assert!(
        stderr.contains("timed out after 300ms with 0 of 1 message"),
        "{stderr}"
    );
}

#[test]
fn what_cannot_be_printed_is_told_in_one_line_up_front() {
    for (args, part) in [
        (&["--format", "{user}"][..], "{channel} {uid} {message}"),
        (&["--format", "{uid"], "not closed"),
        (&["--format", r"\x"], "backslash"),
        (&["--format", "{uid}", "--json"], "cannot be used with"),
        (
            &["--format", "{uid}", "--timestamps"],
            "cannot be used with",
        ),
        (&["--timeout", "5 parsecs"], "200ms"),
        (&["--timeout", ""], "200ms"),
        (&["--count", "none"], "--count"),
        (&["--server", "broker:99999"], "HOST or HOST:PORT"),
        (&["--server", "::1:x:"], "cannot connect"),
        (&["--server", "[::1"], "HOST or HOST:PORT"),
        (&["--server", "http://broker"], "HOST or HOST:PORT"),
    ] {
        let output = mles().args(["sub", "news"]).args(args).output().unwrap();
        let (code, stdout, stderr) = taken(&output);
        assert_eq!(
            (code, stdout.as_str()),
            (if part == "cannot connect" { 1 } else { 2 }, ""),
            "{args:?}: {stderr}"
        );
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn every_form_of_a_server_is_taken() {
    let broker = Broker::start(&["--listen", "[::1]:0"]);
    let port = broker.server().rsplit_once(':').unwrap().1.to_owned();
    run(&[
        "pub",
        "room",
        "hello",
        "--server",
        &format!("localhost:{port}"),
    ]);
    for host in ["localhost", "127.0.0.1", "LOCALHOST"] {
        let server = format!("{host}:{port}");
        let output = run(&["sub", "room", "-n1", "-s", &server]);
        assert_eq!(output.stdout, b"hello\n", "{server}");
    }
}

fn run(args: &[&str]) -> Output {
    let output = mles().args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    output
}

/// Starts a `sub` without history and publishes numbers until it has printed three lines.
fn without_history(broker: &Broker, args: &[&str]) -> String {
    let server = broker.server();
    let args = [&["sub", "room", "--no-history", "--count", "3"], args].concat();
    let mut sub = Mles::start_at(&server, &args, |command| command.stdin(Stdio::null()));
    for number in 1.. {
        let message = format!("new {number}");
        run(&["pub", "room", "--uid", "bob", "--server", &server, &message]);
        if sub.child().try_wait().unwrap().is_some() {
            break;
        }
    }
    let (code, stdout, stderr) = sub.end();
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    stdout
}

#[test]
fn history_is_left_out_and_nothing_else() {
    let broker = Broker::start(&[]);
    for is_empty in [true, false] {
        if !is_empty {
            run(&[
                "pub",
                "room",
                "old 1",
                "old 2",
                "--server",
                &broker.server(),
            ]);
        }
        // Neither of its own joins is printed.
        let stdout = without_history(&broker, &["--joins", "--verbose"]);
        let numbers: Vec<u32> = stdout
            .lines()
            .map(|line| {
                line.strip_prefix("room bob: new ")
                    .expect(line)
                    .parse()
                    .unwrap()
            })
            .collect();
        assert_eq!(
            numbers,
            [numbers[0], numbers[0] + 1, numbers[0] + 2],
            "{stdout}"
        );
    }
}

#[test]
fn a_server_that_announces_nothing_is_pointed_out() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("quiet.toml");
    std::fs::write(&config, "[channel]\nannounce_joins = false\n").unwrap();
    let broker = Broker::start(&["--config", config.to_str().unwrap()]);
    let server = broker.server();
    run(&["pub", "room", "old", "--server", &server]);
    let mut sub = Mles::start_at(&server, &["sub", "room", "--no-history"], |command| {
        command.stdin(Stdio::null())
    });
    let mut told = std::io::BufReader::new(sub.child().stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert!(line.contains("announce_joins"), "{line}");
    run(&["pub", "room", "new", "--server", &server]);
    let (line, _stdout) = sub.first_line();
    assert_eq!(line, "new\n");
}
