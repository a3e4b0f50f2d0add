//! TLS over a non-blocking socket.
//!
//! Every connection makes a handshake of its own, with what clients of mles offer: nothing is
//! resumed, so that all cost the broker the same.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use mles::client::{ClientTls, ClientTlsOptions};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use super::arrival::Arrival;

/// The name that brokers started here have a certificate for.
const NAME: &str = "localhost";

/// Makes TLS connections.
pub(super) struct Connector(Arc<ClientConfig>);

impl Connector {
    /// Returns a connector that takes any certificate.
    ///
    /// # Errors
    /// The cryptography of this program does not do.
    pub(super) fn new() -> io::Result<Self> {
        // Brokers sign their certificates themselves, and nothing that is sent here is a secret.
        let anyone = ClientTls::new(ClientTlsOptions::default().insecure());
        let mut config = ClientConfig::clone(anyone.map_err(io::Error::other)?.config());
        config.resumption = Resumption::disabled();
        // Not every broker knows a name for what is inside.
        config.alpn_protocols.clear();
        Ok(Self(Arc::new(config)))
    }

    /// Begins TLS on `socket`; the handshake goes on with reads and writes.
    ///
    /// # Errors
    /// The cryptography fails.
    pub(super) fn connect(&self, socket: TcpStream) -> io::Result<Tls> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.0), name);
        Ok(Tls {
            socket,
            session: session.map_err(io::Error::other)?,
        })
    }
}

/// A connection under TLS, maybe still in its handshake.
pub(super) struct Tls {
    socket: TcpStream,
    session: ClientConnection,
}

impl Tls {
    /// Reads what fits into `sealed` and opens it into `buffer`, which must be longer by a record.
    pub(super) fn read(&mut self, buffer: &mut [u8], sealed: &mut [u8]) -> io::Result<Arrival> {
        let came = self.socket.read(sealed)?;
        if came == 0 {
            return Ok(Arrival::End);
        }
        let mut rest = &sealed[..came];
        let mut len = 0;
        while !rest.is_empty() {
            if self.session.read_tls(&mut rest)? == 0 {
                // Behind the other side's farewell.
                break;
            }
            let state = self.session.process_new_packets();
            let ready = state.map_err(io::Error::other)?.plaintext_bytes_to_read();
            self.session
                .reader()
                .read_exact(&mut buffer[len..len + ready])?;
            len += ready;
        }
        Ok(Arrival::Bytes {
            len,
            is_last: came < sealed.len(),
        })
    }

    /// Seals some of `bytes` and sends it, or as much of it as the socket takes; nothing before the
    /// handshake is over.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if self.session.is_handshaking() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = self.session.writer().write(bytes)?;
        match self.flush() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            // The rest is sent by a later call.
            _ => Ok(taken),
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            self.session.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.socket
    }
}
