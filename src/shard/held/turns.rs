//! Waits for what is held to be committed.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::shard::Shard;
use crate::shard::ids::{ChannelId, ShardId};
use crate::shard::message::Delivery;

impl Shard {
    /// Waits until no run is held in the room called `name` that came over a link: whoever compares what another server
    /// brings must know it. Cancel safe.
    pub(in crate::shard) async fn links_committed(&self, name: &str) {
        let turn = || {
            let mut registry = self.registry.borrow_mut();
            let at = registry.find(name)?;
            registry.room(at)?.turn_of_links()
        };
        while let Some(turn) = turn() {
            // A room that is closed holds nothing any more.
            let _ = turn.await;
        }
    }

    /// Waits as [`Shard::links_committed`] does, before this server compares itself with another. Cancel safe.
    pub(in crate::shard) async fn all_of_links_committed(&self, channel: ChannelId) {
        let turn = || {
            let mut registry = self.registry.borrow_mut();
            registry.room_of(channel)?.turn_of_links()
        };
        while let Some(turn) = turn() {
            let _ = turn.await;
        }
    }

    /// Tells a shard that what it has sent has its place, when it has: what is held has not.
    pub(in crate::shard) fn answer_through(self: &Rc<Self>, to: ShardId) {
        if self.held.bytes() == 0 {
            return self.deliver_to(to, Delivery::Through);
        }
        let shard = self.clone();
        self.spawn(async move {
            let limit = shard.common.settings().drain_deadline / 2;
            shard.all_committed(limit).await;
            shard.deliver_to(to, Delivery::Through);
        });
    }

    /// Returns what tells of each room in which something is held when that is committed.
    fn turns_of_all(&self) -> Vec<oneshot::Receiver<()>> {
        let mut registry = self.registry.borrow_mut();
        let rooms = 0..registry.rooms_end();
        let turns = rooms.filter_map(|at| registry.room(at)?.turn());
        turns.collect()
    }

    /// Waits until all runs are committed that are held now, at most for so long.
    pub(in crate::shard) async fn all_committed(&self, limit: Duration) {
        let turns = self.turns_of_all();
        // What is not committed then is waited for at the end.
        let _ = timeout(limit, async {
            for turn in turns {
                let _ = turn.await;
            }
        })
        .await;
    }
}
