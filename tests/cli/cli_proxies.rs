//! The log of a server behind a proxy names its clients.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// A server that is killed when the test is over.
struct Server {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    listeners: Vec<SocketAddr>,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mles"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLES_")) {
            command.env_remove(name);
        }
        command.args(["serve", "--listen", "127.0.0.1:0", "--ws", "127.0.0.1:0"]);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut server = Self {
            child,
            log,
            listeners: Vec::new(),
        };
        let line = server.line("listens on");
        let words = line.split(|c: char| c.is_whitespace() || c == ',');
        server.listeners = words.filter_map(|word| word.parse().ok()).collect();
        server
    }

    /// The next line of the log that has `part` in it.
    fn line(&mut self, part: &str) -> String {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            let n = self.log.read_line(&mut line).unwrap();
            assert!(n > 0, "the log is over");
        }
        line
    }

    fn send(&self, listener: usize, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.listeners[listener]).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_log_names_the_client_and_not_its_proxy() {
    let mut server = Server::start(&[
        "--trusted-proxies",
        "127.0.0.1",
        "--proxy-protocol",
        "listen",
        "--key",
        "secret",
    ]);
    let _mles = server.send(0, "PROXY TCP4 192.0.2.1 10.0.0.1 4711 8077\r\nnonsense");
    let line = server.line("join refused");
    assert!(line.contains("peer=192.0.2.1:4711"), "{line}");
    let _web = server.send(
        1,
        "GET / HTTP/9.9\r\nHost: h\r\nX-Forwarded-For: 192.0.2.2\r\n\r\n",
    );
    // What is refused by its first line is refused before anybody is named.
    let line = server.line("HTTP request refused");
    assert!(line.contains("peer=127.0.0.1:"), "{line}");
    let _web = server.send(
        1,
        "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 6.6.6.6, 192.0.2.2\r\nOrigin: \
         http://elsewhere\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
         13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let line = server.line("HTTP request refused");
    assert!(line.contains("peer=192.0.2.2:0"), "{line}");
    assert!(line.contains("a page of http://elsewhere at h"), "{line}");
}

#[test]
fn a_proxy_header_from_elsewhere_is_refused_and_told() {
    let mut server = Server::start(&[
        "--trusted-proxies",
        "10.0.0.0/8",
        "--proxy-protocol",
        "all",
        "--key",
        "secret",
    ]);
    let header = "PROXY TCP4 192.0.2.1 10.0.0.1 4711 8077\r\n";
    for listener in 0..2 {
        let _client = server.send(listener, header);
        let line = server.line("refused");
        assert!(line.contains("peer=127.0.0.1:"), "{line}");
        assert!(line.contains("PROXY header"), "{line}");
    }
}
