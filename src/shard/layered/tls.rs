//! Reading and writing TLS without waiting.

use std::io::{self, IoSlice, Read as _};

use rustls::Connection;
use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use crate::tls::explain_error;

use crate::shard::turn;

/// Bytes taken from TLS at once: no record has more.
const RECORD: usize = 16 << 10;

/// The outcome of one step of reading.
pub(super) enum TlsProgress {
    /// Something; there may be more.
    More,
    /// All there is for now, or the end of the stream.
    End,
}

/// Takes decrypted bytes out of `tls`, or received ones in.
pub(super) fn read_tls(
    tls: &mut Connection,
    stream: &TcpStream,
    buf: &mut ReadBuf<'_>,
) -> io::Result<TlsProgress> {
    let room = buf.remaining().min(RECORD);
    match tls.reader().read(buf.initialize_unfilled_to(room)) {
        Ok(0) => return Ok(TlsProgress::End),
        Ok(n) => {
            buf.advance(n);
            return Ok(TlsProgress::More);
        }
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        Err(_) => {}
    }
    let received = tls.read_tls(&mut TlsSocket(stream))?;
    match tls.process_new_packets() {
        Ok(state) => {
            charge(received, state.plaintext_bytes_to_read());
            Ok(TlsProgress::More)
        }
        Err(error) => {
            let peer = match tls {
                Connection::Server(_) => "the client",
                Connection::Client(_) => "the server",
            };
            let text = explain_error(&error, peer);
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
    }
}

/// Charges the turn for `received` bytes in which there were `plain` bytes. The rest is mostly what TLS
/// adds to each record, at least 22 bytes (RFC 8446, 5.2: header, content type, tag of AES-GCM), so it
/// tells how many records there were at most.
fn charge(received: usize, plain: usize) {
    const PER_RECORD: usize = 22;
    turn::spend(turn::SYSTEM_CALL);
    turn::spend_bytes(received);
    let records = received.saturating_sub(plain) / PER_RECORD;
    turn::spend_each(records.saturating_mul(turn::TLS_RECORD as usize));
}

/// The socket as TLS reads and writes it.
pub(super) struct TlsSocket<'a>(pub(super) &'a TcpStream);

impl io::Read for TlsSocket<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buf)
    }
}

impl io::Write for TlsSocket<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.try_write(buf)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bufs)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
