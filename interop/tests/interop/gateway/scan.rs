//! What `sslyze` finds wrong with our TLS: nothing.

use std::process::Command;

use super::tls::{has_openssl, server_with};
use crate::support::{Listener, Process, Secrets, in_package, in_python, skip};

fn is_installed() -> bool {
    let installed = in_python("bin/sslyze").is_file();
    if !installed {
        skip("no sslyze; run scripts/setup");
    }
    installed
}

/// The lines that `tls_scan.py` prints about a server, by their first word.
struct Report(Vec<String>);

impl Report {
    fn of(address: &str, options: &[&str]) -> Self {
        let mut command = Command::new(in_python("bin/python"));
        command.arg(in_package("tests/clients/tls_scan.py"));
        command.arg(address).args(options);
        let (status, lines) = Process::spawn(command).wait();
        assert!(status.success(), "the scan itself failed: {status}");
        Self(lines)
    }

    fn all(&self, word: &str) -> Vec<&str> {
        let lines = self.0.iter().filter_map(|line| line.split_once(' '));
        let found = lines.filter(|(first, _)| *first == word);
        found.map(|(_, rest)| rest).collect()
    }

    fn assert_is_clean(&self) {
        assert_eq!(self.all("weak"), [""; 0]);
        // It has looked, and found what is meant to be there.
        for version in ["tls_1_2 ", "tls_1_3 "] {
            let accepted = self.all("accepted");
            let count = accepted.iter().filter(|suite| suite.starts_with(version));
            assert_eq!(count.count(), 3, "{accepted:?}");
        }
    }
}

#[test]
fn it_finds_nothing_wrong_with_mles_over_tls() {
    if !is_installed() {
        return;
    }
    let (server, _certificate) = server_with(Secrets::NONE);
    Report::of(&server.listener(Listener::MlesTls).to_string(), &[]).assert_is_clean();
}

#[test]
fn it_finds_nothing_wrong_with_websocket_over_tls() {
    if !is_installed() {
        return;
    }
    let (server, _certificate) = server_with(Secrets::NONE);
    // That early data is refused shows in an answer to HTTP.
    let address = server.listener(Listener::WebSocketTls).to_string();
    Report::of(&address, &["--early-data"]).assert_is_clean();
}

/// Who finds nothing might not be looking.
#[test]
fn it_finds_what_is_wrong_with_another() {
    if !is_installed() || !has_openssl() {
        return;
    }
    let (_server, certificate) = server_with(Secrets::NONE);
    let [_, cert, _, key] = certificate.options();
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-www"]);
    command.args(["-cert", &cert, "-key", &key]);
    command.args(["-cipher", "ALL:@SECLEVEL=0"]);
    let weak = Process::spawn(command);
    let address = weak.wait_for("where it listens", |line| {
        line.strip_prefix("ACCEPT ").map(str::to_owned)
    });
    let report = Report::of(&address, &[]);
    let weak = report.all("weak");
    assert!(weak.contains(&"tls_1_0 is accepted"), "{weak:?}");
    assert!(weak.iter().any(|suite| suite.contains("_CBC_")), "{weak:?}");
}
