//! The program as a process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::fake_server::{FakeServer, PATIENCE, Peer};

/// A process that is killed when its test ends early.
pub(crate) struct Mles(Option<Child>);

impl Mles {
    pub(crate) fn start(server: &FakeServer, args: &[&str]) -> Self {
        Self::start_with(server, args, |command| command.stdin(Stdio::null()))
    }

    /// Starts one that reads what the test says.
    pub(crate) fn start_listening(server: &FakeServer, args: &[&str]) -> Self {
        Self::start_with(server, args, |command| command.stdin(Stdio::piped()))
    }

    /// Starts one that joins, and takes its join.
    pub(crate) fn join(server: &FakeServer, args: &[&str]) -> (Self, Peer) {
        let mles = Self::start(server, args);
        let mut peer = server.accept();
        peer.read_frame();
        (mles, peer)
    }

    pub(crate) fn start_with(
        server: &FakeServer,
        args: &[&str],
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        Self::start_at(&server.address(), args, set)
    }

    pub(crate) fn start_at(
        server: &str,
        args: &[&str],
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let mut command = mles();
        command.args(args).env("MLES_SERVER", server);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(set(&mut command).spawn().unwrap()))
    }

    /// Waits until it has ended, whatever it writes; the exit code, -1 if a signal has killed it.
    pub(crate) fn code(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child().try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn signal(&mut self, name: &str) {
        let pid = self.child().id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    /// Reads the first line that it prints; what follows can be read from the reader.
    pub(crate) fn first_line(&mut self) -> (String, BufReader<ChildStdout>) {
        let mut stdout = BufReader::new(self.child().stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        (line, stdout)
    }

    pub(crate) fn say(&mut self, text: &str) {
        let stdin = self.child().stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// Closes stdin, waits for the end; exit code, stdout and stderr. One that does not end is killed
    /// after [`PATIENCE`], and its exit code is -1.
    pub(crate) fn end(mut self) -> (i32, String, String) {
        let child = self.0.take().unwrap();
        let pid = child.id().to_string();
        let (over, is_over) = mpsc::channel::<()>();
        let guard = thread::spawn(move || {
            if is_over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        let output = child.wait_with_output().unwrap();
        drop(over);
        guard.join().unwrap();
        taken(&output)
    }
}

impl Drop for Mles {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
        }
    }
}

/// The program, without the settings of whoever runs the tests.
pub(crate) fn mles() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mles"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLES_")) {
        command.env_remove(name);
    }
    command
}

pub(crate) fn taken(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}
