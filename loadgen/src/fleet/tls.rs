//! TLS over a non-blocking socket.
//!
//! Every connection makes a handshake of its own, with what rustls offers by default: nothing is
//! resumed, so that all cost the broker the same.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};

use super::stream::Arrival;

/// The name that brokers started here have a certificate for.
const NAME: &str = "localhost";

/// What makes connections.
pub(super) struct Connector(Arc<ClientConfig>);

impl Connector {
    /// One that takes any certificate.
    ///
    /// # Errors
    /// The cryptography of this program does not do.
    pub(super) fn new() -> io::Result<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let mut config = config.with_no_client_auth();
        config.resumption = Resumption::disabled();
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

/// Takes any certificate: brokers sign their own, and nothing that is sent here is a secret.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
