//! Channels over HTTP with the libraries that programs in Python use.

use std::process::Command;

use super::server_with;
use crate::support::{Listener, Process, Secrets, in_package, in_python, skip};

fn httpx_publishes_reads_and_follows_events(secrets: Secrets) {
    if !in_python("bin/httpx").is_file() {
        return skip("no httpx; run scripts/setup");
    }
    let server = server_with(secrets);
    let at = server.listener(Listener::WebSocket);
    let mut command = Command::new(in_python("bin/python"));
    command.arg(in_package("tests/clients/http_client.py"));
    command.arg(format!("http://{at}/channels/python"));
    command.args(secrets.shared);
    let (status, lines) = Process::spawn(command).wait();
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines, ["ok"]);
}

#[test]
fn httpx_without_a_key() {
    httpx_publishes_reads_and_follows_events(Secrets::NONE);
}

#[test]
fn httpx_with_a_key() {
    httpx_publishes_reads_and_follows_events(Secrets::SHARED);
}
