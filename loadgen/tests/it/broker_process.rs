//! A broker started by the program as `compare` starts it, for tests that connect to it themselves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{said, try_loadgen_json};

/// One RabbitMQ at a time: two take so much of a small machine that each keeps the other's clients
/// waiting for longer than they may.
static RABBITMQ: Mutex<()> = Mutex::new(());

/// Returns the turn of a test that starts `broker`, if it has to wait for one.
fn turn(broker: &str) -> Option<MutexGuard<'static, ()>> {
    broker
        .contains("rabbitmq")
        .then(|| RABBITMQ.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A running broker; stopped when dropped.
pub struct Started {
    loadgen: Child,
    pub addr: SocketAddr,
    /// Of the broker's process.
    pub pid: String,
    /// Given up when the broker is gone.
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Started {
    /// Starts `broker`; `None`, said loudly, if it is not installed. Where everything is meant to be,
    /// `LOADGEN_STRICT` makes that a failure.
    pub fn new(broker: &str) -> Option<Self> {
        let turn = turn(broker);
        let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["start", "--broker", broker])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it was built");
        let mut line = String::new();
        let stdout = loadgen.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("it writes text");
        let words: Vec<_> = line.split_whitespace().collect();
        let ["--broker", _, "--addr", addr, "--pid", pid] = words[..] else {
            let mut said = String::new();
            let mut stderr = loadgen.stderr.take().expect("it is piped");
            stderr.read_to_string(&mut said).expect("it writes text");
            loadgen.wait().expect("it is our child");
            assert!(is_missing(&said), "{broker}: {said}");
            return None;
        };
        let addr = addr.parse().expect("it prints an address");
        let pid = pid.to_owned();
        Some(Self {
            loadgen,
            addr,
            pid,
            _turn: turn,
        })
    }
}

impl Drop for Started {
    /// Waits for the program, which waits for the broker.
    fn drop(&mut self) {
        // It may have ended by itself, and then the test has failed for it already.
        let _ = kill_process(Pid::from_child(&self.loadgen), Signal::TERM);
        let _ = self.loadgen.wait();
    }
}

/// Runs the program, which starts a broker itself, and returns its output and the report; `None`,
/// said loudly, if the broker is not installed.
pub fn compare(args: &[&str]) -> Option<(Output, Value)> {
    let _turn = args.iter().find_map(|arg| turn(arg));
    let (output, report) = try_loadgen_json(args);
    match report {
        Ok(report) => Some((output, report)),
        Err(error) => {
            let said = said(&output);
            assert!(is_missing(&said), "{error}; the program said: {said}");
            None
        }
    }
}

/// Returns `true` if the program said that the broker is missing; then the running test is skipped.
fn is_missing(said: &str) -> bool {
    let is_missing = said.contains("is not installed");
    if is_missing {
        skip(said.trim());
    }
    is_missing
}

/// Says that the running test is skipped, past the test harness's capture of output.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        std::env::var_os("LOADGEN_STRICT").is_none(),
        "{test} cannot run: {reason}"
    );
    // Nothing is lost when standard error is closed.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {reason}");
}
