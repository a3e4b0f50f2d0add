//! Binding listeners: one socket for each shard on every address.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

/// Connections that the kernel completes before they are accepted, for each listener.
const BACKLOG: i32 = 4096;

/// A listener could not be had.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

/// The sockets on one address: one for each shard.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Listens on `address` with one socket for each of `shards`, so that the kernel spreads
/// connections over them. Port 0 lets the system choose a port, the same for all.
pub(crate) fn bind(address: SocketAddr, shards: usize) -> Result<Listeners, ListenError> {
    let fail = |source| ListenError { address, source };
    // SO_REUSEPORT would let a second broker of the same user share the port unnoticed; a socket
    // without it is refused while anyone listens there.
    let chosen = listener(address, false)
        .and_then(|probe| probe.local_addr())
        .map_err(fail)?;
    let sockets: io::Result<Vec<_>> = (0..shards).map(|_| listener(chosen, true)).collect();
    Ok(Listeners {
        address: chosen,
        sockets: sockets.map_err(fail)?,
    })
}

impl Listeners {
    /// Shares one socket that the caller has made among `shards`.
    pub(crate) fn share(listener: TcpListener, shards: usize) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let mut sockets = (1..shards)
            .map(|_| listener.try_clone())
            .collect::<io::Result<Vec<_>>>()?;
        sockets.push(listener);
        Ok(Self { address, sockets })
    }
}

fn listener(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if shared {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever the system's default is.
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
