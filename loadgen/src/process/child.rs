//! A process that ends with the value that stands for it.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::recipe::Invocation;

/// How long a process may take to end after SIGTERM; then it is killed. RabbitMQ takes three
/// seconds when nobody is connected.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Between two looks while waiting for something about a process.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A process started here; stopped when dropped.
#[derive(Debug)]
pub(super) struct OwnChild(Child);

impl OwnChild {
    /// Starts a process that writes all its output to `log`.
    ///
    /// # Errors
    /// The system does not start it, or `log` cannot be written.
    pub(super) fn spawn(invocation: &Invocation, log: &Path) -> io::Result<Self> {
        let out = File::create(log)?;
        let mut command = Command::new(&invocation.program);
        // Settings of `mles` that its user has in the environment are not those that compare.
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"MLES_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(&invocation.args)
            .envs(invocation.env.iter().map(|(name, value)| (name, value)))
            // A group of its own: Ctrl-C on the terminal must not end it while it is measured; it is
            // stopped when this program comes to that.
            .process_group(0)
            // An end that stays open as long as this program lives: the reference server takes the
            // end of its input as its own.
            .stdin(Stdio::piped())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Self(child))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns how it ended, if it has.
    ///
    /// # Errors
    /// The system does not tell.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// Asks it to end. That cannot fail but for a process that has ended already.
    pub(super) fn terminate(&mut self) {
        if self.is_there() {
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        }
    }

    fn is_there(&mut self) -> bool {
        matches!(self.ended(), Ok(None))
    }
}

impl Drop for OwnChild {
    /// Sends SIGTERM, then after [`STOP_DEADLINE`] SIGKILL. Neither can fail but for a process that has
    /// ended already.
    fn drop(&mut self) {
        let deadline = Instant::now() + STOP_DEADLINE;
        self.terminate();
        while self.is_there() && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
