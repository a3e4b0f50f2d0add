//! A network of its own, for programs that listen on a port they cannot be told to change.

use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// A network namespace with nothing but a loopback; gone when its last owner is.
#[derive(Clone, Debug)]
pub(crate) struct Namespace(Arc<Name>);

#[derive(Debug)]
struct Name(String);

impl Namespace {
    /// Says that the running test is skipped where there can be none. That is no failure even where
    /// everything is installed, since it takes root, which not everybody is.
    pub(crate) fn new() -> Option<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = Name(format!("mles-interop-{}-{number}", std::process::id()));
        let is_made = ip(&["netns", "add", &name.0])
            && ip(&["-n", &name.0, "link", "set", "lo", "up"])
            && ip(&["netns", "exec", &name.0, "true"]);
        if !is_made {
            let thread = std::thread::current();
            let test = thread.name().unwrap_or("a test");
            let why = "needs root and network namespaces";
            // Nothing is lost when standard error is closed.
            let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why}");
        }
        is_made.then(|| Self(Arc::new(name)))
    }

    /// Returns a command that runs inside.
    pub(crate) fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.0.0]);
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // What was not made cannot be removed.
        ip(&["netns", "del", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    let output = Command::new("ip").args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
