//! The byte stream of a session without a runtime: TCP or TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
use rustls::{ClientConnection, StreamOwned};
use socket2::SockRef;

use super::admission::SETTLING;
use super::config::Client;
use super::error::Error;
use super::transport;
use crate::server_name::ServerName;

/// A connection that was just opened.
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) remote: SocketAddr,
    /// How long connecting took, without the name and TLS: about a round trip.
    pub(super) connecting: Duration,
}

/// A connection.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects to the server of `client`.
    pub(super) fn connect(client: &Client) -> Result<Connection, Error> {
        let target: ServerName = client.server.parse()?;
        #[cfg(feature = "tls")]
        let tls = super::tls::of(client, &target)?;
        let failed = |source| Error::Connect {
            server: client.server.clone(),
            source,
        };
        let connected = connect_any(&target, client.connect_timeout);
        let (socket, remote, connecting) = connected.map_err(failed)?;
        #[cfg(feature = "tls")]
        let stream = match tls {
            Some(tls) => handshake(&tls, target.host(), socket, client.connect_timeout),
            None => Ok(Self::Tcp(socket)),
        };
        #[cfg(not(feature = "tls"))]
        let stream = Ok(Self::Tcp(socket));
        Ok(Connection {
            stream: stream.map_err(failed)?,
            remote,
            connecting,
        })
    }

    /// The connection below.
    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Tcp(socket) => socket,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// Tells the server that nothing more will come.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.socket().shutdown(Shutdown::Write)
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(bytes).map_err(super::tls::at_end),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes).map_err(super::tls::plain),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush().map_err(super::tls::plain),
        }
    }
}

/// Returns `true` if somebody takes connections at `server`, as far as can be told within `patience`.
pub(super) fn is_listening(server: SocketAddr, patience: Duration) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&server, patience) else {
        return false;
    };
    if stream.set_read_timeout(Some(SETTLING)).is_err() {
        return true;
    }
    let read = stream.read(&mut [0]);
    !read.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
}

fn connect_any(
    target: &ServerName,
    patience: Duration,
) -> io::Result<(TcpStream, SocketAddr, Duration)> {
    let mut last = transport::no_address();
    for address in (target.host(), target.port()).to_socket_addrs()? {
        let begun = Instant::now();
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => match transport::not_to_itself(&SockRef::from(&socket), address) {
                Ok(()) => {
                    transport::prepare(&SockRef::from(&socket))?;
                    return Ok((socket, address, begun.elapsed()));
                }
                Err(error) => last = error,
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Shakes hands; each read and write has `patience`.
#[cfg(feature = "tls")]
fn handshake(
    tls: &crate::tls::ClientTls,
    host: &str,
    mut socket: TcpStream,
    patience: Duration,
) -> io::Result<Stream> {
    let name = crate::tls::ClientTls::name(host)?;
    let connection = ClientConnection::new(tls.config().clone(), name);
    let mut connection = connection.map_err(io::Error::other)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    let shaken = connection.complete_io(&mut socket);
    shaken.map_err(|error| match error.kind() {
        // Which of the two a timeout is depends on the system.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => transport::no_handshake(patience),
        _ => crate::tls::handshake_failed(error),
    })?;
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    Ok(Stream::Tls(Box::new(StreamOwned::new(connection, socket))))
}
