//! The `mles-client` 2.2.0 program: Mles v2, with encryption from one member to the other.
//!
//! It reads its passphrase from the terminal, so it gets one, from `script` (util-linux). Each time
//! something changes it draws the whole screen, so a message is looked for in any drawing, and is
//! shown once however often it is drawn.

use std::path::PathBuf;
use std::process::Command;

use super::process::Process;
use super::{Secrets, Server, in_package, skip};

/// A running client.
pub(crate) struct ChatV2 {
    process: Process,
}

impl ChatV2 {
    /// Returns `true` if it is there; if not, says that the running test is skipped.
    pub(crate) fn is_installed() -> bool {
        let installed = binary().is_file();
        if !installed {
            skip(
                "no mles-client 2.2.0; in interop/ run `cargo install mles-client \
                 --version 2.2.0 --locked --root target/reference-v2`",
            );
        }
        installed
    }

    /// Starts one and types its passphrase. It tells nobody when it has joined.
    pub(crate) fn start(server: &Server, uid: &str, channel: &str, passphrase: &str) -> Self {
        Self::start_with(server, server.secrets(), uid, channel, passphrase)
    }

    /// Starts a client with other secrets than the server's.
    pub(crate) fn start_with(
        server: &Server,
        secrets: Secrets,
        uid: &str,
        channel: &str,
        passphrase: &str,
    ) -> Self {
        let url = server.ws_url();
        let binary = binary();
        // A screen that all messages fit on, and no echo of what is typed.
        let line = format!(
            "stty -echo rows 200 cols 200; \
             exec '{}' --server {url} --channel {channel} --uid {uid}",
            binary.display()
        );
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.env("SHELL", "/bin/sh").env_remove("MLES_KEY");
        command.envs(secrets.shared.map(|key| ("MLES_KEY", key)));
        let mut process = Process::spawn(command);
        process.write_line(passphrase);
        Self { process }
    }

    /// Types a line, which becomes a message.
    pub(crate) fn say(&mut self, line: &str) {
        self.process.write_line(line);
    }

    /// Waits until it shows `text` as a message from `uid`.
    pub(crate) fn expect(&self, uid: &str, text: &str) {
        let wanted = format!("{uid}: {text}");
        self.process.wait_for(&wanted, |line| {
            (message(line).as_deref() == Some(&*wanted)).then_some(())
        });
    }

    /// The messages shown so far, its own included, as `uid: text`.
    pub(crate) fn shown(&self) -> Vec<String> {
        let mut messages: Vec<String> = Vec::new();
        for message in self
            .process
            .stdout()
            .iter()
            .filter_map(|line| message(line))
        {
            if !messages.contains(&message) {
                messages.push(message);
            }
        }
        messages
    }

    /// Waits until it has ended because the server has closed the connection.
    pub(crate) fn wait_for_end(mut self) {
        self.process.wait();
    }
}

/// A running client that forwards between two servers.
pub(crate) struct ProxyV2 {
    _process: Process,
}

impl ProxyV2 {
    /// Starts one and waits until it has joined the channel on both.
    pub(crate) fn start(servers: [&Server; 2], uid: &str, channel: &str) -> Self {
        let [first, second] = servers.map(Server::ws_url);
        let mut command = Command::new(binary());
        command.args(["--server", &first, "--proxy-server", &second]);
        command.args(["--channel", channel, "--uid", uid]);
        command.env_remove("MLES_KEY");
        let process = Process::spawn(command);
        process.wait_for("that it is up", |line| {
            line.starts_with("Proxy established").then_some(())
        });
        Self { _process: process }
    }
}

fn binary() -> PathBuf {
    in_package("target/reference-v2/bin/mles-client")
}

/// The message in a line on the screen: behind the time that it was sent, without colours.
fn message(line: &str) -> Option<String> {
    let plain = without_escapes(line);
    // The prompt of the drawing before is in front.
    let drawn = plain.trim_end_matches('\r').rsplit('\r').next()?;
    let drawn = drawn.trim_start_matches("> ");
    // A day is there too around midnight.
    let message = drawn.trim_start_matches(|c: char| c.is_ascii_digit() || "-: ".contains(c));
    (message.len() < drawn.len() && message.contains(": ")).then(|| message.to_owned())
}

/// A line without what begins with ESC and `[` and ends with a letter.
fn without_escapes(line: &str) -> String {
    let mut parts = line.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c.is_ascii_alphabetic());
        plain.push_str(end.map_or("", |end| &part[end + 1..]));
    }
    plain
}
