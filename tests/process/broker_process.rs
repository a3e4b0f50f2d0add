//! A broker in a process of its own, so that its memory and its file descriptors are not the
//! test's: the test binary once more, told by its environment to be the broker.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use mles::protocol::Keyring;
use mles::{Broker, ListenerKind, Settings};
use socket2::{Domain, Socket, Type};

use crate::common::{Client, Server};

/// The environment variable that names the settings to the process.
const ROLE: &str = "MLES_TEST_BROKER";

/// A running broker process. It is told to stop when this is dropped.
#[derive(Debug)]
pub struct BrokerProcess {
    process: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
    /// Where it listens for WebSocket.
    pub websocket: Option<SocketAddr>,
}

/// The body of the ignored test `broker_process` that a module with such tests must have: serves
/// until standard input ends, and tells its counters for every line that comes.
pub fn be_the_broker(settings: impl FnOnce(&str) -> Settings) {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let broker = Broker::start(settings(&role)).unwrap();
    print!("\nlistening {}", broker.address());
    let mut listeners = broker.listeners().iter();
    if let Some((_, at)) = listeners.find(|(kind, _)| *kind == ListenerKind::WebSocket) {
        print!(" {at}");
    }
    println!();
    for _ in std::io::stdin().lines() {
        println!("\nstats {}", broker.stats());
    }
    broker.stop().unwrap();
}

impl BrokerProcess {
    /// Starts one with the settings called `role` in `module`, a `module_path!()`, and gives the test file
    /// descriptors for many clients.
    pub fn start(module: &str, role: &str) -> Self {
        rlimit::increase_nofile_limit(16_384).unwrap();
        Self::start_after("true", module, role)
    }

    /// Starts one in a shell in which the command `before` has run.
    pub fn start_after(before: &str, module: &str, role: &str) -> Self {
        let (_, module) = module.split_once("::").unwrap();
        let test = format!("{module}::broker_process");
        let mut process = Command::new("sh")
            .arg("-c")
            .arg(format!("{before}; exec \"$0\" \"$@\""))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let addresses = answer(&mut stdout, "listening ");
        let mut addresses = addresses.split(' ').map(|address| address.parse().unwrap());
        Self {
            process,
            stdin,
            stdout,
            address: addresses.next().unwrap(),
            websocket: addresses.next(),
        }
    }

    /// One of its counters.
    pub fn stat(&mut self, name: &str) -> u64 {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(b"\n").unwrap();
        let stats = answer(&mut self.stdout, "stats ");
        let mut fields = stats.split(' ').filter_map(|field| field.split_once('='));
        let (_, value) = fields.find(|(field, _)| *field == name).unwrap();
        value.parse().unwrap()
    }

    /// Its resident memory in bytes.
    pub fn resident(&self) -> usize {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib << 10
    }
}

impl Server for BrokerProcess {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let status = self.process.wait().unwrap();
        assert!(status.success() || std::thread::panicking(), "{status}");
    }
}

/// Connects with a small receive buffer, so that the kernel holds little of what is not read.
pub fn connect_small(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

/// Joins `count` members that never read, by connections with small buffers.
pub fn join_stopped(broker: &impl Server, count: u64) -> Vec<Client> {
    let join = |i| {
        let (stream, uid) = (connect_small(broker.address()), format!("stopped {i}"));
        let mut client = Client::on(stream, &Keyring::default(), &uid, "room", None);
        client.send(b"");
        client
    };
    (0..count).map(join).collect()
}

/// Sends `bytes` in large messages, each of which `reader` gets before the next is sent.
pub fn send_large(bytes: usize, alice: &mut Client, reader: &mut Client) {
    let message = vec![b'x'; 1 << 19];
    for _ in 0..bytes / message.len() {
        alice.send(&message);
        assert_eq!(reader.receive_message().message.len(), message.len());
    }
}

/// The rest of the next line that begins with `word`.
fn answer(lines: &mut impl std::io::BufRead, word: &str) -> String {
    loop {
        let mut line = String::new();
        let n = lines.read_line(&mut line).unwrap();
        assert!(n > 0, "the broker process has ended");
        if let Some(rest) = line.trim_end().strip_prefix(word) {
            return rest.to_owned();
        }
    }
}
