//! Connections that have not joined yet.

use std::net::SocketAddr;

use tokio::time::{Instant, timeout_at};

use super::Common;
use super::limits::Permit;
use super::refusal::Refusal;
use crate::settings::Settings;

/// A connection that was accepted and has not joined yet.
#[derive(Debug)]
pub(crate) struct PendingJoin {
    /// Address of the client; that of the proxy until a trusted one has named its client.
    pub(crate) peer: SocketAddr,
    /// Address at the other end of the connection.
    pub(crate) hop: SocketAddr,
    /// Time by which it must have joined.
    pub(crate) deadline: Instant,
    /// Counts it against the limits.
    pub(crate) permit: Permit,
}

impl PendingJoin {
    /// Runs a step of the join, within the time that the connection has for all of them.
    ///
    /// # Errors
    ///
    /// The deadline has come, or the connection has to make room for others.
    pub(crate) async fn wait_for<T>(&self, step: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            why = self.permit.let_go() => Err(Refusal::LetGo(why)),
            done = timeout_at(self.deadline, step) => done.map_err(|_| Refusal::TooSlow {
                awaited: "whole join frame",
            }),
        }
    }

    /// Returns `true` if nobody on the way can have read what comes in, as far as we know: the other end
    /// is on this machine, or a trusted proxy.
    pub(crate) fn is_near(&self, settings: &Settings) -> bool {
        let ip = self.hop.ip().to_canonical();
        ip.is_loopback() || settings.proxies.trusts(ip)
    }

    /// Returns `true` if the other end is a trusted proxy, which may send requests of several clients here.
    pub(crate) fn may_serve_others(&self, settings: &Settings) -> bool {
        settings.proxies.trusts(self.peer.ip())
    }

    /// Counts the connection for its client's address. A trusted proxy counts for nobody: limits are for
    /// clients, and its health checks must not meet any.
    ///
    /// # Errors
    ///
    /// The address is banned, or has too many connections.
    pub(crate) fn assign(&self, common: &Common, client: SocketAddr) -> Result<(), Refusal> {
        if common.settings().proxies.trusts(client.ip()) {
            return Ok(());
        }
        if let Some(left) = common.banned_for(client.ip()) {
            return Err(Refusal::Banned(left));
        }
        let assigned = self.permit.assign(client.ip(), Instant::now().into());
        assigned.map_err(Refusal::LimitReached)
    }
}
