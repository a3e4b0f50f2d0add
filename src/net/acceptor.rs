//! The kinds of listeners, and the steps from an accepted connection to its join: PROXY header, TLS
//! handshake, first frame or request.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::{Connection, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::{join, proxy};
use crate::gateway::http;
use crate::settings::{ListenerKind, Settings};
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::limits::{LimitReached, Permit};
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::turn;
use crate::tls::{ServerTls, explain_client_error};

/// A listener's kind together with its TLS configuration, ready to accept.
#[derive(Clone, Debug)]
pub(crate) enum Acceptor {
    Mles,
    MlesTls(Arc<ServerTls>),
    WebSocket,
    WebSocketTls(Arc<ServerTls>),
}

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

    /// Counts the connection for its client's address. A trusted proxy counts for nobody: limits are for
    /// clients, and its health checks must not meet any.
    pub(crate) fn assign(
        &self,
        settings: &Settings,
        client: SocketAddr,
    ) -> Result<(), LimitReached> {
        if settings.proxies.trusts(client.ip()) {
            return Ok(());
        }
        self.permit.assign(client.ip(), Instant::now().into())
    }

    /// Reads the client's address, where a proxy has to send it first. Counts and logs a failure.
    async fn identified(
        mut self,
        shard: &Shard,
        kind: ListenerKind,
        stream: &TcpStream,
    ) -> Option<Self> {
        if !shard
            .common
            .settings
            .proxies
            .expects_header(kind, self.hop.ip())
        {
            return Some(self);
        }
        let header = self.wait_for(proxy::read_header(stream)).await;
        let known = header.and_then(|header| header).and_then(|client| {
            self.peer = client.unwrap_or(self.hop);
            self.assign(&shard.common.settings, self.peer)
                .map_err(Refusal::LimitReached)
        });
        match known {
            Ok(()) => Some(self),
            Err(refusal) => {
                shard.note_refusal(self.peer, Attempt::Join, &refusal);
                None
            }
        }
    }
}

impl Acceptor {
    pub(crate) const fn kind(&self) -> ListenerKind {
        match self {
            Self::Mles => ListenerKind::Mles,
            Self::MlesTls(_) => ListenerKind::MlesTls,
            Self::WebSocket => ListenerKind::WebSocket,
            Self::WebSocketTls(_) => ListenerKind::WebSocketTls,
        }
    }

    /// Starts the task that takes a connection to its join.
    pub(crate) fn accept(&self, shard: &Rc<Shard>, stream: TcpStream, pending: PendingJoin) {
        let task_shard = shard.clone();
        let kind = self.kind();
        match self {
            Self::Mles => shard.spawn(async move {
                if let Some(pending) = pending.identified(&task_shard, kind, &stream).await {
                    join::plain(&task_shard, stream, pending).await;
                }
            }),
            Self::WebSocket => shard.spawn(async move {
                if let Some(pending) = pending.identified(&task_shard, kind, &stream).await {
                    http::visit(&task_shard, Layered::new(stream, None), pending).await;
                }
            }),
            Self::MlesTls(tls) => {
                let config = tls.mles();
                shard.spawn(async move {
                    let encrypted = encrypted(&task_shard, config, kind, stream, pending).await;
                    if let Some((layered, pending)) = encrypted {
                        join::over_tls(&task_shard, layered, pending).await;
                    }
                });
            }
            Self::WebSocketTls(tls) => {
                let config = tls.http();
                shard.spawn(async move {
                    let encrypted = encrypted(&task_shard, config, kind, stream, pending).await;
                    if let Some((layered, pending)) = encrypted {
                        http::visit(&task_shard, layered, pending).await;
                    }
                });
            }
        }
    }
}

/// Does the TLS handshake with a client, once that is identified. Counts and logs a failure.
async fn encrypted(
    shard: &Shard,
    config: Arc<ServerConfig>,
    kind: ListenerKind,
    stream: TcpStream,
    pending: PendingJoin,
) -> Option<(Layered, PendingJoin)> {
    let pending = pending.identified(shard, kind, &stream).await?;
    let handshake = async {
        begins_with_tls(&stream).await?;
        let accepting = TlsAcceptor::from(config).accept(stream);
        match shard.in_lane(turn::TLS_HANDSHAKE, accepting).await {
            Ok(stream) => {
                let (stream, tls) = stream.into_inner();
                Ok(Layered::new(stream, Some(Connection::Server(tls))))
            }
            Err(error) if is_end(&error) => Err(Refusal::LeftInHandshake),
            Err(error) => Err(Refusal::Tls(explain_client_error(&error))),
        }
    };
    match pending.wait_for(handshake).await.and_then(|result| result) {
        Ok(layered) => Some((layered, pending)),
        Err(refusal) => {
            shard.note_refusal(pending.peer, Attempt::Join, &refusal);
            None
        }
    }
}

/// Waits for the first bytes and leaves them unread. Rejects those that are no TLS for sure.
async fn begins_with_tls(stream: &TcpStream) -> Result<(), Refusal> {
    let mut first = [0; 16];
    match stream.peek(&mut first).await {
        Ok(0) => Err(Refusal::LeftSilently),
        Ok(n) if proxy::is_header(&first[..n]) => Err(Refusal::UnexpectedProxyHeader),
        Ok(_) => Ok(()),
        Err(error) if is_end(&error) => Err(Refusal::LeftSilently),
        Err(error) => Err(error.into()),
    }
}

/// Returns `true` if the error only says that the client is gone.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}
