//! The kinds of listeners, and the steps from an accepted connection to its join: PROXY header, TLS
//! handshake, first frame or request.

use std::rc::Rc;
use std::sync::Arc;

use rustls::{Connection, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{join, proxy};
use crate::gateway;
use crate::settings::ListenerKind;
use crate::shard::Shard;
use crate::shard::layered::Layered;
use crate::shard::pending_join::PendingJoin;
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::stream::is_end;
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
                if let Some(pending) = identified(pending, &task_shard, kind, &stream).await {
                    join::plain(&task_shard, stream, pending).await;
                }
            }),
            Self::WebSocket => shard.spawn(async move {
                if let Some(pending) = identified(pending, &task_shard, kind, &stream).await {
                    gateway::serve(&task_shard, Layered::new(stream, None), pending).await;
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
                        gateway::serve(&task_shard, layered, pending).await;
                    }
                });
            }
        }
    }
}

/// Reads the client's address, where a proxy has to send it first. Counts and logs a failure.
async fn identified(
    mut pending: PendingJoin,
    shard: &Shard,
    kind: ListenerKind,
    stream: &TcpStream,
) -> Option<PendingJoin> {
    if !shard
        .common
        .settings()
        .proxies
        .expects_header(kind, pending.hop.ip())
    {
        return Some(pending);
    }
    let header = pending.wait_for(proxy::read_header(stream)).await;
    let known = header.and_then(|header| header).and_then(|client| {
        pending.peer = client.unwrap_or(pending.hop);
        pending.assign(&shard.common, pending.peer)
    });
    match known {
        Ok(()) => Some(pending),
        Err(refusal) => {
            shard.note_refusal(pending.peer, Attempt::Join, &refusal);
            None
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
    let pending = identified(pending, shard, kind, &stream).await?;
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
