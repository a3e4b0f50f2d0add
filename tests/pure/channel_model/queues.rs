//! The queues between the shards, and those of the members, which move only when a test says so.

use std::io::IoSlice;

use mles::channel::SessionId;

use super::{Delivery, Request, World};

impl World {
    /// A relaying shard handles up to `count` messages from the owner.
    pub fn pump_to(&mut self, shard: u16, count: usize) {
        for _ in 0..count {
            let relay = &mut self.relays[usize::from(shard)];
            match relay.inbox.pop_front() {
                Some(Delivery::Adopt { conn, replay, skip }) => {
                    let key = relay.fanout.insert(conn, (), skip);
                    relay.fanout.replay(key, replay);
                    self.session_mut(conn).key = Some(key);
                }
                Some(Delivery::Run { except, run }) => {
                    relay.fanout.deliver(&run, except, None);
                }
                Some(Delivery::Evict(conn)) => {
                    let session = self.session_mut(conn);
                    let (cid, key) = (session.cid, session.close());
                    let relay = &mut self.relays[usize::from(shard)];
                    if let Some(key) = key {
                        assert!(relay.fanout.remove(key, conn).is_some());
                        relay.outbox.push_back(Request::Leave { cid, conn });
                    }
                }
                None => return,
            }
        }
    }

    /// The owner handles up to `count` messages from a relaying shard.
    pub fn pump_from(&mut self, shard: u16, count: usize) {
        for _ in 0..count {
            match self.relays[usize::from(shard)].outbox.pop_front() {
                Some(Request::Publish { conn, frames }) => self.sequence_published(conn, &frames),
                Some(Request::Leave { cid, conn }) => self.vacate(cid, conn),
                Some(Request::HalfClose { cid, conn }) => self.give_way(cid, conn),
                None => return,
            }
        }
    }

    /// The socket of a session takes up to `n` bytes.
    pub fn write(&mut self, at: usize, n: usize) {
        if let Some((conn, _, _)) = self.open_session(at) {
            self.write_to(conn, n);
        }
    }

    pub(super) fn write_to(&mut self, conn: SessionId, n: usize) -> usize {
        let now = self.now;
        let session = &mut self.sessions[usize::try_from(conn.0).unwrap() - 1];
        let Some(key) = session.key else {
            return 0;
        };
        let settings = self.channel.settings().clone();
        let fanout = match session.relay {
            None => &mut self.channel.local,
            Some(shard) => &mut self.relays[usize::from(shard)].fanout,
        };
        let mut slices = [IoSlice::new(&[]); 4];
        let count = fanout.get(key, conn).unwrap().outbox.slices(&mut slices);
        let start = session.received.len();
        for slice in &slices[..count] {
            let room = n - (session.received.len() - start);
            session
                .received
                .extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let written = session.received.len() - start;
        fanout.wrote(key, written, now, &settings);
        written
    }
}
