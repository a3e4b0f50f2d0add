//! A TCP proxy that can cut its connections, and let them lead elsewhere.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub(crate) struct CuttingProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    server: Mutex<SocketAddr>,
    /// Both ends of the connections there are.
    connections: Mutex<Vec<TcpStream>>,
}

impl CuttingProxy {
    pub(crate) fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            connections: Mutex::default(),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                accepting.connect(client.unwrap());
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads the next connections to another server.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock().unwrap() = server;
    }

    /// Cuts all connections; what is on its way is lost. Returns the number of those that were not closed before.
    pub(crate) fn cut(&self) -> usize {
        let mut connections = self.shared.connections.lock().unwrap();
        let ends = connections.drain(..);
        ends.filter(|end| end.shutdown(Shutdown::Both).is_ok())
            .count()
            / 2
    }
}

impl Shared {
    fn connect(&self, client: TcpStream) {
        let Ok(server) = TcpStream::connect(*self.server.lock().unwrap()) else {
            return;
        };
        for stream in [&client, &server] {
            stream.set_nodelay(true).unwrap();
        }
        let ends = [client.try_clone().unwrap(), server.try_clone().unwrap()];
        self.connections.lock().unwrap().extend(ends);
        forward(client.try_clone().unwrap(), server.try_clone().unwrap());
        forward(server, client);
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut chunk) {
            if to.write_all(&chunk[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
