//! A relay between the program and any broker, which can be told to tamper with one delivery.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use crate::support::{Tamper, VICTIM};
use crate::wire_units::unit;

/// Starts a relay to `broker` at `upstream`, and returns where it listens. It runs until the test
/// program ends. The first connection that message [`VICTIM`] comes to is the one that suffers.
pub fn proxy(broker: &str, upstream: SocketAddr, tamper: Tamper) -> SocketAddr {
    proxy_after(broker, upstream, tamper, 0)
}

/// Like [`proxy`], but the message has gone by unharmed so many times before.
pub fn proxy_after(
    broker: &str,
    upstream: SocketAddr,
    tamper: Tamper,
    unharmed: i64,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("it is bound");
    let broker = broker.to_owned();
    let left = if tamper == Tamper::Nothing {
        -1
    } else {
        unharmed
    };
    let left = Arc::new(AtomicI64::new(left));
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(upstream).expect("the broker listens");
            let mut from_client = client.try_clone().expect("enough files");
            let mut to_server = server.try_clone().expect("enough files");
            thread::spawn(move || {
                // The end of either side is the end of both.
                let _ = io::copy(&mut from_client, &mut to_server);
                let _ = to_server.shutdown(Shutdown::Both);
            });
            let mut delivery = Delivery {
                broker: broker.clone(),
                tamper,
                left: Arc::clone(&left),
                late: None,
            };
            thread::spawn(move || {
                let _ = delivery.relay(server, &client);
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    addr
}

/// One connection's way from the broker to the program.
struct Delivery {
    broker: String,
    tamper: Tamper,
    /// How often the victim will go by before it suffers, here or on another connection; below 0
    /// once it has.
    left: Arc<AtomicI64>,
    /// The victim, while it is held back.
    late: Option<Vec<u8>>,
}

impl Delivery {
    fn relay(&mut self, mut server: TcpStream, mut client: &TcpStream) -> io::Result<()> {
        let mut received = Vec::new();
        let mut buffer = [0; 16 << 10];
        loop {
            let len = server.read(&mut buffer)?;
            if len == 0 {
                return Ok(());
            }
            received.extend_from_slice(&buffer[..len]);
            let mut out = Vec::new();
            let mut whole = 0;
            while let Some(unit) = unit(&self.broker, &received[whole..]) {
                let bytes = received[whole..whole + unit.len].to_vec();
                whole += unit.len;
                self.pass(bytes, unit.stamp(), &mut out);
            }
            received.drain(..whole);
            client.write_all(&out)?;
        }
    }

    /// Appends `unit` to `out`, or what becomes of it.
    fn pass(
        &mut self,
        mut unit: Vec<u8>,
        stamp: Option<std::ops::Range<usize>>,
        out: &mut Vec<u8>,
    ) {
        let stamp = stamp.unwrap_or_default();
        let is_victim = unit[stamp.clone()] == VICTIM.to_be_bytes();
        if !is_victim || self.left.fetch_sub(1, Ordering::Relaxed) != 0 {
            out.extend(unit);
            // Behind the next message.
            out.extend(self.late.take().into_iter().flatten());
            return;
        }
        match self.tamper {
            Tamper::Nothing => unreachable!("then there is no victim"),
            Tamper::Lose => {}
            Tamper::Double => out.extend([unit.as_slice(), &unit].concat()),
            Tamper::Delay => self.late = Some(unit),
            Tamper::Forge => {
                unit[stamp.start] = 0x77;
                out.extend(unit);
            }
        }
    }
}
