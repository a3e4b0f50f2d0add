//! Our `mles pub` and `mles sub`, as the programs that users run.

use std::process::Command;

use super::process::Process;
use super::server::our_program;
use super::{Secrets, Server};

/// Publishes one message with `mles pub` and waits until it is done.
pub(crate) fn publish(server: &Server, uid: &str, channel: &str, message: &str) {
    let mut command = client("pub", server, server.secrets(), uid);
    command.args([channel, message]);
    finish(Process::spawn(command));
}

/// Publishes each line through the standard input of one `mles pub`.
pub(crate) fn publish_lines<'a>(
    server: &Server,
    uid: &str,
    channel: &str,
    lines: impl IntoIterator<Item = &'a str>,
) {
    let mut command = client("pub", server, server.secrets(), uid);
    command.arg(channel);
    let mut process = Process::spawn(command);
    for line in lines {
        process.write_line(line);
    }
    process.close_stdin();
    finish(process);
}

/// Starts `mles sub` for `count` messages.
pub(crate) fn subscribe(server: &Server, uid: &str, channel: &str, count: usize) -> Subscriber {
    let mut command = client("sub", server, server.secrets(), uid);
    command.args(["--count", &count.to_string(), channel]);
    Subscriber {
        process: Process::spawn(command),
    }
}

/// A running `mles sub`.
pub(crate) struct Subscriber {
    process: Process,
}

impl Subscriber {
    /// Waits until it has its messages and has ended, and returns what it printed.
    pub(crate) fn lines(mut self) -> Vec<String> {
        let (status, lines) = self.process.wait();
        assert!(status.success(), "`mles sub` ended with {status}");
        lines
    }
}

/// The exit code of `mles sub` or `mles pub` with these secrets instead of the server's.
pub(crate) fn exit_code_with(secrets: Secrets, subcommand: &str, server: &Server) -> Option<i32> {
    let mut command = client(subcommand, server, secrets, "stranger");
    command.arg("cli");
    if subcommand == "pub" {
        command.arg("a message");
    }
    let (status, _) = Process::spawn(command).wait();
    status.code()
}

fn client(subcommand: &str, server: &Server, secrets: Secrets, uid: &str) -> Command {
    let mut command = our_program();
    command.args([
        subcommand,
        "--server",
        &server.address().to_string(),
        "--uid",
        uid,
    ]);
    command.envs(secrets.shared.map(|key| ("MLES_KEY", key)));
    command.envs(secrets.address.map(|key| ("MLES_ADDR_KEY", key)));
    command
}

fn finish(mut process: Process) {
    let (status, _) = process.wait();
    assert!(status.success(), "`mles pub` ended with {status}");
}
