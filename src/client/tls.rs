//! What sessions over TLS have in common, with a runtime and without.

use std::io;
use std::sync::{Mutex, PoisonError};

use super::config::Client;
use super::error::Error;
use crate::server_name::ServerName;
use crate::tls::{ClientTls, ClientTlsOptions, explained};

/// The authorities of the system, for all clients of the process that were told nothing else.
static SYSTEM: Mutex<Option<ClientTls>> = Mutex::new(None);

/// How `client` talks to `server`: `None` is without TLS.
pub(super) fn of(client: &Client, server: &ServerName) -> Result<Option<ClientTls>, Error> {
    match &client.tls {
        Some(tls) => Ok(Some(tls.clone())),
        None if server.is_tls() => Ok(Some(system()?)),
        None => Ok(None),
    }
}

/// Reads the system's authorities once: that takes milliseconds.
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

/// An error of writing, in plain words.
pub(super) fn plain(error: io::Error) -> io::Error {
    explained(error)
}

/// An error of reading, in plain words. An end without a goodbye may be one that somebody on the way
/// has made: it counts as a connection that was cut.
pub(super) fn at_end(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        let text = "the connection was closed without a goodbye of TLS";
        return io::Error::new(io::ErrorKind::ConnectionAborted, text);
    }
    explained(error)
}
