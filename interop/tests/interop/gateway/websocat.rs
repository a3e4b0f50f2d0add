//! `websocat`, the netcat of WebSocket: each line that it reads is a message, each message that it
//! receives is a line. A letter in front tells text (`T`) from binary (`B`, in base64). The end of a
//! line is part of a text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::process::Command;

use super::{member, server_with, spec};
use crate::support::{
    Listener, PROTOCOL, Process, Secrets, Server, ServerKind, ServerSpec, body, hello, in_python,
    key, large_text, skip,
};

use super::tls::Certificate;

const CHANNEL: &str = "room";

struct Websocat {
    process: Process,
    seen: usize,
}

impl Websocat {
    /// Returns `true` if it is there; if not, says that the running test is skipped.
    fn is_installed() -> bool {
        let installed = in_python("bin/websocat").is_file();
        if !installed {
            skip("no websocat; run scripts/setup");
        }
        installed
    }

    fn command(url: &str, options: &[&str]) -> Command {
        let mut command = Command::new(in_python("bin/websocat"));
        command.args(["--text", "--base64", "--exit-on-eof"]);
        command.args(["--binary-prefix", "B", "--text-prefix", "T"]);
        // The largest message; 64 KiB if nothing is said.
        command.args(["--buffer-size", "4000000"]);
        command.args(["--protocol", &format!("chat, {PROTOCOL}")]);
        command.args(options).arg(url);
        command
    }

    fn start(command: Command) -> Self {
        Self {
            process: Process::spawn(command),
            seen: 0,
        }
    }

    fn join_v2(server: &Server, uid: &str) -> Self {
        let mut client = Self::start(Self::command(&server.ws_url(), &[]));
        client.text(&hello(server.secrets().shared, uid, CHANNEL));
        client
    }

    fn text(&mut self, text: &str) {
        self.process.write_line(&format!("T{text}"));
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.process
            .write_line(&format!("B{}", STANDARD.encode(bytes)));
    }

    fn next(&mut self) -> String {
        loop {
            let line = self.process.wait_for_line(self.seen);
            self.seen += 1;
            // What is left of a text that ends with the end of a line.
            if !line.is_empty() {
                return line;
            }
        }
    }

    fn expect_text(&mut self, text: &str) {
        assert_eq!(self.next(), format!("T{text}"));
    }

    fn next_binary(&mut self) -> Vec<u8> {
        let line = self.next();
        let base64 = line.strip_prefix('B').expect(&line);
        STANDARD.decode(base64).unwrap()
    }
}

#[test]
fn it_speaks_v2() {
    if !Websocat::is_installed() {
        return;
    }
    for secrets in [Secrets::NONE, Secrets::SHARED] {
        let server = server_with(secrets);
        let mut tcp = member(&server, "dora", CHANNEL);
        let mut anna = Websocat::join_v2(&server, "anna");
        anna.text("grüße");
        anna.binary(&[0, 0xFF]);
        assert_eq!(tcp.receive_message().text(), "grüße\n");
        assert_eq!(tcp.receive_message().message, [0, 0xFF]);
        // The history, then live.
        let mut bert = Websocat::join_v2(&server, "bert");
        bert.expect_text("grüße");
        assert_eq!(bert.next_binary(), [0, 0xFF]);
        tcp.send("hei");
        anna.expect_text("hei");
        bert.expect_text("hei");
    }
}

#[test]
fn it_speaks_v1() {
    if !Websocat::is_installed() {
        return;
    }
    let server = server_with(Secrets::SHARED);
    let shared = server.secrets().shared.unwrap();
    let mut tcp = member(&server, "dora", CHANNEL);
    let url = format!(
        "{}/?auth={:x}",
        server.ws_url(),
        key(shared, "anna", CHANNEL)
    );
    let mut anna = Websocat::start(Websocat::command(&url, &[]));
    anna.binary(&body("anna", CHANNEL, b"hello"));
    assert_eq!(tcp.receive_message().text(), "hello");
    tcp.send("hei");
    assert_eq!(anna.next_binary(), body("dora", CHANNEL, b"hei"));
    // The secret itself, in a header.
    let bearer = format!("--header=Authorization: Bearer {shared}");
    let command = Websocat::command(&server.ws_url(), &[&bearer]);
    let mut bert = Websocat::start(command);
    bert.binary(&body("bert", CHANNEL, b"hello too"));
    assert_eq!(tcp.receive_message().text(), "hello too");
}

#[test]
fn it_takes_a_megabyte() {
    if !Websocat::is_installed() {
        return;
    }
    let server = server_with(Secrets::NONE);
    let mut tcp = member(&server, "dora", CHANNEL);
    let mut anna = Websocat::join_v2(&server, "anna");
    let text = large_text(1024 * 1024);
    anna.text(&text);
    assert!(tcp.receive_message().text() == format!("{text}\n"));
    let back = text.replace('1', "one");
    tcp.send(&back);
    assert!(anna.next() == format!("T{back}"));
}

#[test]
fn it_leaves_and_is_let_go() {
    if !Websocat::is_installed() {
        return;
    }
    let server = server_with(Secrets::NONE);
    let mut tcp = member(&server, "dora", CHANNEL);
    let command = Websocat::command(
        &server.ws_url(),
        &["--close-status-code", "4000", "--close-reason", "done"],
    );
    let mut anna = Websocat::start(command);
    anna.text(&hello(None, "anna", CHANNEL));
    anna.text("hello");
    assert_eq!(tcp.receive_message().text(), "hello\n");
    // A second one is closed by the server.
    let mut again = Websocat::join_v2(&server, "anna");
    again.process.wait();
    // Closed by itself at the end of its input, and its seat is free.
    anna.process.close_stdin();
    let (status, _) = anna.process.wait();
    assert!(status.success(), "{status}");
    let mut anna = Websocat::join_v2(&server, "anna");
    anna.text("back");
    assert_eq!(tcp.receive_message().text(), "back\n");
}

#[test]
fn pings_are_answered_both_ways() {
    if !Websocat::is_installed() {
        return;
    }
    let server = spec()
        .options(&["--ws-ping-interval", "200ms", "--ws-ping-timeout", "2s"])
        .start();
    let options = [
        "--ping-interval",
        "1",
        "--ping-timeout",
        "20",
        "--print-ping-rtts",
    ];
    let mut anna = Websocat::start(Websocat::command(&server.ws_url(), &options));
    anna.text(&hello(None, "anna", CHANNEL));
    // It tells the time of a pong to a ping of its own. Three take longer than it would be there
    // without answering the server's.
    anna.process.wait_for_times(3, "times of pongs", |line| {
        line.starts_with("RTT").then_some(())
    });
    let mut tcp = member(&server, "dora", CHANNEL);
    anna.text("alive");
    assert_eq!(tcp.receive_message().text(), "alive\n");
}

#[test]
fn it_speaks_over_tls() {
    if !Websocat::is_installed() {
        return;
    }
    let spec = ServerSpec::new(ServerKind::Ours).listener(Listener::WebSocketTls);
    let certificate = Certificate::make(&spec);
    let server = spec.options(&certificate.options()).start();
    let mut tcp = member(&server, "dora", CHANNEL);
    let mut command = Websocat::command(&server.ws_url(), &[]);
    command.env("SSL_CERT_FILE", certificate.cert());
    let mut anna = Websocat::start(command);
    anna.text(&hello(None, "anna", CHANNEL));
    anna.text("hello");
    assert_eq!(tcp.receive_message().text(), "hello\n");
    tcp.send("hei");
    anna.expect_text("hei");
    // It does not connect to what it does not trust.
    let mut stranger = Websocat::start(Websocat::command(&server.ws_url(), &[]));
    let (status, _) = stranger.process.wait();
    assert!(!status.success());
}
