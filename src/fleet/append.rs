//! What shards propose, on its way into the log: packed into records, one of which is on its way at a time.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::node::Node;
use super::status::FleetPhase;
use crate::log::Log;
use crate::order::{Content, FleetEpoch, InFlight, Section};
use crate::protocol::Epoch;

/// Time after which a node that has nothing else to append shows that it is there.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Time after which a node compares its digest with those of others, however much it has to append.
const COMPARE: Duration = Duration::from_secs(10);
/// Time after which a node that does not serve yet does so: it serves when enough of that has come back.
const IMPATIENT: Duration = Duration::from_millis(50);
/// Time that a record which was appended may take to come back before it is appended once more: the log may have lost it.
const RETURN: Duration = Duration::from_secs(2);
/// The shortest and the longest pause after the log did not take a record.
const RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_millis(500);

impl<L: Log> Node<L> {
    /// Appends what shards propose. While the node does not serve, nothing but that it is there.
    pub(super) async fn append_forever(&self, mut proposals: mpsc::UnboundedReceiver<Section>) {
        let mut due = Instant::now();
        let mut compare = Instant::now() + COMPARE;
        loop {
            match self.handle.status().phase() {
                FleetPhase::Serving | FleetPhase::Stalled => {
                    let record = if Instant::now() >= compare {
                        compare = Instant::now() + COMPARE;
                        self.in_flight().or_else(|| self.heartbeat())
                    } else {
                        None
                    };
                    let record = match record {
                        Some(record) => Some(record),
                        None => self.next_record(&mut proposals, due).await,
                    };
                    if let Some(record) = record {
                        self.append(record).await;
                        due = Instant::now() + HEARTBEAT;
                    }
                }
                FleetPhase::Starting | FleetPhase::CutOff => {
                    let record = self.epoch_record().or_else(|| self.heartbeat());
                    if let Some(record) = record.or_else(|| self.in_flight()) {
                        self.append(record).await;
                    }
                    if self.may_serve() {
                        self.let_go(&mut proposals);
                        self.set_phase(FleetPhase::Serving).await;
                    } else {
                        // One that learns what the log says does not get faster by its own records.
                        let is_sure = self.applied.borrow().is_sure();
                        sleep(if is_sure { IMPATIENT } else { HEARTBEAT }).await;
                    }
                }
                FleetPhase::Unusable => {
                    self.let_go(&mut proposals);
                    sleep(HEARTBEAT).await;
                }
            }
        }
    }

    /// Waits for what is to be appended next: an epoch, what was proposed, or when it is time that the node shows that
    /// it is there. `None` if clients are not served any more.
    async fn next_record(
        &self,
        proposals: &mut mpsc::UnboundedReceiver<Section>,
        due: Instant,
    ) -> Option<InFlight> {
        while self.is_serving() {
            while let Ok(section) = proposals.try_recv() {
                self.push(section);
            }
            if let Some(record) = self.in_flight().or_else(|| self.epoch_record()) {
                return Some(record);
            }
            if self.has_stood_still() {
                // It is about to be cut off.
                sleep(IMPATIENT).await;
                continue;
            }
            let basis = self.applied.borrow().basis();
            if let Some(record) = self.packer.borrow_mut().pack(basis) {
                return Some(record.clone());
            }
            tokio::select! {
                Some(section) = proposals.recv() => self.push(section),
                () = self.news.notified() => {}
                () = sleep_until(due) => if let Some(record) = self.heartbeat() {
                    return Some(record);
                },
            }
        }
        None
    }

    fn push(&self, section: Section) {
        if let Err(error) = self.packer.borrow_mut().push(section) {
            tracing::error!(%error, "cannot publish in the fleet");
        }
    }

    /// Returns the record that is on its way.
    fn in_flight(&self) -> Option<InFlight> {
        self.packer.borrow().in_flight().cloned()
    }

    /// Returns the record that begins an epoch, if one is to begin.
    fn epoch_record(&self) -> Option<InFlight> {
        let applied = self.applied.borrow();
        // What others have appended comes first. It may have begun one.
        if applied.last() < self.end.get() {
            return None;
        }
        let epoch = FleetEpoch {
            number: applied.epoch_to_begin()?,
            id: Epoch(rand::random()),
        };
        let at_ms = applied.basis().at_ms;
        let mut packer = self.packer.borrow_mut();
        packer.begin_epoch(epoch, at_ms).cloned()
    }

    fn heartbeat(&self) -> Option<InFlight> {
        let applied = self.applied.borrow();
        let (basis, digest) = (applied.basis(), applied.digest());
        let mut packer = self.packer.borrow_mut();
        packer.heartbeat(basis, digest).cloned()
    }

    /// Appends a record, again and again until it has come back.
    async fn append(&self, record: InFlight) {
        let InFlight { batch, id, bytes } = record;
        let status = self.handle.status();
        status.batches.add(1);
        status.batch_bytes.add(bytes.len() as u64);
        let mut pause = *RETRY.start();
        loop {
            let appended = tokio::select! {
                appended = self.log.append(&id, bytes.clone()) => appended,
                () = self.has_returned(batch) => return,
            };
            let wait = match appended {
                Ok(_) => RETURN,
                Err(error) => {
                    self.note_trouble(&error);
                    pause
                }
            };
            if timeout(wait, self.has_returned(batch)).await.is_ok() {
                return;
            }
            if status.phase() == FleetPhase::Unusable {
                return;
            }
            status.retries.add(1);
            pause = (2 * pause).min(*RETRY.end());
        }
    }

    /// Lets go what was proposed and not appended.
    fn let_go(&self, proposals: &mut mpsc::UnboundedReceiver<Section>) {
        while let Ok(section) = proposals.try_recv() {
            self.push(section);
        }
        let dropped = self.packer.borrow_mut().drop_waiting(|_| false);
        let frames: usize = dropped.iter().map(frames_of).sum();
        if frames > 0 {
            self.handle.status().let_go_frames.add(frames as u64);
            tracing::warn!(
                frames,
                "let go what was published while the node was cut off"
            );
        }
    }
}

fn frames_of(section: &Section) -> usize {
    match &section.content {
        Content::Run { run, .. } => run.frames(),
        Content::Seat { .. } | Content::Hints { .. } => 0,
    }
}
