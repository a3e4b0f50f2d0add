//! Which listeners are open at the moment, for whoever asks.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::settings::ListenerKind;
use crate::tls::ServerTls;

/// The listeners that are open, and the certificate of those with TLS.
#[derive(Debug, Default)]
pub(crate) struct ListenerDirectory(RwLock<Listening>);

#[derive(Debug, Default)]
struct Listening {
    listeners: Vec<(ListenerKind, SocketAddr)>,
    tls: Option<Arc<ServerTls>>,
}

impl ListenerDirectory {
    pub(crate) fn set(
        &self,
        listeners: Vec<(ListenerKind, SocketAddr)>,
        tls: Option<Arc<ServerTls>>,
    ) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Listening { listeners, tls };
    }

    /// Returns the kind and the address of each listener, with the port that the system chose.
    pub(crate) fn listeners(&self) -> Vec<(ListenerKind, SocketAddr)> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.listeners.clone()
    }

    /// Returns the certificate of the TLS listeners, if there are any.
    pub(crate) fn tls(&self) -> Option<Arc<ServerTls>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        current.tls.clone()
    }
}
