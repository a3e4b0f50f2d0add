//! Checks of listeners: somebody must be able to join there, and not just anybody.

use std::net::SocketAddr;

use super::Access;
use super::rights::Entry;
use crate::settings::{ListenerKind, Settings};

/// Reason for which a listener must not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListenerFault {
    /// Anyone who can reach it could join.
    Unprotected,
    /// Nobody could join: over WebSocket a key is made of the shared secret, and there is none, nor a key for tokens.
    NoWebSocketKey,
}

/// Checks a listener of `kind` at `address`.
///
/// # Errors
///
/// See [`ListenerFault`].
pub(crate) fn check_listener(
    settings: &Settings,
    kind: ListenerKind,
    address: SocketAddr,
) -> Result<(), ListenerFault> {
    let access = Access::new(settings);
    let is_open = access.is_open() || kind.is_web() && access.trusts_web;
    let is_near = address.ip().to_canonical().is_loopback();
    if is_open && !is_near && !settings.allow_anonymous {
        return Err(ListenerFault::Unprotected);
    }
    let needs_shared = kind.is_web() && !access.admits_anonymous(Entry::Web);
    if needs_shared && !access.keys.has_shared() && !access.tokens.has_keys() {
        return Err(ListenerFault::NoWebSocketKey);
    }
    Ok(())
}
