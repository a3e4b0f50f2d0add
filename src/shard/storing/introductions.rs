//! Publishers that are counted anew, until that is on disk.
//!
//! After a crash such a publisher would be told an old count, or none. So no session of it is told anything before: not the
//! one whose join began it, and none that comes meanwhile and finds it known.

use std::collections::HashMap;
use std::time::Instant;

use tokio::sync::oneshot;

use crate::channel::PublisherId;
use crate::protocol::Position;
use crate::shard::Shard;
use crate::shard::refusal::Refusal;
use crate::shard::room::Room;

/// Most publishers of a channel that may wait.
const MOST: usize = 1 << 14;

/// The publishers of a channel that are counted anew, and not on disk as such.
#[derive(Debug, Default)]
pub(super) struct Introductions(HashMap<PublisherId, Introduction>);

#[derive(Debug, Default)]
struct Introduction {
    /// It is on disk when the channel is, as it was handed over for that time.
    due: u64,
    /// Those who wait for it.
    waiting: Vec<oneshot::Sender<()>>,
}

impl Introductions {
    /// Adds a publisher that is on disk when the channel is, as it is handed over for the time `due`.
    fn add(&mut self, publisher: PublisherId, due: u64) {
        self.0.entry(publisher).or_default().due = due;
    }

    /// Returns what tells when a publisher is on disk; `None` if it is not among these.
    fn wait_for(&mut self, publisher: PublisherId) -> Option<oneshot::Receiver<()>> {
        let introduction = self.0.get_mut(&publisher)?;
        let (tell, told) = oneshot::channel();
        introduction.waiting.push(tell);
        Some(told)
    }

    /// Tells those who have waited that the channel is on disk as it was when it was handed over for the `n`th time.
    pub(super) fn tell_on_disk(&mut self, n: u64) {
        let all = &mut self.0;
        for (_, introduction) in all.extract_if(|_, introduction| introduction.due <= n) {
            for tell in introduction.waiting {
                // Nobody waits for it when the connection is gone.
                let _ = tell.send(());
            }
        }
    }
}

impl Room {
    /// Returns what tells when it is on disk that a publisher is counted anew, whichever join has begun that; `None` if
    /// nothing of it is left to be written.
    pub(in crate::shard) fn introduction(
        &mut self,
        publisher: PublisherId,
    ) -> Option<oneshot::Receiver<()>> {
        self.stored.as_mut()?.introductions.wait_for(publisher)
    }
}

impl Shard {
    /// Remembers a publisher that goes on from `since` before it is counted anew, where that has to be on disk before it is
    /// told so. Returns `true` if it is going to be counted anew.
    ///
    /// # Errors
    ///
    /// When it would have to wait too long, or with too many: there is no end to who may come.
    pub(in crate::shard) fn introduce(
        &self,
        room: &mut Room,
        publisher: PublisherId,
        since: Option<Position>,
        now: Instant,
    ) -> Result<bool, Refusal> {
        let waits_long = self.awaits_commit(room);
        let Some(stored) = room.stored.as_mut().filter(|_| room.holds_runs) else {
            return Ok(false);
        };
        if !room.channel.is_counted_anew(publisher, since, now) {
            return Ok(false);
        }
        if waits_long || stored.introductions.0.len() >= MOST {
            return Err(Refusal::Unwritten(self.store_trouble()));
        }
        room.channel.introduce(publisher, now);
        stored.introductions.add(publisher, stored.handed_over + 1);
        stored.mark_next();
        Ok(true)
    }
}
