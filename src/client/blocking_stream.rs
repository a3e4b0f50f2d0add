//! The connection of a session without a runtime, over TCP or TLS.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

#[cfg(feature = "tls")]
use rustls::{ClientConnection, StreamOwned};
use socket2::SockRef;

use super::error::Error;
use super::options::SessionOptions;
use super::socket::{ConnectInfo, SETTLING, no_address, reset_on_drop};
use crate::server_name::ServerName;

/// A connection of a session without a runtime.
#[derive(Debug)]
pub(super) enum BlockingStream {
    Tcp(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl BlockingStream {
    /// Connects to the server. Each address, and each step of a handshake, may take the connect timeout.
    pub(super) fn connect(options: &SessionOptions) -> Result<(Self, ConnectInfo), Error> {
        let target: ServerName = options.server.parse()?;
        let failed = |source| options.connect_error(source);
        #[cfg(feature = "tls")]
        let tls = super::tls::tls_for(options, &target)?;
        let connected = connect_any(&target, options.connect_timeout);
        let (socket, info) = connected.map_err(failed)?;
        if options.reset_on_drop {
            reset_on_drop(&SockRef::from(&socket)).map_err(failed)?;
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = tls {
            let shaken = shake_hands(&tls, target.host(), socket, options.connect_timeout);
            return Ok((shaken.map_err(failed)?, info));
        }
        Ok((Self::Tcp(socket), info))
    }

    /// Returns the TCP connection, below TLS if there is TLS.
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

impl Read for BlockingStream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.read(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.read(bytes).map_err(super::tls::explain_read_error),
        }
    }
}

impl Write for BlockingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.write(bytes).map_err(crate::tls::explain_io_error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.flush(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.flush().map_err(crate::tls::explain_io_error),
        }
    }
}

/// Returns `true` if somebody accepts connections at `server`, as far as can be told within `patience`.
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

fn connect_any(target: &ServerName, patience: Duration) -> io::Result<(TcpStream, ConnectInfo)> {
    let mut last = no_address();
    for address in (target.host(), target.port()).to_socket_addrs()? {
        let begun = Instant::now();
        match TcpStream::connect_timeout(&address, patience) {
            Ok(socket) => {
                match ConnectInfo::of(&SockRef::from(&socket), address, begun.elapsed()) {
                    Ok(info) => return Ok((socket, info)),
                    Err(error) => last = error,
                }
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Makes a TLS connection; each read and write may take `patience`.
#[cfg(feature = "tls")]
fn shake_hands(
    tls: &crate::tls::ClientTls,
    host: &str,
    mut socket: TcpStream,
    patience: Duration,
) -> io::Result<BlockingStream> {
    let name = crate::tls::ClientTls::name(host)?;
    let connection = ClientConnection::new(tls.config().clone(), name);
    let mut connection = connection.map_err(io::Error::other)?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    let shaken = connection.complete_io(&mut socket);
    shaken.map_err(|error| match error.kind() {
        // Which of the two a timeout is depends on the system.
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            super::socket::no_handshake(patience)
        }
        _ => crate::tls::explain_handshake_error(error),
    })?;
    socket.set_read_timeout(None)?;
    socket.set_write_timeout(None)?;
    Ok(BlockingStream::Tls(Box::new(StreamOwned::new(
        connection, socket,
    ))))
}
