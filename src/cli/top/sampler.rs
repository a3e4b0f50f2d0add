//! A thread that asks the server once a second, so that a slow answer delays no key.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use super::screen::Screen;
use crate::cli::admin::{AdminClient, AdminError, ChannelOrder, Snapshot};
use crate::cli::exit;

/// Time from one question to the next.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest time that giving the terminal back may take.
const GRACE: Duration = Duration::from_millis(500);
/// Most channels and members that are asked for: more than a terminal has lines.
const LIMIT: usize = 100;

/// News for the screen.
pub(super) enum Update {
    /// A snapshot that was taken.
    Taken(Instant, Box<Snapshot>),
    /// The server could not be asked, for a reason.
    Failed(String),
    /// A signal asks the program to end.
    Stop,
}

/// Brings snapshots of a server.
pub(super) struct Sampler {
    updates: Receiver<Update>,
    order: Arc<Mutex<ChannelOrder>>,
}

impl Sampler {
    /// Takes a first snapshot, and starts to take others.
    ///
    /// # Errors
    ///
    /// When the first cannot be taken.
    pub(super) fn start(client: AdminClient) -> Result<(Self, Screen), AdminError> {
        let order = ChannelOrder::default();
        let snapshot = Snapshot::take(&client, order, LIMIT)?;
        let mut screen = Screen::new(client.place().to_owned());
        screen.take(Instant::now(), snapshot);
        let (sender, updates) = channel();
        watch_signals(sender.clone()).map_err(AdminError::Start)?;
        let order = Arc::new(Mutex::new(order));
        let asked = order.clone();
        thread::Builder::new()
            .name("mles-sampler".to_owned())
            .spawn(move || sample(&client, &asked, &sender))
            .map_err(AdminError::Start)?;
        Ok((Self { updates, order }, screen))
    }

    /// Has the channels come in another order from the next snapshot on.
    pub(super) fn ask_for(&self, order: ChannelOrder) {
        *self.order.lock().unwrap_or_else(PoisonError::into_inner) = order;
    }

    /// Returns news that have come, without waiting.
    pub(super) fn next(&self) -> Option<Update> {
        self.updates.try_recv().ok()
    }
}

/// Takes snapshots until nobody wants them any more.
fn sample(client: &AdminClient, order: &Mutex<ChannelOrder>, updates: &Sender<Update>) {
    loop {
        thread::sleep(PERIOD);
        let order = *order.lock().unwrap_or_else(PoisonError::into_inner);
        let update = match Snapshot::take(client, order, LIMIT) {
            Ok(snapshot) => Update::Taken(Instant::now(), Box::new(snapshot)),
            Err(error) => Update::Failed(error.to_string()),
        };
        if updates.send(update).is_err() {
            return;
        }
    }
}

/// Tells of SIGTERM and SIGHUP, so that the terminal is given back as it was. Ends the process if that takes too long:
/// crossterm reads for ever from a terminal that is gone.
fn watch_signals(updates: Sender<Update>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut hangup) = {
        let _context = runtime.enter();
        (
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    thread::Builder::new()
        .name("mles-signals".to_owned())
        .spawn(move || {
            let signal = runtime.block_on(async {
                tokio::select! {
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = hangup.recv() => SignalKind::hangup(),
                }
            });
            // Nobody wants to know once the program ends anyway.
            let _ = updates.send(Update::Stop);
            thread::sleep(GRACE);
            std::process::exit(exit::by_signal(signal).into());
        })?;
    Ok(())
}
