//! Reads the log, and tells the shards what becomes of it.
//!
//! Each time that the log is read anew, the record that was applied last is compared with the one that the log has in its
//! place. If the log has lost it, or has another, this node knows what nobody else will: it forgets all, begins anew
//! from what the log has, and has an epoch begin, so that clients do not take positions of the one order for those of
//! the other. If the log has let it go for its age, the node was away for too long, and begins anew as well.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::time::sleep;

use super::handle::{FleetEvent, RoutedRecord};
use super::node::Node;
use super::status::FleetPhase;
use crate::log::{Log, LogError, LogState, Tail as _};
use crate::order::{Continuity, Decision, LogEntry, NotApplied, OrderedRecord, Outcome, Section};

/// The shortest and the longest pause before the log is read anew.
const RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(20)..=Duration::from_secs(1);

/// What is late is proposed again until so much of the log's time has passed since it was made, in milliseconds: half of the
/// time for which the log's nodes remember names of publications and seats.
const AGAIN_MS: u64 = 300_000;

/// A record that is smaller, in bytes, is copied: it may be a part of a buffer that an engine reads into, which histories would
/// keep alive.
const SMALL: usize = 64 << 10;

impl<L: Log> Node<L> {
    /// Reads the log for as long as the broker lives.
    pub(super) async fn follow_forever(&self) {
        let status = self.handle.status();
        let mut pause = *RETRY.start();
        loop {
            let before = status.applied();
            let Err(error) = self.follow().await;
            status.set_connected(false);
            self.note_trouble(&error);
            if status.phase() == FleetPhase::Unusable {
                return std::future::pending().await;
            }
            if status.applied() > before {
                pause = *RETRY.start();
            }
            sleep(pause).await;
            pause = (2 * pause).min(*RETRY.end());
            status.reconnects.add(1);
        }
    }

    /// Checks that the log does not end before what was applied. A server of the engine that was cut off from the others may
    /// say so without anything being lost, so it is believed once it was said for a while.
    fn believe(&self, state: &LogState) -> Result<(), LogError> {
        if !self.applied.borrow().ends_before(state) {
            self.ends_before_since.set(None);
            return Ok(());
        }
        let since = self.ends_before_since.get().unwrap_or_else(Instant::now);
        self.ends_before_since.set(Some(since));
        if since.elapsed() < self.patience.stall {
            let end = state.last.0;
            let text = format!("the log ends with record {end}, and later ones were applied");
            return Err(LogError::Unreachable(text.into()));
        }
        Ok(())
    }

    /// Reads the log behind what was applied, until that fails.
    async fn follow(&self) -> Result<Infallible, LogError> {
        let state = self.log.describe().await?;
        let last = self.applied.borrow().last();
        let found = if last >= state.first && last <= state.last {
            self.log.get(last).await?
        } else {
            None
        };
        self.believe(&state)?;
        let continuity = self.applied.borrow_mut().resume(&state, found.as_ref());
        match continuity {
            Continuity::Unbroken => {}
            Continuity::Gap => {
                tracing::warn!(
                    sequence = last.0,
                    "the fleet's log has let go of records that this node has not seen: it begins anew from what there is"
                );
                self.restart(&state).await;
            }
            Continuity::Loss => {
                tracing::error!(
                    sequence = last.0,
                    "the fleet's log has lost records that were applied: an epoch begins"
                );
                self.restart(&state).await;
            }
        }
        let status = self.handle.status();
        self.end.set(state.last);
        status.set_newest(state.last);
        let from = self.applied.borrow().last();
        let mut tail = self.log.tail(from).await?;
        status.set_connected(true);
        loop {
            let entry = tail.next().await?;
            self.take_in(entry).await?;
        }
    }

    /// Has the shards begin anew, as `applied` has.
    async fn restart(&self, state: &LogState) {
        let status = self.handle.status();
        status.restarts.add(1);
        self.begun_at.set(state.last);
        self.returned_at.set(Instant::now());
        let (first, epoch) = {
            let applied = self.applied.borrow();
            (applied.last(), applied.epoch())
        };
        status.begin_at(first);
        status.set_epoch(epoch);
        self.set_phase(FleetPhase::Starting).await;
        self.common.share_secret(state.epoch.id);
        let epoch = epoch.id;
        self.tell(FleetEvent::Restart { epoch, first }).await;
    }

    /// Applies an entry of the log.
    async fn take_in(&self, mut entry: LogEntry) -> Result<(), LogError> {
        if entry.bytes.len() < SMALL {
            entry.bytes = Bytes::copy_from_slice(&entry.bytes);
        }
        let status = self.handle.status();
        status.records.add(1);
        status.record_bytes.add(entry.bytes.len() as u64);
        let applied = self.applied.borrow_mut().apply(&entry);
        let record = match applied {
            Ok(record) => record,
            Err(error @ NotApplied::Damaged { .. }) => {
                status.unreadable.add(1);
                tracing::error!(%error, "cannot read a record of the fleet");
                status.set_applied(entry.sequence);
                return Ok(());
            }
            Err(error @ NotApplied::OutOfOrder { .. }) => {
                return Err(LogError::Unreachable(error.to_string().into()));
            }
            Err(error @ NotApplied::Newer { .. }) => {
                let text = error.to_string();
                status.set_trouble(Some(&text));
                self.set_phase(FleetPhase::Unusable).await;
                return Err(LogError::Unusable(text.into()));
            }
        };
        self.note_differences();
        self.note_knowledge();
        status.set_applied(record.sequence);
        status.set_epoch(self.applied.borrow().epoch());
        self.note_decisions(&record);
        let proposes_again = record.is_own && self.own_record_came_back(&record);
        self.pass_on(record, proposes_again).await;
        Ok(())
    }

    /// Takes in that a record of this node has come back. Returns `true` if what is late in it is proposed again: not when that
    /// was made so long ago that the log may not know any more what was published meanwhile in its place.
    fn own_record_came_back(&self, record: &OrderedRecord) -> bool {
        let mut packer = self.packer.borrow_mut();
        let is_first = packer.take_back(record.head).is_some();
        let status = self.handle.status();
        let is_serving = matches!(status.phase(), FleetPhase::Serving | FleetPhase::Stalled);
        let mut proposes_again = false;
        if let Outcome::Decided(sections) = &record.outcome
            && is_first
        {
            let late = sections
                .iter()
                .filter(|(_, decision)| *decision == Decision::Late);
            let late: Vec<Section> = late.map(|(section, _)| section.clone()).collect();
            if late.is_empty() {
                self.late_since_ms.set(None);
            } else {
                let since_ms = self.late_since_ms.get();
                let since_ms = since_ms.unwrap_or(record.head.basis.at_ms);
                self.late_since_ms.set(Some(since_ms));
                proposes_again = is_serving && record.at_ms.saturating_sub(since_ms) < AGAIN_MS;
            }
            if proposes_again {
                packer.push_again(late.into_iter());
            }
        }
        drop(packer);
        self.returned
            .set(record.head.batch.max(self.returned.get()));
        self.returned_at.set(Instant::now());
        status.own_record_returned();
        self.trouble_is_over();
        self.news.notify_one();
        proposes_again
    }

    /// Sends a record to all shards. That it is to be applied is news to each, whatever is in it.
    async fn pass_on(&self, record: OrderedRecord, proposes_again: bool) {
        let owners = match &record.outcome {
            Outcome::Decided(sections) => sections
                .iter()
                .map(|(section, _)| self.common.owner(&section.channel))
                .collect(),
            Outcome::Repeat | Outcome::Unsure => Box::default(),
        };
        let is_old = record.sequence <= self.begun_at.get();
        let routed = RoutedRecord {
            record,
            owners,
            is_old,
            proposes_again,
        };
        self.tell(FleetEvent::Record(Arc::new(routed))).await;
    }

    fn note_decisions(&self, record: &OrderedRecord) {
        let status = self.handle.status();
        match &record.outcome {
            Outcome::Decided(sections) => {
                for (_, decision) in sections {
                    match decision {
                        Decision::Repeat { .. } | Decision::OldRepeat => status.repeats.add(1),
                        Decision::Fenced => status.fenced.add(1),
                        Decision::Late => status.late.add(1),
                        Decision::Commit { .. } | Decision::OtherContent => {}
                    }
                }
            }
            Outcome::Repeat => status.repeats.add(1),
            Outcome::Unsure => {}
        }
        if record.begins_epoch {
            let epoch = status.epoch();
            tracing::warn!(number = epoch.number, epoch = %epoch.id, "an epoch of the fleet begins");
        }
    }

    /// Tells how much this node knows of what others know.
    fn note_knowledge(&self) {
        let (status, applied) = (self.handle.status(), self.applied.borrow());
        status.sure_in_ms.set(applied.sure_in_ms().unwrap_or(0));
        status.remembered.set(applied.remembered() as u64);
    }

    /// Raises an alarm if another node has read something else.
    fn note_differences(&self) {
        let (status, differences) = (self.handle.status(), self.applied.borrow().differences());
        if differences > status.differences.get() {
            status.differences.set(differences);
            tracing::error!(
                differences,
                "another node has read other records than this one: members may see another order there"
            );
        }
    }

    /// Returns `true` if this node knows all that others know.
    pub(super) fn may_serve(&self) -> bool {
        let applied = self.applied.borrow();
        let has_caught_up = applied.last() >= self.begun_at.get();
        let is_current = self.returned_at.get().elapsed() < self.patience.stall;
        has_caught_up
            && applied.is_sure()
            && is_current
            && self.packer.borrow().in_flight().is_none()
    }
}
