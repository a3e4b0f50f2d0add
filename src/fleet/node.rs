//! The thread of a node: finds the log, and serves until the broker stops.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::sync::{Notify, mpsc, oneshot};

use super::handle::{FleetEvent, FleetHandle, OpenFleet, Routes};
use super::status::FleetPhase;
use crate::log::{Log, LogError};
use crate::order::{Applied, Incarnation, Packer, Section, Sequence};
use crate::shard::{BrokerPhase, Common};

/// Time between two log lines about trouble that lasts. Reading and appending may have different words for it.
const REMIND: Duration = Duration::from_secs(10);

/// How long a node waits for its own records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FleetPatience {
    /// Time without one after which the node is not ready, and those who publish wait.
    pub(crate) stall: Duration,
    /// Time without one after which its clients are closed.
    pub(crate) cut_off: Duration,
}

impl FleetPatience {
    /// Returns the patience of a node that is not ready after `stall`.
    pub(crate) fn new(stall: Duration) -> Self {
        Self {
            stall,
            cut_off: 3 * stall,
        }
    }
}

/// A node of a fleet, which only its own thread touches.
pub(super) struct Node<L> {
    pub(super) log: L,
    pub(super) handle: Arc<FleetHandle>,
    pub(super) patience: FleetPatience,
    pub(super) common: Arc<Common>,
    shards: Vec<mpsc::Sender<FleetEvent>>,
    pub(super) applied: RefCell<Applied>,
    pub(super) packer: RefCell<Packer>,
    /// The end of the log when its tail began.
    pub(super) end: Cell<Sequence>,
    /// The end of the log when the node began with the oldest record.
    pub(super) begun_at: Cell<Sequence>,
    /// Number of the newest own record that has come back.
    pub(super) returned: Cell<u64>,
    /// When it came back, or when the node began to wait for the first.
    pub(super) returned_at: Cell<Instant>,
    /// Since when the log says that it ends before what was applied.
    pub(super) ends_before_since: Cell<Option<Instant>>,
    /// The time of the log at which the oldest was made of what is late and was proposed again, in milliseconds.
    pub(super) late_since_ms: Cell<Option<u64>>,
    /// When the node last looked whether its records come back.
    pub(super) looked_at: Cell<Instant>,
    /// Tells that an own record has come back.
    pub(super) news: Notify,
    /// When the log was last told of trouble, while there is some.
    trouble_told: Cell<Option<Instant>>,
}

/// Finds the log that `connect` connects to, on a thread of its own. Blocks until it is found.
///
/// # Errors
///
/// The log is out of reach or unusable, or there is no thread. Nothing is left running.
pub(crate) fn open<L, F>(
    patience: FleetPatience,
    connect: impl FnOnce() -> F + Send + 'static,
) -> Result<OpenFleet, LogError>
where
    L: Log,
    F: Future<Output = Result<L, LogError>>,
{
    let no_thread = |error: io::Error| LogError::Unusable(format!("no thread: {error}").into());
    let (found, finding) = std::sync::mpsc::channel();
    let (begin, begun) = oneshot::channel();
    let thread = std::thread::Builder::new().name("mles-fleet".to_owned());
    let thread = thread.spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(Default::default());
        match runtime {
            Ok(runtime) => {
                runtime.block_on(run(patience, connect, &found, begun));
                // A name that is being resolved is not waited for.
                runtime.shutdown_background();
            }
            Err(error) => _ = found.send(Err(no_thread(error))),
        }
    });
    let thread = thread.map_err(no_thread)?;
    let ended = || LogError::Unusable("its thread has ended".into());
    let handle = finding.recv().map_err(|_| ended())??;
    Ok(OpenFleet {
        handle,
        begin,
        thread,
    })
}

async fn run<L, F>(
    patience: FleetPatience,
    connect: impl FnOnce() -> F,
    found: &std::sync::mpsc::Sender<Result<Arc<FleetHandle>, LogError>>,
    begun: oneshot::Receiver<Routes>,
) where
    L: Log,
    F: Future<Output = Result<L, LogError>>,
{
    let connected = async {
        let log = connect().await?;
        let state = log.describe().await?;
        Ok((log, state))
    };
    let (log, state) = match connected.await {
        Ok(connected) => connected,
        // Who waits for it is told.
        Err(error) => return drop(found.send(Err(error))),
    };
    let incarnation = Incarnation(rand::random());
    let applied = Applied::new(incarnation, &state);
    let begun_behind = applied.last();
    let (handle, proposals) = FleetHandle::new(state.epoch, begun_behind, state.max_record);
    let handle = Arc::new(handle);
    let _ = found.send(Ok(handle.clone()));
    // A start that fails elsewhere does not begin.
    let Ok(Routes { common, shards }) = begun.await else {
        return;
    };
    let node = Node {
        log,
        handle,
        patience,
        common,
        shards,
        applied: RefCell::new(applied),
        packer: RefCell::new(Packer::new(incarnation, state.max_record)),
        end: Cell::new(state.last),
        begun_at: Cell::new(state.last),
        returned: Cell::new(0),
        returned_at: Cell::new(Instant::now()),
        ends_before_since: Cell::new(None),
        late_since_ms: Cell::new(None),
        looked_at: Cell::new(Instant::now()),
        news: Notify::new(),
        trouble_told: Cell::new(None),
    };
    node.serve(proposals).await;
}

/// Stops the broker when the thread panics: nothing would come back from the log any more.
struct StopOnPanic<'a>(&'a Common);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

impl<L: Log> Node<L> {
    /// Does all that a node does, until the broker stops.
    async fn serve(&self, proposals: mpsc::UnboundedReceiver<Section>) {
        let _guard = StopOnPanic(&self.common);
        tokio::select! {
            () = self.follow_forever() => {}
            () = self.append_forever(proposals) => {}
            () = self.watch_forever() => {}
            () = self.common.reached(BrokerPhase::Stopped) => {}
        }
    }

    /// Tells all shards, in order with all else that they are told. Waits for those that are behind.
    pub(super) async fn tell(&self, event: FleetEvent) {
        for shard in &self.shards {
            // A shard is gone only when the broker stops.
            let _ = shard.send(event.clone()).await;
        }
    }

    /// Sets whether the node serves, and tells the shards.
    pub(super) async fn set_phase(&self, phase: FleetPhase) {
        let status = self.handle.status();
        let before = status.phase();
        if before == phase || before == FleetPhase::Unusable {
            return;
        }
        status.set_phase(phase);
        match phase {
            FleetPhase::Serving if before == FleetPhase::Starting => {
                tracing::info!(sequence = status.applied().0, "caught up with the fleet");
            }
            FleetPhase::Serving => tracing::info!("the fleet's log is back"),
            FleetPhase::Stalled => tracing::warn!(
                trouble = status.trouble().as_deref(),
                "own records do not come back from the fleet's log: publishers wait"
            ),
            FleetPhase::CutOff => tracing::error!(
                trouble = status.trouble().as_deref(),
                "cut off from the fleet's log: all clients are closed"
            ),
            FleetPhase::Unusable => tracing::error!(
                trouble = status.trouble().as_deref(),
                "the fleet's log cannot be used: all clients are closed"
            ),
            FleetPhase::Starting => {}
        }
        self.tell(FleetEvent::Phase(phase)).await;
    }

    /// Records what is wrong with the log, and logs it when it begins, and what it is by then from time to time.
    pub(super) fn note_trouble(&self, error: &LogError) {
        let text = error.to_string();
        self.handle.status().set_trouble(Some(&text));
        let told = self.trouble_told.get();
        if told.is_none_or(|told| told.elapsed() >= REMIND) {
            self.trouble_told.set(Some(Instant::now()));
            tracing::warn!(error = %text, "trouble with the fleet's log");
        }
    }

    /// Records that the log is well again.
    pub(super) fn trouble_is_over(&self) {
        self.handle.status().set_trouble(None);
        if self.trouble_told.take().is_some() {
            tracing::info!("the trouble with the fleet's log is over");
        }
    }

    /// Waits until the own record with that number has come back. Cancel safe.
    pub(super) async fn has_returned(&self, batch: u64) {
        while self.returned.get() < batch {
            self.news.notified().await;
        }
    }
}
