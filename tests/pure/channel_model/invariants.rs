//! The invariants: at every moment, and when everything has arrived.

use super::{RELAYS, Seat, Session, World};

impl World {
    /// Checks the invariants of every moment.
    pub fn check(&mut self) {
        assert_eq!(self.channel.len(), self.seats.len());
        assert_eq!(self.channel.is_empty(), self.seats.is_empty());
        let is_deserted = !self.seats.is_empty() && self.seats.iter().all(|s| s.half_closed);
        assert_eq!(self.channel.is_deserted(), is_deserted);
        let mut relays: Vec<_> = self.channel.relays().collect();
        relays.sort_unstable();
        let placed = |shard: &u16| {
            let mut seats = self.seats.iter();
            seats.any(|s| {
                self.sessions[usize::try_from(s.conn.0).unwrap() - 1].relay == Some(*shard)
            })
        };
        assert!(relays.into_iter().eq((0..RELAYS).filter(placed)));
        let ttl = self.channel.settings().idle_ttl;
        let idle = self.idle_since.map(|since| self.now - since);
        let is_expired = idle.is_some_and(|idle| self.history.is_empty() || idle >= ttl);
        assert_eq!(self.channel.is_expired(self.now), is_expired);
        for session in &self.sessions {
            session.check_received();
        }
    }

    /// Lets everything arrive; then all that are still there have got all that they had to get.
    pub fn settle(&mut self) {
        self.announce();
        while self
            .relays
            .iter()
            .any(|r| !r.inbox.is_empty() || !r.outbox.is_empty())
        {
            for shard in 0..RELAYS {
                self.pump_to(shard, usize::MAX);
                self.pump_from(shard, usize::MAX);
            }
        }
        self.announce();
        for shard in 0..RELAYS {
            self.pump_to(shard, usize::MAX);
        }
        for at in 0..self.sessions.len() {
            let conn = self.sessions[at].conn;
            while self.write_to(conn, usize::MAX) > 0 {}
        }
        self.check();
        for Seat { conn, .. } in &self.seats {
            let session = &self.sessions[usize::try_from(conn.0).unwrap() - 1];
            assert_eq!(session.received, session.expected.concat(), "{conn:?}");
        }
    }
}

impl Session {
    /// Checks that what has arrived is the beginning of what has to arrive.
    fn check_received(&self) {
        let expected = self.expected.concat();
        assert!(
            expected.starts_with(&self.received),
            "{:?} got something else, or in another order",
            self.conn
        );
    }
}
