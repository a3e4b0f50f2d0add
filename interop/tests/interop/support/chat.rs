//! The `mles-client` 1.1.7 program, driven through its prompts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;

use super::process::Process;
use super::{Namespace, Secrets, Server, in_package, skip};

/// What it asks for before it joins: the uid and the channel.
const QUESTIONS: [&str; 2] = ["User name?", "Channel?"];

/// A running `mles-client` that has joined its channel.
pub(crate) struct ChatClient {
    process: Process,
}

impl ChatClient {
    /// Returns `true` if `mles-client` is there; if not, says that the running test is skipped.
    pub(crate) fn is_installed() -> bool {
        let installed = binary().is_file();
        if !installed {
            skip(
                "no mles-client 1.1.7; in interop/ run `cargo install mles-client \
                 --version 1.1.7 --locked --root target/reference`, or set MLES_CLIENT_BIN",
            );
        }
        installed
    }

    /// Starts it, answers its questions and waits for its welcome, which it prints once it has
    /// sent its join; `server` must be on the standard port.
    pub(crate) fn join(server: &Server, uid: &str, channel: &str) -> Self {
        let client = Self::start(server, server.secrets(), uid, channel);
        client.process.wait_for("its welcome", |line| {
            line.starts_with("Welcome ").then_some(())
        });
        client
    }

    /// Starts it with these secrets instead of the server's, and waits until it has ended because
    /// the server closed the session.
    pub(crate) fn join_and_end(server: &Server, secrets: Secrets, uid: &str, channel: &str) {
        Self::start(server, secrets, uid, channel).process.wait();
    }

    fn start(server: &Server, secrets: Secrets, uid: &str, channel: &str) -> Self {
        assert_eq!(
            server.address().port(),
            8077,
            "mles-client always uses port 8077"
        );
        let mut command = Command::new(binary());
        command.arg(server.address().ip().to_string());
        set_secrets(&mut command, secrets);
        let mut process = Process::spawn(command);
        // It takes what one read brings as one answer, so each waits for its question.
        for (question, answer) in QUESTIONS.into_iter().zip([uid, channel]) {
            process.wait_for(question, |line| (line == question).then_some(()));
            process.write_line(answer);
        }
        Self { process }
    }

    /// Types a line; it must have arrived somewhere before the next is typed, or the two may
    /// become one message.
    pub(crate) fn say(&mut self, line: &str) {
        self.process.write_line(line);
    }

    /// Waits until it shows `line` as a message from `uid`.
    pub(crate) fn expect(&self, uid: &str, line: &str) {
        let wanted = format!("{uid}:{line}");
        self.process
            .wait_for(&wanted, |shown| (shown == wanted).then_some(()));
    }

    /// The messages shown so far, as `uid:text`.
    pub(crate) fn shown(&self) -> Vec<String> {
        // History may well be shown before the welcome.
        let of_its_own = |line: &str| QUESTIONS.contains(&line) || line.starts_with("Welcome ");
        self.process
            .stdout()
            .into_iter()
            .filter(|line| !of_its_own(line))
            .collect()
    }
}

/// `mles-client` as a proxy: WebSocket on port 8076 of all addresses, Mles on the other side.
pub(crate) struct WsProxy {
    _process: Process,
    server: Ipv4Addr,
}

impl WsProxy {
    /// Starts one in front of `server`, which is on the standard port in the same namespace.
    pub(crate) fn start(server: &Server, namespace: &Namespace) -> Self {
        let IpAddr::V4(ip) = server.address().ip() else {
            panic!("it listens on IPv4 only");
        };
        let mut command = Command::new(binary());
        command.args([&ip.to_string(), "--use-websockets"]);
        set_secrets(&mut command, server.secrets());
        let process = Process::spawn(namespace.inside(&command));
        process.wait_for("where it listens", |line| {
            line.starts_with("Listening WebSockets").then_some(())
        });
        Self {
            _process: process,
            server: ip,
        }
    }

    /// Where clients find it: it listens on the address of its server too.
    pub(crate) fn url(&self) -> String {
        format!("ws://{}:8076", self.server)
    }
}

fn set_secrets(command: &mut Command, secrets: Secrets) {
    for (name, secret) in [
        ("MLES_KEY", secrets.shared),
        ("MLES_ADDR_KEY", secrets.address),
    ] {
        match secret {
            Some(secret) => command.env(name, secret),
            None => command.env_remove(name),
        };
    }
}

fn binary() -> PathBuf {
    std::env::var_os("MLES_CLIENT_BIN").map_or_else(
        || in_package("target/reference/bin/mles-client"),
        PathBuf::from,
    )
}
