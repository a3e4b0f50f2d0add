//! Orders that come to the disk some time after everybody has seen them: one whose server is killed goes on in another,
//! with everything that was on disk, and without what is newer.

use std::collections::{BTreeMap, VecDeque};

use mles::protocol::{Epoch, Position};

use super::Oracle;

/// Batches that are written after a message had its place: one may have been on its way, and the next has the message.
const BATCHES: u64 = 2;

/// Where a position is in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Located {
    At(u64),
    /// In a part of an order that was lost behind that offset.
    Behind(u64),
    Unknown,
}

/// What is known of the disk of the server that runs.
#[derive(Default)]
pub(super) struct DiskLog {
    /// Offset of the newest message that was known when the number of batches was asked for.
    known: Option<u64>,
    /// Offsets that had their place when so many batches were on disk.
    waiting: VecDeque<(u64, u64)>,
}

impl Oracle<'_> {
    /// Returns where the position `since` is in the order `epoch`.
    pub(super) fn locate(&self, since: Position, epoch: Epoch) -> Located {
        locate(&self.ends, since, epoch)
    }

    /// So many batches are on disk.
    pub(super) fn see_written(&mut self, batches: u64) {
        let Some(epoch) = self.epoch.filter(|_| self.is_running) else {
            return;
        };
        let order = self.orders.entry(epoch.0).or_default();
        let DiskLog { known, waiting } = &mut self.disk;
        while let Some(&(offset, before)) = waiting.front()
            && before + BATCHES <= batches
        {
            order.on_disk = order.on_disk.max(offset);
            waiting.pop_front();
        }
        waiting.extend(known.map(|known| (known, batches)));
        *known = order.newest_seen();
    }

    /// Joins the orders that went on from one another: each message that one has kept is in the last, in its place.
    pub(super) fn join_orders(&mut self, last: Epoch) -> Result<(), String> {
        let mut whole = self.orders.remove(&last.0).unwrap_or_default();
        for (&epoch, order) in &self.orders {
            let (epoch, end) = (Epoch(epoch), self.ends.get(&epoch).copied());
            let end = end.ok_or_else(|| format!("nobody has told how far {epoch} went on"))?;
            if order.on_disk > end {
                let on_disk = order.on_disk;
                return Err(format!(
                    "{epoch}:{on_disk} was on disk, and {end} is where it goes on"
                ));
            }
            self.tally.on_disk += usize::try_from(order.on_disk).unwrap();
            self.tally.lost += order.count_behind(end);
            order.give_to(&mut whole, end)?;
        }
        for (epoch, order) in &mut self.orders {
            order.take_from(&whole, self.ends[epoch])?;
        }
        self.orders.insert(last.0, whole);
        Ok(())
    }
}

/// Returns where the position `since` is in the order `epoch`, if `ends` has the offsets up to which orders went on.
pub(super) fn locate(ends: &BTreeMap<u64, u64>, since: Position, epoch: Epoch) -> Located {
    if since.epoch == epoch {
        return Located::At(since.offset);
    }
    match ends.get(&since.epoch.0) {
        None => Located::Unknown,
        Some(&end) if since.offset <= end => Located::At(since.offset),
        Some(&end) => Located::Behind(end),
    }
}
