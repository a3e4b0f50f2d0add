//! Histories on disk on the command line: options, what a start says, and what is there after a restart.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::cli_serve::Broker;
use crate::program::{mles, taken};

/// Options of a server whose channels are on disk in `dir`.
fn on_disk(dir: &Path) -> Vec<String> {
    let dir = dir.to_str().unwrap().to_owned();
    ["--history", "disk", "--store-dir", &dir]
        .map(str::to_owned)
        .to_vec()
}

fn start(dir: &Path) -> Broker {
    let options = on_disk(dir);
    Broker::start(&options.iter().map(String::as_str).collect::<Vec<_>>())
}

fn run(args: &[&str], broker: &Broker) -> (i32, String, String) {
    let mut command = mles();
    command.args(args).env("MLES_SERVER", broker.server());
    taken(&command.output().unwrap())
}

/// Starts a server that cannot start. Returns its exit code and what it says.
fn refused(args: &[&str]) -> (i32, String) {
    let mut command = mles();
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(args);
    let (code, _, stderr) = taken(&command.output().unwrap());
    (code, stderr)
}

#[test]
fn what_was_published_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let broker = start(dir.path());
    let mut positions = Vec::new();
    for text in ["one", "two", "three"] {
        let (code, out, err) = run(&["pub", "room", text, "--confirm"], &broker);
        assert_eq!((code, &*err), (0, ""));
        positions.push(out.trim().to_owned());
    }
    broker.signal("-TERM");
    assert_eq!(broker.end().0, Some(0));

    let broker = start(dir.path());
    let since = ["sub", "room", "--since", &positions[0], "--count", "2"];
    assert_eq!(run(&since, &broker), (0, "two\nthree\n".into(), "".into()));
    let (code, out, _) = run(&["pub", "room", "four", "--confirm"], &broker);
    let (epoch, _) = positions[0].split_once(':').unwrap();
    assert_eq!((code, out.trim()), (0, &*format!("{epoch}:4")));
}

#[test]
fn a_stop_that_loses_messages_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = on_disk(dir.path());
    options.extend(["--store-min-free", "1000000GiB"].map(str::to_owned));
    let broker = Broker::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let (code, _, err) = run(&["pub", "room", "one", "--confirm"], &broker);
    assert_eq!((code, &*err), (0, ""));
    broker.signal("-TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(74), "{log}");
    let line = "stopped before the store had all histories: what is missing there is lost";
    assert!(log.contains(line), "{log}");
}

#[test]
fn a_service_manager_may_name_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = mles();
    command.args(["check-config", "/dev/null"]);
    command.env("MLES_HISTORY", "disk");
    command.env("STATE_DIRECTORY", dir.path());
    let (code, out, err) = taken(&command.output().unwrap());
    assert_eq!(code, 0, "{err}");
    let line = format!("dir = {:?}", dir.path());
    assert!(out.contains(&line), "{out}");
}

#[test]
fn a_directory_that_cannot_be_used_is_told_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "hello").unwrap();
    for dir in [file.clone(), file.join("below")] {
        let options = on_disk(&dir);
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        let (code, err) = refused(&options);
        let lines: Vec<_> = err
            .lines()
            .filter(|line| line.starts_with("mles: "))
            .collect();
        let expected = format!(
            "mles: the store needs a directory, and {} is not one",
            file.display()
        );
        assert_eq!((code, &lines[..]), (1, &[expected.as_str()][..]), "{err}");
    }
    let (code, err) = refused(&["--history", "disk"]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("(--store-dir)"), "{err}");
}

#[test]
fn a_second_server_on_one_store_does_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let first = start(dir.path());
    let options = on_disk(dir.path());
    let options: Vec<_> = options.iter().map(String::as_str).collect();
    let (code, err) = refused(&options);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("in use by another process"), "{err}");
    let (code, _, err) = run(&["pub", "room", "hello", "--confirm"], &first);
    assert_eq!((code, &*err), (0, ""));
}

#[test]
fn a_process_that_is_stopped_for_a_while_loses_nothing_and_doubles_nothing() {
    const EACH: usize = 1000;
    let dir = tempfile::tempdir().unwrap();
    let mut options = on_disk(dir.path());
    let more = ["--store-sync", "batch", "--history-limit", "10000"];
    options.extend(more.map(str::to_owned));
    let broker = Broker::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let (receipt, receipts) = mpsc::channel();
    let publishers: Vec<_> = ["a", "b"]
        .map(|uid| {
            let (mut publisher, receipt) = (publisher(&broker, uid, EACH), receipt.clone());
            thread::spawn(move || {
                let receipts = BufReader::new(publisher.stdout.take().unwrap()).lines();
                receipts.for_each(|line| receipt.send(line.unwrap()).unwrap());
                assert!(publisher.wait().unwrap().success());
            })
        })
        .into();
    drop(receipt);
    let mut positions = HashSet::new();
    for _ in 0..4 {
        positions.extend(receipts.iter().take(EACH / 4));
        broker.signal("-STOP");
        // So long that its clients notice, and its deadlines have passed.
        thread::sleep(Duration::from_millis(400));
        broker.signal("-CONT");
    }
    positions.extend(receipts.iter());
    publishers
        .into_iter()
        .for_each(|publisher| publisher.join().unwrap());
    assert_eq!(
        positions.len(),
        2 * EACH,
        "each message has a place of its own"
    );

    // As it is after a kill, too.
    broker.signal("-KILL");
    assert_eq!(broker.end().0, None);
    let broker = Broker::start(&options.iter().map(String::as_str).collect::<Vec<_>>());
    let count = (2 * EACH).to_string();
    let (code, out, err) = run(&["sub", "room", "--count", &count], &broker);
    assert_eq!((code, &*err), (0, ""));
    for uid in ["a", "b"] {
        let own = out.lines().filter(|line| line.starts_with(uid));
        let sent = (0..EACH).map(|number| format!("{uid} {number}"));
        assert!(own.eq(sent), "{uid}: {out}");
    }
}

/// Starts to publish so many messages, each with who has sent it and its number.
fn publisher(broker: &Broker, uid: &str, messages: usize) -> Child {
    let mut command = mles();
    command.args(["pub", "room", "--uid", uid, "--confirm", "--reconnect"]);
    command.env("MLES_SERVER", broker.server());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut lines, uid) = (child.stdin.take().unwrap(), uid.to_owned());
    thread::spawn(move || {
        for number in 0..messages {
            writeln!(lines, "{uid} {number}").unwrap();
        }
    });
    child
}
