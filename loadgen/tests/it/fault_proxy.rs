//! A TCP proxy in front of a broker that delays what it passes on, or stops once for a while.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

/// Faults of the proxy.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Passes everything from the broker on so much later.
    Delay(Duration),
    /// Passes nothing on, either way, for a while, once clients have sent so many bytes altogether.
    Stall { after: usize, time: Duration },
}

/// Bytes that clients have sent, while a stall is to come. Whoever passes bytes on holds the lock.
type Gate = Arc<Mutex<usize>>;

/// Bytes that the kernel may receive for the proxy before it reads them.
const RECEIVE_BUFFER: usize = 64 << 10;

/// Starts a proxy to `upstream`, and returns where it listens. It runs until the test program ends.
pub fn proxy(upstream: SocketAddr, fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    // Connections have it from their listener.
    set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER).expect("a socket");
    let gate = Gate::default();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(upstream).expect("the broker listens");
            for stream in [&client, &server] {
                stream.set_nodelay(true).expect("a socket");
            }
            let up = Way::new(&client, &server, fault, &gate, true);
            let down = Way::new(&server, &client, fault, &gate, false);
            up.start();
            down.start();
        }
    });
    addr
}

/// One direction of a connection.
struct Way {
    from: TcpStream,
    to: TcpStream,
    fault: Fault,
    gate: Gate,
    /// From the client to the broker.
    is_up: bool,
}

impl Way {
    fn new(from: &TcpStream, to: &TcpStream, fault: Fault, gate: &Gate, is_up: bool) -> Self {
        Self {
            from: from.try_clone().expect("enough files"),
            to: to.try_clone().expect("enough files"),
            fault,
            gate: Arc::clone(gate),
            is_up,
        }
    }

    /// Passes bytes on until one side closes, which closes the other.
    fn start(mut self) {
        let (chunks, late) = channel();
        let mut to = self.to.try_clone().expect("enough files");
        thread::spawn(move || pass_on_late(&late, &mut to));
        thread::spawn(move || {
            // The end of either side is the end of both.
            let _ = self.pass(&chunks);
            let _ = self.from.shutdown(Shutdown::Both);
            let _ = self.to.shutdown(Shutdown::Both);
        });
    }

    fn pass(&mut self, late: &Sender<(Instant, Vec<u8>)>) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let len = self.from.read(&mut buffer)?;
            let chunk = &buffer[..len];
            match self.fault {
                _ if len == 0 => return Ok(()),
                Fault::Delay(time) if !self.is_up => {
                    let due = Instant::now() + time;
                    let sent = late.send((due, chunk.to_vec()));
                    sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
                }
                Fault::Delay(_) => self.to.write_all(chunk)?,
                Fault::Stall { after, time } => {
                    let mut sent = self.gate.lock().expect("nobody panics holding it");
                    let before = *sent;
                    *sent += if self.is_up { len } else { 0 };
                    if before < after && *sent >= after {
                        // Everybody else waits for the lock.
                        thread::sleep(time);
                    }
                    self.to.write_all(chunk)?;
                }
            }
        }
    }
}

fn pass_on_late(late: &Receiver<(Instant, Vec<u8>)>, to: &mut TcpStream) {
    for (due, chunk) in late {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&chunk).is_err() {
            return;
        }
    }
}
