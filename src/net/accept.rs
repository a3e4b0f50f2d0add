//! The accept loop of one listener on one shard.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use super::door::{Door, Guest};
use crate::shard::gate::Full;
use crate::shard::socket::configure;
use crate::shard::{Phase, Shard};

/// Waits after a failed accept: the first, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Accepts connections until the broker stops.
pub(crate) async fn accept_forever(shard: Rc<Shard>, listener: TcpListener, door: Door) {
    let mut phase = shard.common.phase.subscribe();
    let running = phase.wait_for(|phase| *phase != Phase::Running);
    tokio::select! {
        _ = running => {}
        () = accept_all(&shard, &listener, &door) => {}
    }
}

async fn accept_all(shard: &Rc<Shard>, listener: &TcpListener, door: &Door) {
    let mut wait = BACKOFF.0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                wait = BACKOFF.0;
                admit(shard, door, stream, peer);
            }
            Err(error) if is_of_one_connection(&error) => shard.stats().accept_errors.add(1),
            Err(error) => {
                // Out of file descriptors or memory: those who are served must not notice, so
                // neither spin nor give up.
                shard.stats().accept_errors.add(1);
                if shard.log.admit() {
                    tracing::error!(%error, ?wait, "cannot accept connections; trying again");
                }
                sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}

/// Whether accept reported that one connection had died in the queue.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Counts a new connection and starts its join, or turns it away.
fn admit(shard: &Rc<Shard>, door: &Door, stream: TcpStream, peer: SocketAddr) {
    shard.stats().accepted.add(1);
    let gate = &shard.common.gate;
    let permits = gate
        .enter(peer.ip())
        .and_then(|permit| Ok((permit, gate.begin_join()?)));
    let permits = match permits {
        Ok(permits) => permits,
        Err(full) => return turn_away(shard, peer, full),
    };
    if let Err(error) = configure(&stream, peer, &shard.common.settings) {
        tracing::debug!(%peer, %error, "cannot set socket options");
    }
    let guest = Guest {
        peer,
        deadline: Instant::now() + shard.common.settings.limits.join_deadline,
        permits,
    };
    door.welcome(shard, stream, guest);
}

fn turn_away(shard: &Shard, peer: SocketAddr, full: Full) {
    shard.stats().turned_away.add(1);
    if shard.log.admit() {
        tracing::warn!(%peer, limit = full.limit(), "connection turned away: at the limit");
    }
}
