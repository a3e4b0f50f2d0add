//! What the service manager is told of a running broker, over the socket in `NOTIFY_SOCKET`, as systemd has it
//! (`Type=notify`, `WatchdogSec=`). Without that variable nothing is told.

use std::io;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::broker::StopHandle;

/// Time between two looks at the broker.
const TICK: Duration = Duration::from_millis(250);
/// Longest time between two lines of status.
const STATUS: Duration = Duration::from_secs(10);
/// Time that a stop may take beyond its settings.
const RESERVE: Duration = Duration::from_secs(5);

/// Tells that the broker listens, and follows it from then on, in a thread of its own: that it is alive for as long as
/// all of its shards are, how many it serves, and that it is being stopped.
///
/// # Errors
///
/// The thread cannot be started.
pub(super) fn follow(broker: StopHandle, stop_within: Duration) -> io::Result<()> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(());
    }
    tell(&[NotifyState::Ready, NotifyState::Status(&serving(&broker))]);
    let thread = std::thread::Builder::new().name("mles-service".to_owned());
    thread.spawn(move || watch(&broker, stop_within)).map(drop)
}

/// Tells that settings are being loaded again.
pub(super) fn reloading() {
    // Without the time systemd takes it for the older kind of notice.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// Tells that the settings that were loaded, or those before, are in force.
pub(super) fn reloaded() {
    tell(&[NotifyState::Ready]);
}

/// Tells the rest, for as long as the process lives.
fn watch(broker: &StopHandle, stop_within: Duration) {
    // Half of the time is what systemd advises; a busy machine may need the rest.
    let interval = sd_notify::watchdog_enabled().map_or(STATUS, |limit| (limit / 3).min(STATUS));
    let mut told = Instant::now();
    let mut is_draining = false;
    tell_alive(broker, is_draining);
    loop {
        std::thread::sleep(TICK.min(interval));
        if !is_draining && broker.is_draining() {
            is_draining = true;
            tell_stopping(stop_within);
        }
        if told.elapsed() >= interval {
            told = Instant::now();
            tell_alive(broker, is_draining);
        }
    }
}

/// Tells that the broker is alive, if it is, and what it does.
fn tell_alive(broker: &StopHandle, is_draining: bool) {
    let stats = broker.stats();
    let status = if is_draining {
        format!("Stopping: {} connections left", stats.connections)
    } else {
        serving(broker)
    };
    if broker.is_healthy() {
        tell(&[NotifyState::Watchdog, NotifyState::Status(&status)]);
    } else {
        tell(&[NotifyState::Status("A shard does not turn its loop")]);
    }
}

/// Tells that the broker is being stopped, and how long that may take, whatever the unit has for it.
fn tell_stopping(within: Duration) {
    let within = within.saturating_add(RESERVE).as_micros();
    let within = u32::try_from(within).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(within),
        NotifyState::Status("Stopping"),
    ]);
}

fn serving(broker: &StopHandle) -> String {
    let stats = broker.stats();
    format!(
        "Serving {} connections in {} channels",
        stats.connections, stats.channels
    )
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "cannot tell the service manager");
    }
}
