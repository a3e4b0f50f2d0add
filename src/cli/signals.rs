//! Signals: what each of them asks of a running broker.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::broker::StopHandle;

/// The signals that are listened to. From its making on, none of them ends the process by itself.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: Signal,
}

/// The number of the signal that asked for a stop at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Killed(pub(super) u8);

enum Request {
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

    /// Drains the broker at the first SIGINT or SIGTERM; stops it and returns at the second.
    pub(super) async fn serve(mut self, broker: StopHandle) -> Killed {
        let mut is_draining = false;
        loop {
            match self.next().await {
                Request::Stop(kind, name) if is_draining => {
                    tracing::warn!("{name} again: stopping at once");
                    broker.abort();
                    return Killed(u8::try_from(kind.as_raw_value()).unwrap_or_default());
                }
                Request::Stop(_, name) => {
                    tracing::info!("{name}: draining; send it again to stop at once");
                    is_draining = true;
                    broker.drain();
                }
                Request::Stats => tell(&broker),
                Request::Hangup => match broker.reload_certificates() {
                    // What came of it has been logged.
                    Ok(true) | Err(_) => {}
                    Ok(false) => tracing::info!("SIGHUP: there is nothing to load again"),
                },
            }
        }
    }

    async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Stop(SignalKind::interrupt(), "SIGINT"),
            _ = self.terminate.recv() => Request::Stop(SignalKind::terminate(), "SIGTERM"),
            _ = self.hangup.recv() => Request::Hangup,
            _ = self.user.recv() => Request::Stats,
        }
    }
}

/// Most links that are logged one by one.
const LISTED: usize = 100;

/// Logs what the broker has done, and how its links stand.
fn tell(broker: &StopHandle) {
    tracing::info!("{}", broker.stats());
    let links = broker.links();
    for link in links.iter().take(LISTED) {
        tracing::info!("{link}");
    }
    if links.len() > LISTED {
        tracing::info!("and {} links more", links.len() - LISTED);
    }
}
