//! Signals to a running broker.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reloader::Reloader;
use super::service;
use crate::broker::StopHandle;

/// Listens to signals. From its creation on, none of them ends the process by itself.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

/// A request of the operator, made with a signal.
enum OperatorRequest {
    Stop(SignalKind, &'static str),
    Stats,
    Hangup,
}

impl Signals {
    /// Begins to listen. Needs the context of a runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Drains the broker at the first SIGINT or SIGTERM; stops it at the second, and returns that.
    pub(super) async fn serve(mut self, broker: StopHandle, reloader: Arc<Reloader>) -> SignalKind {
        let mut is_draining = false;
        loop {
            match self.next().await {
                OperatorRequest::Stop(kind, name) if is_draining => {
                    tracing::warn!("{name} again: stopping at once");
                    broker.abort();
                    return kind;
                }
                OperatorRequest::Stop(_, name) => {
                    tracing::info!("{name}: draining; send it again to stop at once");
                    is_draining = true;
                    broker.drain();
                }
                OperatorRequest::Stats => tell(&broker),
                OperatorRequest::Hangup => {
                    let reloader = reloader.clone();
                    // It takes a while, in which other signals may come. What comes of it is logged.
                    tokio::task::spawn_blocking(move || {
                        service::reloading();
                        drop(reloader.reload());
                        service::reloaded();
                    });
                }
            }
        }
    }

    async fn next(&mut self) -> OperatorRequest {
        tokio::select! {
            _ = self.interrupt.recv() => OperatorRequest::Stop(SignalKind::interrupt(), "SIGINT"),
            _ = self.terminate.recv() => OperatorRequest::Stop(SignalKind::terminate(), "SIGTERM"),
            _ = self.hangup.recv() => OperatorRequest::Hangup,
            _ = self.user.recv() => OperatorRequest::Stats,
        }
    }
}

/// Most links that are logged one by one.
const LISTED: usize = 100;

/// Logs the broker's counters, and the state of its links.
fn tell(broker: &StopHandle) {
    tracing::info!("{}", broker.stats());
    let links = broker.links();
    for link in links.iter().take(LISTED) {
        tracing::info!("{link}");
    }
    if links.len() > LISTED {
        tracing::info!("and {} more links", links.len() - LISTED);
    }
}
