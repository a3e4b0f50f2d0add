//! Measures how long a message of one channel waits while others keep its shard busy.
//!
//! The program is started with a single shard. A bystander, one publisher and one subscriber of a
//! channel of their own, sends a message a millisecond while each load goes on, and the longest and
//! the middle of its waits are printed. `MLES_BIN` names another program to measure.
#![allow(clippy::unwrap_used, reason = "inputs are our own")]
#![allow(clippy::print_stdout, reason = "what it prints is its result")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::protocol::{Cid, Keyring, Message, encode_frame};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

const MEMBERS: u32 = 4000;
const JOINERS: u32 = 80;
/// Before a load, during one that is soon over, and after it.
const WATCH: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, and where it listens.
struct Broker {
    process: Child,
    tcp: SocketAddr,
    ws: SocketAddr,
    tls: SocketAddr,
    ca: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

impl Broker {
    fn start() -> Self {
        let program =
            std::env::var("MLES_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_mles").to_owned());
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let (tcp, ws, tls) = (free_address(), free_address(), free_address());
        let process = Command::new(program)
            .args(["serve", "--shards", "1", "--history-limit", "100000"])
            .args([
                "--max-connections-per-address",
                "20000",
                "--max-joining",
                "20000",
            ])
            .args(["--listen", &tcp.to_string(), "--ws", &ws.to_string()])
            .args(["--tls", &tls.to_string(), "--tls-cert"])
            .arg(&cert)
            .arg("--tls-key")
            .arg(&key)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let broker = Self {
            process,
            tcp,
            ws,
            tls,
            ca: cert,
            _dir: dir,
        };
        for address in [tcp, ws, tls] {
            connect(address);
        }
        broker
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                return stream;
            }
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn frame(stream: &TcpStream, uid: &str, channel: &str, cid: u32, payload: &[u8]) -> Bytes {
    let key = Keyring::default().session_key(stream.local_addr().unwrap(), uid, channel);
    let message = Message {
        uid,
        channel,
        message: payload,
    };
    encode_frame(Cid(cid), key, &message).unwrap()
}

fn join(address: SocketAddr, uid: &str, channel: &str, cid: u32) -> TcpStream {
    let mut stream = connect(address);
    let hello = frame(&stream, uid, channel, cid, b"");
    stream.write_all(&hello).unwrap();
    stream
}

/// Watches until `stop` and returns the waits, sorted.
fn watch(address: SocketAddr, stop: &AtomicBool) -> Vec<Duration> {
    let mut reader = join(address, "reader", "quiet", 2);
    let mut writer = join(address, "writer", "quiet", 1);
    let ping = frame(&writer, "writer", "quiet", 1, b"ping");
    reader
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    // Announcements and history are over when a message is alone.
    let mut rest = vec![0; 1 << 16];
    writer.write_all(&ping).unwrap();
    while reader.read(&mut rest).is_ok_and(|n| n > 0) {}
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut waits, mut got) = (Vec::new(), vec![0; ping.len()]);
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        writer.write_all(&ping).unwrap();
        reader.read_exact(&mut got).unwrap();
        waits.push(sent.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    waits.sort_unstable();
    waits
}

/// Runs `load` beside the bystander and prints what that noticed.
fn beside(name: &str, broker: &Broker, load: impl FnOnce(&Broker)) {
    let stop = Arc::new(AtomicBool::new(false));
    let (address, until) = (broker.tcp, stop.clone());
    let watching = thread::spawn(move || watch(address, &until));
    thread::sleep(WATCH);
    let begun = Instant::now();
    load(broker);
    let took = begun.elapsed();
    thread::sleep(WATCH);
    stop.store(true, Ordering::Relaxed);
    let waits = watching.join().unwrap();
    let at = |share: usize| waits[(waits.len() - 1) * share / 1000];
    println!(
        "{name:<44} load {took:>8.2?}  waits: {:>5}  p50 {:>8.2?}  p99 {:>8.2?}  longest {:>8.2?}",
        waits.len(),
        at(500),
        at(990),
        at(1000),
    );
}

/// Members of `channel` that read all that comes, until the returned guard is dropped.
struct Crowd {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
    got: Arc<std::sync::atomic::AtomicU64>,
}

impl Crowd {
    fn join(address: SocketAddr, channels: &[&str], count: u32) -> Self {
        let sockets: Vec<TcpStream> = (0..count)
            .map(|n| {
                join(
                    address,
                    &format!("m{n}"),
                    channels[n as usize % channels.len()],
                    n + 100,
                )
            })
            .collect();
        let stop = Arc::new(AtomicBool::new(false));
        let got = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let (until, bytes) = (stop.clone(), got.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                for socket in sockets {
                    socket.set_nonblocking(true).unwrap();
                    let socket = tokio::net::TcpStream::from_std(socket).unwrap();
                    let bytes = bytes.clone();
                    tokio::spawn(async move {
                        let mut buf = vec![0; 4096];
                        while socket.readable().await.is_ok() {
                            match socket.try_read(&mut buf) {
                                Ok(0) => return,
                                Ok(n) => bytes.fetch_add(n as u64, Ordering::Relaxed),
                                Err(_) => 0,
                            };
                        }
                    });
                }
                while !until.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        });
        Self {
            stop,
            thread: Some(thread),
            got,
        }
    }

    /// Waits until nothing has come for a while, or not for long.
    fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        let mut before = u64::MAX;
        while Instant::now() < deadline {
            let now = self.got.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
            thread::sleep(Duration::from_millis(300));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// One WebSocket session of v1 with two (uid, channel) pairs.
fn websocket(address: SocketAddr) -> TcpStream {
    let mut stream = connect(address);
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Protocol: mles-websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream
}

fn message(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

fn body(uid: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let message = Message {
        uid,
        channel: "busy",
        message: payload,
    };
    message.encode_into(&mut body);
    body
}

/// 110 kB, in which each message is of the other pair than the one before it.
fn burst_of_pairs(broker: &Broker) {
    let mut stream = websocket(broker.ws);
    let pair = [
        message(0x82, &body("a", b"x")),
        message(0x82, &body("b", b"x")),
    ]
    .concat();
    stream.write_all(&pair).unwrap();
    thread::sleep(Duration::from_millis(200));
    let burst = pair.repeat(110_000 / pair.len());
    stream.write_all(&burst).unwrap();
    thread::sleep(Duration::from_secs(2));
}

fn burst_of_pings(broker: &Broker) {
    let mut stream = websocket(broker.ws);
    stream.write_all(&message(0x82, &body("a", b"x"))).unwrap();
    let burst = message(0x89, b"").repeat(200_000);
    let mut reader = stream.try_clone().unwrap();
    let reading = thread::spawn(move || while reader.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
    stream.write_all(&burst).unwrap();
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    reading.join().unwrap();
}

/// Fills the history of `channel` with `total` bytes in frames of `size`.
fn fill(broker: &Broker, channel: &str, total: usize, size: usize) {
    let mut stream = join(broker.tcp, "filler", channel, 7);
    let one = frame(&stream, "filler", channel, 7, &vec![b'x'; size]);
    for _ in 0..total / one.len() {
        stream.write_all(&one).unwrap();
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    thread::sleep(Duration::from_millis(500));
}

fn join_large_histories(broker: &Broker, channel: &str) {
    let readers: Vec<_> = (0..JOINERS)
        .map(|n| {
            let mut stream = join(broker.tcp, &format!("j{n}"), channel, n + 100);
            thread::spawn(move || {
                stream
                    .set_read_timeout(Some(Duration::from_secs(1)))
                    .unwrap();
                let mut buf = vec![0; 1 << 18];
                while stream.read(&mut buf).is_ok_and(|n| n > 0) {}
            })
        })
        .collect();
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
}

fn tls_config(broker: &Broker) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&broker.ca).unwrap())
        .unwrap();
    Arc::new(
        ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// Records of a byte each, of a connection that has not joined.
fn tls_records(broker: &Broker) {
    let config = tls_config(broker);
    let name = ServerName::try_from("localhost").unwrap();
    let mut tls = ClientConnection::new(config, name).unwrap();
    tls.set_buffer_limit(None);
    let mut socket = connect(broker.tls);
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    // The start of a frame of 1 MiB.
    let start = [b'M', 0x0F, 0xFF, 0xF0];
    for i in 0..400_000 {
        tls.writer()
            .write_all(&[*start.get(i).unwrap_or(&0)])
            .unwrap();
    }
    while tls.wants_write() && tls.write_tls(&mut socket).is_ok() {}
}

fn tls_handshakes(broker: &Broker) {
    let config = tls_config(broker);
    let (address, clients) = (broker.tls, 4);
    let threads: Vec<_> = (0..clients)
        .map(|_| {
            let config = config.clone();
            thread::spawn(move || {
                // All hellos at once, then the answers.
                let mut all: Vec<_> = (0..50)
                    .map(|_| {
                        let name = ServerName::try_from("localhost").unwrap();
                        let mut tls = ClientConnection::new(config.clone(), name).unwrap();
                        let mut socket = connect(address);
                        tls.write_tls(&mut socket).unwrap();
                        (tls, socket)
                    })
                    .collect();
                for (tls, socket) in &mut all {
                    while tls.is_handshaking() && tls.complete_io(socket).is_ok() {}
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

/// Messages that each go to thousands of members.
fn crowd_hears(broker: &Broker) {
    let mut stream = join(broker.tcp, "speaker", "busy", 5);
    let one = frame(&stream, "speaker", "busy", 5, &[b'x'; 64]);
    for _ in 0..100 {
        stream.write_all(&one).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
}

fn crowd_hears_much(broker: &Broker) {
    let mut stream = join(broker.tcp, "speaker", "busy", 5);
    let one = frame(&stream, "speaker", "busy", 5, &[b'x'; 64]);
    let many = one.repeat(1000);
    for _ in 0..5 {
        stream.write_all(&many).unwrap();
    }
    thread::sleep(Duration::from_secs(1));
}

fn main() {
    // `cargo test --benches` only has it compiled.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let _ = rlimit::increase_nofile_limit(20_000);
    beside("nothing", &Broker::start(), |_| ());
    {
        let broker = Broker::start();
        let crowd = Crowd::join(broker.tcp, &["busy"], MEMBERS);
        crowd.settle();
        beside(
            "a message to 4,000 members, 100 times",
            &broker,
            crowd_hears,
        );
        beside(
            "5,000 messages to 4,000 members at once",
            &broker,
            |broker| {
                crowd_hears_much(broker);
                crowd.settle();
            },
        );
        beside(
            "110 kB of two pairs in turn, 4,000 members",
            &broker,
            |broker| {
                burst_of_pairs(broker);
                crowd.settle();
            },
        );
    }
    let broker = Broker::start();
    fill(&broker, "large", 24 << 20, 900);
    beside("80 join a history of 24 MiB", &broker, |broker| {
        join_large_histories(broker, "large")
    });
    fill(&broker, "tiny", 6 << 20, 17);
    beside(
        "80 join a history of 100,000 tiny frames",
        &broker,
        |broker| {
            join_large_histories(broker, "tiny");
        },
    );
    beside("200,000 WebSocket pings", &broker, burst_of_pings);
    beside(
        "400,000 TLS records of a byte, no key",
        &broker,
        tls_records,
    );
    beside("200 TLS handshakes at once", &broker, tls_handshakes);
}
