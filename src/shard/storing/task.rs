//! The task that hands over what is new.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Clocks, ShardStore};
use crate::channel::{HistoryRun, PublisherId, SavedPublisher};
use crate::shard::held::HeldRuns;
use crate::shard::ids::ChannelId;
use crate::shard::room::Room;
use crate::shard::{BrokerPhase, Shard, turn};
use crate::store::{
    Batch, Change, ChannelKey, ChannelState, SavedChannel, StoreError, StoredPublisher, StoredRun,
};

/// Bytes of frames from which on a batch takes no further channel.
const BATCH_BYTES: usize = 16 << 20;
/// Channels in a batch at most.
const BATCH_CHANNELS: usize = 4096;
/// Units of a turn that a channel costs.
const CHANNEL: u32 = 32;
/// The shortest and the longest pause after the store could not write.
const RETRY: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(2);
/// Time between two looks for publishers who have waited for too long.
const OVERDUE: Duration = Duration::from_secs(1);
/// Time that the last batches may take when the broker stops.
pub(crate) const LAST: Duration = Duration::from_secs(5);

/// State of one channel in a batch, until the store has answered.
#[derive(Debug)]
struct HandedOver {
    channel: ChannelId,
    /// A channel that was moved to memory and back meanwhile has another.
    key: ChannelKey,
    newest: u64,
    first: u64,
    /// Number of times that it was handed over, this one included.
    times: u64,
    publishers: Vec<PublisherId>,
}

/// Contents of a batch, until the store has answered.
#[derive(Debug, Default)]
struct BatchInFlight {
    channels: Vec<HandedOver>,
    forgotten: Vec<ChannelKey>,
}

/// Reason for which a batch was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unwritten {
    /// The store has said so, or takes none.
    Failed,
    /// It does not fit to what the store has.
    Refused,
    /// The broker stops, and has waited long enough.
    TooLate,
}

impl Shard {
    /// Hands over what is new until the broker stops, and then what is left.
    pub(in crate::shard) async fn save_forever(self: Rc<Self>) {
        let Some(store) = &self.store else {
            return;
        };
        let mut pause = *RETRY.start();
        while *self.common.phase.borrow() < BrokerPhase::Saving {
            tokio::select! {
                () = store.unsaved.some() => {}
                () = self.reached(BrokerPhase::Saving) => break,
            }
            let begun = Instant::now();
            let next = match self.save_all(store).await {
                Ok(()) => {
                    pause = *RETRY.start();
                    begun + store.sync.interval()
                }
                Err(Unwritten::Failed | Unwritten::Refused) => {
                    let next = Instant::now() + pause.max(store.sync.interval());
                    pause = (2 * pause).min(*RETRY.end());
                    next
                }
                Err(Unwritten::TooLate) => return self.lose_rest(),
            };
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.reached(BrokerPhase::Saving) => {}
            }
        }
        // A stop at once is one like a crash: messages may still come to their place before the shard has ended.
        if *self.common.phase.borrow() == BrokerPhase::Saving {
            self.save_rest(store).await;
        }
    }

    /// Hands over what is left when no session is left on any shard.
    async fn save_rest(self: &Rc<Self>, store: &ShardStore) {
        let deadline = store.stops_by();
        self.catch_up(deadline).await;
        loop {
            match self.save_all(store).await {
                Ok(()) => return self.common.saved(true),
                Err(Unwritten::TooLate) => return self.lose_rest(),
                Err(_) if Instant::now() < deadline => {
                    sleep_until(deadline.min(Instant::now() + *RETRY.start())).await;
                }
                Err(_) => return self.lose_rest(),
            }
        }
    }

    /// Gives up on what the store has not written: it took too long, or the broker is stopped at once.
    fn lose_rest(&self) {
        tracing::error!(
            shard = self.id.0,
            "stopped before everything was on disk: what is newer is lost"
        );
        if *self.common.phase.borrow() != BrokerPhase::Stopped {
            self.common.saved(false);
        }
    }

    /// Hands over all channels that are marked now, and what comes to be marked meanwhile.
    async fn save_all(self: &Rc<Self>, store: &ShardStore) -> Result<(), Unwritten> {
        if *self.common.phase.borrow() >= BrokerPhase::Saving {
            store.unsaved.take_all_later();
        }
        while !store.unsaved.is_empty() {
            self.save_some(store).await?;
            store.unsaved.take_later(std::time::Instant::now());
        }
        Ok(())
    }

    /// Hands over one batch, and waits for the answer.
    async fn save_some(self: &Rc<Self>, store: &ShardStore) -> Result<(), Unwritten> {
        let (changes, outgoing) = self.collect(store).await;
        if changes.is_empty() {
            store.unsaved.on_its_way.set(None);
            store.unsaved.note_lag();
            return Ok(());
        }
        let (done, answer) = oneshot::channel();
        let submitted = store.handle.submit(Batch { changes, done });
        let written = match submitted {
            Ok(()) => tokio::select! {
                answer = answer => match answer {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(StoreError::Refused(_))) => Err(Unwritten::Refused),
                    Ok(Err(StoreError::Failed(_))) | Err(_) => Err(Unwritten::Failed),
                },
                () = self.too_late(store) => Err(Unwritten::TooLate),
                never = self.refuse_overdue_forever(store, &outgoing) => match never {},
            },
            Err(_) => Err(Unwritten::Failed),
        };
        let since = store.unsaved.on_its_way.take();
        match written {
            Ok(()) => {
                self.set_stuck(false);
                self.note_saved(outgoing).await;
            }
            Err(why) => {
                self.refuse_overdue(store, &outgoing);
                if why == Unwritten::Refused {
                    self.begin_anew(&outgoing);
                }
                store.unsaved.since.set(since);
                self.take_back(store, outgoing);
                self.set_stuck(store.unsaved.holds_runs);
            }
        }
        store.unsaved.note_lag();
        written
    }

    /// Tells publishers who wait for runs in a batch that is on its way, or in the next, when they have waited for too long.
    async fn refuse_overdue_forever(
        &self,
        store: &ShardStore,
        outgoing: &BatchInFlight,
    ) -> Infallible {
        loop {
            sleep(OVERDUE).await;
            self.refuse_overdue(store, outgoing);
        }
    }

    fn refuse_overdue(&self, store: &ShardStore, outgoing: &BatchInFlight) {
        if !store.unsaved.holds_runs {
            return;
        }
        let waiting = store.unsaved.marked.borrow().clone();
        let channels = outgoing
            .channels
            .iter()
            .map(|handed_over| handed_over.channel);
        channels
            .chain(waiting)
            .for_each(|channel| self.refuse_overdue_in(channel));
    }

    /// Waits until a stop has waited long enough for the store.
    async fn too_late(&self, store: &ShardStore) {
        self.reached(BrokerPhase::Saving).await;
        tokio::select! {
            () = sleep_until(store.stops_by()) => {}
            () = self.reached(BrokerPhase::Stopped) => {}
        }
    }

    /// Takes what is new of marked channels, as far as it fits into a batch.
    async fn collect(&self, store: &ShardStore) -> (Vec<Change>, BatchInFlight) {
        let unsaved = &store.unsaved;
        unsaved.on_its_way.set(unsaved.since.take());
        unsaved.note_lag();
        let mut marked = unsaved.marked.take();
        let mut outgoing = BatchInFlight {
            forgotten: unsaved.take_forgotten(BATCH_CHANNELS),
            channels: Vec::new(),
        };
        let forgotten = outgoing.forgotten.iter();
        let mut changes: Vec<_> = forgotten.map(|&key| Change::Forget(key)).collect();
        let mut bytes = 0;
        let clocks = Clocks::now();
        while bytes < BATCH_BYTES
            && changes.len() < BATCH_CHANNELS
            && let Some(channel) = marked.pop()
        {
            turn::spend(CHANNEL);
            if let Some((saved, handed_over)) = self.save_channel(channel, clocks) {
                turn::spend_each(saved.runs.len());
                let runs = saved.runs.iter();
                bytes += runs.map(|run| run.run.bytes().len()).sum::<usize>();
                outgoing.channels.push(handed_over);
                changes.push(Change::Save(saved));
            }
            if turn::is_expensive() {
                self.yield_turn().await;
            }
        }
        let is_more = !marked.is_empty() || !unsaved.forgotten.borrow().is_empty();
        if is_more {
            unsaved.marked.borrow_mut().append(&mut marked);
            unsaved.since.set(unsaved.on_its_way.get());
        }
        (changes, outgoing)
    }

    /// Returns what the store lacks of a channel; `None` if it is closed, or not on disk.
    fn save_channel(
        &self,
        channel: ChannelId,
        clocks: Clocks,
    ) -> Option<(Box<SavedChannel>, HandedOver)> {
        let mut registry = self.registry.borrow_mut();
        save_room(registry.room_of(channel)?, clocks)
    }

    /// Notes what the store has now, and commits what was held until it has.
    async fn note_saved(self: &Rc<Self>, outgoing: BatchInFlight) {
        for (channel, saved) in self.note_in_rooms(outgoing) {
            self.commit_held(channel, saved).await;
        }
    }

    /// Notes what the store has now. Returns the channels in which something was held until it has, and up to which offset
    /// it has it.
    fn note_in_rooms(&self, outgoing: BatchInFlight) -> Vec<(ChannelId, u64)> {
        let mut registry = self.registry.borrow_mut();
        let mut holding = Vec::new();
        for handed_over in outgoing.channels {
            let Some(room) = registry.room_of(handed_over.channel) else {
                continue;
            };
            let stored = room.stored.as_mut();
            if let Some(stored) = stored.filter(|stored| stored.key == handed_over.key) {
                stored.saved = handed_over.newest;
                stored.first = handed_over.first;
                stored.introductions.tell_on_disk(handed_over.times);
            }
            if room.is_holding()
                && let Some(stored) = &room.stored
            {
                holding.push((handed_over.channel, stored.saved));
            }
        }
        holding
    }

    /// Has channels handed over as a whole: what the store has of them is not what it was thought to have.
    fn begin_anew(&self, outgoing: &BatchInFlight) {
        let mut registry = self.registry.borrow_mut();
        for handed_over in &outgoing.channels {
            let room = registry.room_of(handed_over.channel);
            let stored = room.and_then(|room| room.stored.as_mut());
            if let Some(stored) = stored.filter(|stored| stored.key == handed_over.key) {
                stored.saved = 0;
            }
        }
    }

    /// Marks again what the store has not written.
    fn take_back(&self, store: &ShardStore, outgoing: BatchInFlight) {
        outgoing
            .forgotten
            .into_iter()
            .for_each(|channel| store.unsaved.forget(channel));
        let mut registry = self.registry.borrow_mut();
        for handed_over in outgoing.channels {
            if let Some(room) = registry.room_of(handed_over.channel) {
                room.channel.mark_publishers_changed(handed_over.publishers);
                if let Some(stored) = &mut room.stored {
                    stored.mark_next();
                }
            }
        }
    }
}

/// Returns what the store lacks of a room; `None` if it is not on disk.
fn save_room(room: &mut Room, clocks: Clocks) -> Option<(Box<SavedChannel>, HandedOver)> {
    let stored = room.stored.as_mut()?;
    if !stored.is_marked && !stored.is_later {
        // It was handed over meanwhile.
        return None;
    }
    (stored.is_marked, stored.is_later) = (false, false);
    stored.handed_over += 1;
    let channel = &mut room.channel;
    let newest = channel.newest()?;
    let publishers = channel.take_changed_publishers();
    let first = channel.oldest();
    // Hints of presence alone have no place of their own.
    let runs = channel.unsaved(stored.saved).into_iter();
    let runs = runs.filter(|run| run.messages > 0);
    let mut runs: Vec<_> = runs.map(|run| stored_run(run, clocks)).collect();
    let is_linked = !room.links.is_none();
    if let Some(held) = &room.held {
        runs.extend(held_runs(held, stored.saved, is_linked, clocks));
    }
    let saved = runs.last().map_or(newest.offset, |run| run.end);
    let change = SavedChannel {
        state: ChannelState {
            key: stored.key,
            name: room.name.as_ref().into(),
            epoch: newest.epoch,
            past: channel.past_epochs().to_vec(),
            newest: saved,
            idle_since: channel.idle_since().map(|since| clocks.system(since)),
        },
        first,
        runs,
        publishers: publishers
            .iter()
            .map(|&(id, publisher)| {
                let stored = |publisher| stored_publisher(publisher, newest.offset, clocks);
                (id, publisher.map(stored))
            })
            .collect(),
    };
    let handed_over = HandedOver {
        channel: room.id,
        key: stored.key,
        newest: saved,
        first,
        times: stored.handed_over,
        publishers: publishers.into_iter().map(|(id, _)| id).collect(),
    };
    Some((Box::new(change), handed_over))
}

/// Returns the runs of a channel that are held and not on disk. Other servers have no use for hints of presence that are
/// over.
fn held_runs(
    held: &HeldRuns,
    saved: u64,
    is_linked: bool,
    clocks: Clocks,
) -> impl Iterator<Item = StoredRun> {
    held.due_behind(saved).filter_map(move |held| {
        let run = &held.proposed.run;
        let run = if is_linked {
            run.without_presence()?
        } else {
            run.clone()
        };
        Some(StoredRun {
            run,
            end: held.due,
            messages: held.messages,
            at: clocks.system(held.at),
            origin: held.proposed.source.origin(),
            publisher: held.publisher,
        })
    })
}

fn stored_run(run: HistoryRun, clocks: Clocks) -> StoredRun {
    StoredRun {
        run: run.run,
        end: run.end,
        messages: run.messages,
        at: clocks.system(run.at),
        origin: run.origin,
        publisher: None,
    }
}

fn stored_publisher(publisher: SavedPublisher, counted: u64, clocks: Clocks) -> StoredPublisher {
    StoredPublisher {
        published: publisher.published,
        at: publisher.at.map(|at| clocks.system(at)),
        counted,
    }
}
