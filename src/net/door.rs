//! What comes in where: the kinds of listeners, and what each does with a new connection.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::{Connection, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::refusal::{Refusal, refused};
use super::{http, join};
use crate::shard::Shard;
use crate::shard::gate::Permit;
use crate::shard::layered::Layered;
use crate::shard::turn;
use crate::tls::{ServerTls, client_failed};

/// What a listener takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerKind {
    /// Mles v1 over TCP.
    Mles,
    /// Mles v1 over TLS.
    MlesTls,
    /// WebSocket.
    WebSocket,
    /// WebSocket over TLS.
    WebSocketTls,
}

/// The same with what it needs.
#[derive(Clone, Debug)]
pub(crate) enum Door {
    Mles,
    MlesTls(Arc<ServerTls>),
    WebSocket,
    WebSocketTls(Arc<ServerTls>),
}

/// A connection that has been let in and has not joined.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) peer: SocketAddr,
    /// When it must have joined.
    pub(super) deadline: Instant,
    /// Counts it.
    pub(super) permit: Permit,
}

impl Guest {
    /// Waits for a step of the join, for as long as the connection may take for it.
    ///
    /// # Errors
    ///
    /// The deadline has come, or the connection has to make room for others.
    pub(super) async fn wait_for<T>(&self, step: impl Future<Output = T>) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            why = self.permit.let_go() => Err(Refusal::LetGo(why)),
            done = timeout_at(self.deadline, step) => done.map_err(|_| Refusal::TooSlow),
        }
    }
}

impl Guest {
    /// Returns `true` if it is on this machine.
    pub(super) fn is_here(&self) -> bool {
        self.peer.ip().to_canonical().is_loopback()
    }
}

impl Door {
    pub(crate) const fn kind(&self) -> ListenerKind {
        match self {
            Self::Mles => ListenerKind::Mles,
            Self::MlesTls(_) => ListenerKind::MlesTls,
            Self::WebSocket => ListenerKind::WebSocket,
            Self::WebSocketTls(_) => ListenerKind::WebSocketTls,
        }
    }

    /// Starts the task that sees a connection to its join.
    pub(super) fn welcome(&self, shard: &Rc<Shard>, stream: TcpStream, guest: Guest) {
        let task_shard = shard.clone();
        match self {
            Self::Mles => shard.spawn(async move {
                join::plain(&task_shard, stream, guest).await;
            }),
            Self::WebSocket => shard.spawn(async move {
                http::visit(&task_shard, Layered::new(stream, None), guest).await;
            }),
            Self::MlesTls(tls) => {
                let config = tls.mles();
                shard.spawn(async move {
                    if let Some(layered) = encrypted(&task_shard, config, stream, &guest).await {
                        join::over_tls(&task_shard, layered, guest).await;
                    }
                });
            }
            Self::WebSocketTls(tls) => {
                let config = tls.http();
                shard.spawn(async move {
                    if let Some(layered) = encrypted(&task_shard, config, stream, &guest).await {
                        http::visit(&task_shard, layered, guest).await;
                    }
                });
            }
        }
    }
}

/// Does the TLS handshake. If it fails that is counted and logged.
async fn encrypted(
    shard: &Shard,
    config: Arc<ServerConfig>,
    stream: TcpStream,
    guest: &Guest,
) -> Option<Layered> {
    let accepted = shard.in_lane(
        turn::TLS_HANDSHAKE,
        TlsAcceptor::from(config).accept(stream),
    );
    let accepted = guest.wait_for(accepted);
    let refusal = match accepted.await {
        Ok(Ok(stream)) => {
            let (stream, tls) = stream.into_inner();
            return Some(Layered::new(stream, Some(Connection::Server(tls))));
        }
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Refusal::LeftInHandshake,
        Ok(Err(error)) => Refusal::Tls(client_failed(&error)),
        Err(refusal) => refusal,
    };
    refused(shard, guest.peer, &refusal);
    None
}
