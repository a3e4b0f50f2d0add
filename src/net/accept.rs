//! The accept loop of one listener on one shard.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::acceptor::Acceptor;
use crate::shard::pending_join::PendingJoin;
use crate::shard::refusal::{Attempt, Refusal};
use crate::shard::socket::configure;
use crate::shard::turn;
use crate::shard::{BrokerPhase, Shard};

/// Shortest and longest wait after a failed accept.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Units of a turn that accepting a connection costs: system calls, most of them for socket options.
const ACCEPTED: u32 = 8 * turn::SYSTEM_CALL;

/// Time between two looks at whether connections that were told to go have gone.
const TICK: Duration = Duration::from_millis(1);
/// Most such looks before the next connection is accepted all the same.
const SETTLE_TICKS: u32 = 50;
/// Most connections on their way out while others are accepted.
const MOST_GOING: usize = 32;
/// Most connections that are still accepted when a stop has begun.
const MOST_WAITING: usize = 1024;

/// Accepts connections until the broker stops, or the listener is `closed`: then those that the kernel has completed
/// are accepted before it goes.
pub(crate) async fn accept_until(
    shard: Rc<Shard>,
    listener: TcpListener,
    acceptor: Acceptor,
    closed: impl Future<Output = ()>,
) {
    let mut phase = shard.common.phase.subscribe();
    let draining = phase.wait_for(|phase| *phase >= BrokerPhase::Draining);
    tokio::select! {
        _ = draining => {}
        () = accept_all(&shard, &listener, &acceptor) => {}
        () = closed => {}
    }
    // Others may serve those that wait on a socket of several programs. On one of ours the kernel would reset them; like
    // this they are told that the broker is stopping, as far as they can be.
    if !SockRef::from(&listener).reuse_port().unwrap_or(false) {
        return;
    }
    for _ in 0..MOST_WAITING {
        let Ok(Ok((stream, peer))) = timeout(Duration::ZERO, listener.accept()).await else {
            return;
        };
        admit(&shard, &acceptor, stream, peer);
    }
}

async fn accept_all(shard: &Rc<Shard>, listener: &TcpListener, acceptor: &Acceptor) {
    let mut wait = BACKOFF.0;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                wait = BACKOFF.0;
                admit(shard, acceptor, stream, peer);
                settle(shard).await;
                turn::spend(ACCEPTED);
                if turn::spent() >= turn::BUDGET / 2 {
                    shard.yield_turn().await;
                }
            }
            Err(error) if is_of_one_connection(&error) => shard.stats().accept_errors.add(1),
            Err(error) => {
                // Out of file descriptors or memory: those who are served must not notice, so
                // neither spin nor give up.
                shard.stats().accept_errors.add(1);
                if is_out_of_files(&error) && shard.common.limiter.free_file(Instant::now().into())
                {
                    sleep(TICK).await;
                    continue;
                }
                if shard.log.admit() {
                    tracing::error!(%error, ?wait, "cannot accept connections; trying again");
                }
                sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}

/// Returns `true` if accept reported that one connection had died in the queue.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    )
}

/// Returns `true` if accept failed because no file can be opened: here, or in the whole system.
fn is_out_of_files(error: &io::Error) -> bool {
    // ENFILE and EMFILE, which have the same numbers on every Unix.
    matches!(error.raw_os_error(), Some(23 | 24))
}

/// Waits while many connections that were told to make room are still open: they hold files, although
/// their places are others' already. Not for long: one that does not go must not keep everybody
/// waiting.
async fn settle(shard: &Shard) {
    for _ in 0..SETTLE_TICKS {
        if shard.common.limiter.going() < MOST_GOING {
            return;
        }
        sleep(TICK).await;
    }
}

/// Counts a new connection and starts its join, or refuses it at a limit.
fn admit(shard: &Rc<Shard>, acceptor: &Acceptor, stream: TcpStream, peer: SocketAddr) {
    shard.stats().accepted.add(1);
    let now = Instant::now();
    let (limiter, settings) = (&shard.common.limiter, shard.common.settings());
    if let Some(left) = shard.common.banned_for(peer.ip()) {
        return shard.note_refusal(peer, Attempt::Connect, &Refusal::Banned(left));
    }
    // Limits are for clients, so a proxy that names them counts for none.
    let entered = if settings.proxies.may_name_client(acceptor.kind(), peer.ip()) {
        limiter.enter_unnamed(now.into())
    } else {
        limiter.enter(peer.ip(), now.into())
    };
    let permit = match entered {
        Ok(permit) => permit,
        Err(full) => {
            return shard.note_refusal(peer, Attempt::Connect, &Refusal::LimitReached(full));
        }
    };
    if let Err(error) = configure(&stream, peer, &settings) {
        tracing::debug!(%peer, %error, "cannot set socket options");
    }
    let pending = PendingJoin {
        peer,
        hop: peer,
        deadline: now + settings.limits.join_deadline,
        permit,
    };
    acceptor.accept(shard, stream, pending);
}
