//! A server of this repository with settings that `loadgen start` does not have.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::broker_process::skip;
use crate::support::wait_for;

/// A running server; killed when dropped.
pub struct OwnMles {
    process: Child,
    pub addr: SocketAddr,
}

impl OwnMles {
    /// Starts `mles serve` with `args`, on a port of loopback that was free a moment ago, and `key` if it
    /// is not empty; `None`, said loudly, if it was not built.
    pub fn new(args: &[&str], key: &str) -> Option<Self> {
        let addr = free_addr();
        Self::listening(&["--listen", &addr.to_string()], addr, args, key)
    }

    /// Like [`OwnMles::new`], with a listener for HTTP and WebSocket alone.
    pub fn over_http(args: &[&str], key: &str) -> Option<Self> {
        let addr = free_addr();
        let listen = ["--listen", "none", "--ws", &addr.to_string()];
        Self::listening(&listen, addr, args, key)
    }

    fn listening(listen: &[&str], addr: SocketAddr, args: &[&str], key: &str) -> Option<Self> {
        let program = Path::new(env!("CARGO_BIN_EXE_loadgen")).with_file_name("mles");
        if !program.is_file() {
            skip("mles is not built");
            return None;
        }
        let process = Command::new(program)
            .arg("serve")
            .args(listen)
            .args(args)
            .env("MLES_KEY", key)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it was built");
        let server = Self { process, addr };
        wait_for(|| TcpStream::connect(addr).ok());
        Some(server)
    }
}

impl Drop for OwnMles {
    fn drop(&mut self) {
        // It may have ended by itself, and then the test has failed for it already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns an address of loopback that was free a moment ago.
fn free_addr() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    free.local_addr().expect("it is bound")
}
