//! Two `mles serve` processes that are linked as `configs/` has it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A server that is killed when the test is over, however that ends.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts it with a file of `configs/`, on a port of the system's choice.
    fn start(config: &str, options: &[&str]) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("configs")
            .join(config);
        let mut command = mles(&["serve", "--listen", "127.0.0.1:0", "--config"]);
        command.arg(path).args(options).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = log
            .by_ref()
            .find_map(|line| address_in(&line.unwrap()))
            .expect("it ended before it listened");
        // Its log is read to the end, or it would stop at a full pipe.
        thread::spawn(move || log.for_each(drop));
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both only fail for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in `mles 0.1.0 listens on 127.0.0.1:8077 with ...`.
fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once(" listens on ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The program, with nothing of the caller's settings in its environment.
fn mles(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mles"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MLES_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

#[test]
fn a_message_passes_between_root_and_peer_both_ways() {
    let root = Server::start("root.toml", &[]);
    // The file's own upstream is where its root listens by the file, which a test of the
    // configuration checks.
    let peer = Server::start("peer.toml", &["--peer", &root.address.to_string()]);
    let [root, peer] = [&root, &peer].map(|server| server.address.to_string());
    for (from, to, channel) in [(&root, &peer, "down"), (&peer, &root, "up")] {
        let mut reader = mles(&["sub", channel, "--server", to, "--count", "1"]);
        let reader = reader.stdout(Stdio::piped()).spawn().unwrap();
        let mut writer = mles(&["pub", channel, "hello", "--server", from]);
        assert!(writer.status().unwrap().success());
        let output = reader.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text.contains("hello"), "{text}");
    }
}
