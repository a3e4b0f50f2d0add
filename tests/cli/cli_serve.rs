//! `mles serve` as a process: what it says, how it stops, what it refuses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

/// A broker process that is killed when the test is over, however that ends.
pub(crate) struct Broker {
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
}

fn command(args: &[&str]) -> Command {
    clean_command(env!("CARGO_BIN_EXE_mles"), args)
}

/// A command with nothing of the caller's settings in its environment.
fn clean_command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLES_")) {
        command.env_remove(name);
    }
    command
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .stdin(Stdio::null());
    command
}

impl Broker {
    pub(crate) fn start(args: &[&str]) -> Self {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut child = command(&args).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let address = ([0, 0, 0, 0], 0).into();
        let mut broker = Self {
            child,
            log,
            address,
        };
        broker.address = broker.read_address();
        broker
    }

    /// The first address in its log: where it listens.
    fn read_address(&mut self) -> SocketAddr {
        loop {
            let mut line = String::new();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "ended before it listened"
            );
            let words = line.split(|c: char| c.is_whitespace() || matches!(c, '"' | ',' | ';'));
            if let Some(address) = words.filter_map(|word| word.parse().ok()).next() {
                return address;
            }
        }
    }

    pub(crate) fn server(&self) -> String {
        self.address.to_string()
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Reads its log until a line has `part` in it.
    fn wait_for_line(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "ended before it said {part}"
            );
        }
    }

    /// Asks for its counters until they have `part` in them.
    pub(crate) fn wait_for(&mut self, part: &str) {
        let mut line = String::new();
        while !line.contains(part) {
            self.signal("-USR1");
            line.clear();
            assert!(
                self.log.read_line(&mut line).unwrap() > 0,
                "ended before {part}"
            );
        }
    }

    /// Waits for its end and returns the exit code and what else it has said.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

#[test]
fn a_message_goes_from_pub_to_sub() {
    let broker = Broker::start(&[]);
    let published = run(&["pub", "room", "hello", "--server", &broker.server()]);
    assert!(published.status.success(), "{published:?}");
    // The history makes the order of the two commands immaterial.
    let received = run(&["sub", "room", "--count", "1", "--server", &broker.server()]);
    assert!(received.status.success(), "{received:?}");
    assert_eq!(received.stdout, b"hello\n");
    broker.signal("-TERM");
    assert_eq!(broker.end().0, Some(0));
}

#[test]
fn a_wrong_key_is_refused_with_a_code_of_its_own() {
    let broker = Broker::start(&["--key", "sesame"]);
    let server = broker.server();
    let refused = run(&[
        "sub", "room", "--count", "1", "--key", "wrong", "--server", &server,
    ]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    let right = run(&[
        "pub", "room", "hello", "--key", "sesame", "--server", &server,
    ]);
    assert!(right.status.success(), "{right:?}");
    broker.signal("-INT");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("wrong key"), "{log}");
    assert!(!log.contains("sesame"), "the key is in the log: {log}");
}

#[test]
fn sigusr1_logs_what_was_done() {
    let mut broker = Broker::start(&[]);
    broker.signal("-USR1");
    broker.wait_for_line("accepted=0");
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut broker = Broker::start(&["--drain-deadline", "1h", "--write-deadline", "1h"]);
    let server = broker.server();
    // Nobody reads what it prints: it stops reading in turn, and the drain has to wait for it.
    let mut stuck = command(&["sub", "room", "--server", &server])
        .spawn()
        .unwrap();
    broker.wait_for("joined=1");
    let large = "x".repeat(1 << 20);
    let mut publisher = command(&["pub", "room", "--server", &server]);
    let mut publisher = publisher.stdin(Stdio::piped()).spawn().unwrap();
    let mut lines = publisher.stdin.take().unwrap();
    for _ in 0..16 {
        writeln!(lines, "{large}").unwrap();
    }
    drop(lines);
    assert!(publisher.wait().unwrap().success());
    broker.signal("-TERM");
    broker.wait_for_line("draining");
    broker.signal("-TERM");
    let (code, log) = broker.end();
    stuck.kill().unwrap();
    stuck.wait().unwrap();
    assert_eq!(code, Some(128 + 15), "{log}");
}

#[test]
fn an_address_in_use_is_told_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(&["serve", "--listen", &address]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains(&address) && error.contains("--listen"),
        "{error}"
    );
}

#[test]
fn two_brokers_do_not_share_a_port_unnoticed() {
    let first = Broker::start(&[]);
    let output = run(&["serve", "--listen", &first.server()]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn listening_beyond_this_machine_needs_a_key() {
    let output = run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--allow-anonymous"), "{error}");
}

#[test]
fn json_logs_are_objects_and_escape_names() {
    let broker = Broker::start(&["--log-format", "json", "--key", "right"]);
    let name = "ro\nom\u{1b}[2J";
    run(&[
        "sub",
        name,
        "--count",
        "1",
        "--key",
        "wrong",
        "--server",
        &broker.server(),
    ]);
    broker.signal("-TERM");
    let (code, log) = broker.end();
    assert_eq!(code, Some(0));
    let mut refused = 0;
    for line in log.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = object.to_string();
        refused += usize::from(text.contains("wrong key"));
        assert!(
            !text.contains("ro\\nom") && !text.contains("\\u001b"),
            "{text}"
        );
    }
    assert_eq!(refused, 1, "{log}");
}

#[test]
fn a_number_of_connections_that_cannot_be_had_is_told() {
    let mles = env!("CARGO_BIN_EXE_mles");
    let limited = |option: &str| {
        let script = format!("ulimit -n 256 && exec {mles} serve --listen 127.0.0.1:0 {option}");
        let mut child = clean_command("sh", &["-c", &script]).spawn().unwrap();
        let mut line = String::new();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        log.read_line(&mut line).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        line
    };
    let asked_for = limited("--max-connections 5000");
    assert!(asked_for.contains("WARN"), "{asked_for}");
    assert!(asked_for.contains("from 5000 to"), "{asked_for}");
    let default = limited("");
    assert!(default.contains("INFO"), "{default}");
    assert!(default.contains("limit of open files is 256"), "{default}");
}
