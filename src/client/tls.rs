//! TLS of sessions, with a runtime and without.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::error::Error;
use super::options::SessionOptions;
use crate::server_name::ServerName;
use crate::tls::{ClientTls, ClientTlsOptions, explain_io_error};

/// TLS that trusts the authorities of the system, for all clients of the process that name no others.
static SYSTEM: Mutex<Option<ClientTls>> = Mutex::new(None);

/// Returns what TLS with `server` is made with, or `None` for a connection without TLS.
pub(super) fn tls_for(
    options: &SessionOptions,
    server: &ServerName,
) -> Result<Option<ClientTls>, Error> {
    match &options.tls {
        Some(tls) => Ok(Some(tls.clone())),
        None if server.is_tls() => Ok(Some(system()?)),
        None => Ok(None),
    }
}

/// Returns [`SYSTEM`]. Reads the authorities only once, as that takes milliseconds.
fn system() -> Result<ClientTls, Error> {
    let mut system = SYSTEM.lock().unwrap_or_else(PoisonError::into_inner);
    match &*system {
        Some(tls) => Ok(tls.clone()),
        None => {
            let tls = ClientTls::new(ClientTlsOptions::default())?;
            Ok(system.insert(tls).clone())
        }
    }
}

/// Explains an error of reading. An end without a goodbye may have been made by somebody on the way: it
/// counts as a connection that was cut.
pub(super) fn explain_read_error(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let text = "the connection was closed without a goodbye of TLS";
        return io::Error::new(io::ErrorKind::ConnectionAborted, text);
    }
    explain_io_error(error)
}
