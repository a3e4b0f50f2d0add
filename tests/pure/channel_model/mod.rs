//! One channel on an owning shard and two relaying ones, with queues between them that are emptied
//! only when a test says so; and beside it a naive account of what every member must get.

mod invariants;
mod queues;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mles::channel::{
    Channel, ChannelSettings, Fanout, FrameRun, FreedSeat, History, HistoryMemory, MemberKey,
    Origin, Place, SessionId,
};
use mles::protocol::Cid;

use crate::frames::{Frames, run};

/// Number of shards that relay the channel.
pub const RELAYS: u16 = 2;

/// A message of the owner to a relaying shard.
enum Delivery {
    Adopt {
        conn: SessionId,
        replay: Vec<Bytes>,
        skip: u32,
    },
    Run {
        except: SessionId,
        run: FrameRun,
    },
    Evict(SessionId),
}

/// A message of a relaying shard to the owner.
enum Request {
    Publish { conn: SessionId, frames: Vec<Bytes> },
    Leave { cid: Cid, conn: SessionId },
    HalfClose { cid: Cid, conn: SessionId },
}

#[derive(Default)]
struct Relay {
    fanout: Fanout<()>,
    inbox: VecDeque<Delivery>,
    outbox: VecDeque<Request>,
}

/// A session, as the test sees it from outside.
struct Session {
    cid: Cid,
    conn: SessionId,
    /// `None` on the owning shard.
    relay: Option<u16>,
    /// Its place in the fan-out of its shard, as long as it is there.
    key: Option<MemberKey>,
    is_open: bool,
    /// The bytes that its socket took.
    received: Vec<u8>,
    /// The naive account: every frame that it has to get.
    expected: Vec<Bytes>,
}

/// The naive account of a seat.
struct Seat {
    cid: Cid,
    conn: SessionId,
    half_closed: bool,
}

/// The channel, its shards, and the account.
pub struct World {
    channel: Channel<()>,
    relays: Vec<Relay>,
    sessions: Vec<Session>,
    now: Instant,
    frames: Frames,
    seats: Vec<Seat>,
    history: Vec<Bytes>,
    /// Collected announcements, with the session each is of.
    announced: Vec<(SessionId, Bytes)>,
    idle_since: Option<Instant>,
}

impl World {
    pub fn new(settings: ChannelSettings) -> Self {
        let now = Instant::now();
        Self {
            channel: Channel::new(
                Arc::new(settings),
                History::new(HistoryMemory::new(usize::MAX)),
                now,
            ),
            relays: (0..RELAYS).map(|_| Relay::default()).collect(),
            sessions: Vec::new(),
            now,
            frames: Frames::default(),
            seats: Vec::new(),
            history: Vec::new(),
            announced: Vec::new(),
            idle_since: Some(now),
        }
    }

    /// A session joins, on the owning shard or on a relaying one, and its join frame is announced,
    /// or published, or neither.
    pub fn join(&mut self, cid: u32, relay: Option<u16>, announced: bool, publishes: bool) {
        let (cid, conn) = (Cid(cid), SessionId(self.sessions.len() as u64 + 1));
        let frame = self.frames.frame(0);
        if publishes {
            self.announce();
        }
        let announcement = (announced && !publishes).then_some(&frame[..]);
        let mut key = None;
        let joined = self
            .channel
            .join(cid, conn, announcement, self.now, |local, skip| {
                relay.map_or_else(
                    || Place::Local(*key.insert(local.insert(conn, (), skip))),
                    Place::Relay,
                )
            });
        let rival = self.seats.iter().position(|seat| seat.cid == cid);
        let is_refused = rival.is_some_and(|at| !self.seats[at].half_closed);
        assert_eq!(joined.is_err(), is_refused, "{cid:?}");
        let Ok(joined) = joined else {
            return;
        };
        match (relay, key) {
            (Some(shard), _) => self.relays[usize::from(shard)]
                .inbox
                .push_back(Delivery::Adopt {
                    conn,
                    replay: joined.replay,
                    skip: joined.skip,
                }),
            (None, Some(key)) => self.channel.local.replay(key, joined.replay),
            (None, None) => panic!("a local member was not placed"),
        }
        let replaced = joined.replaced.as_ref().map(|freed| freed.seat.session);
        assert_eq!(replaced, rival.map(|at| self.seats[at].conn));
        if let (Some(at), Some(freed)) = (rival, joined.replaced) {
            self.seats.remove(at);
            self.see_off(freed);
        }
        if announcement.is_some() && !self.seats.is_empty() {
            self.announced.push((conn, frame.clone()));
        }
        self.seats.push(Seat {
            cid,
            conn,
            half_closed: false,
        });
        self.idle_since = None;
        self.sessions.push(Session {
            cid,
            conn,
            relay,
            key,
            is_open: true,
            received: Vec::new(),
            expected: self.history.clone(),
        });
        if publishes {
            self.sequence_published(conn, &[frame]);
        }
    }

    /// Does what the owning shard does with a session that lost its seat.
    fn see_off(&mut self, freed: FreedSeat<()>) {
        let conn = freed.seat.session;
        match freed.seat.place {
            Place::Local(_) => {
                assert_eq!(freed.member.map(|member| member.session), Some(conn));
                self.session_mut(conn).close();
            }
            Place::Relay(shard) => {
                self.relays[usize::from(shard)]
                    .inbox
                    .push_back(Delivery::Evict(conn));
            }
        }
    }

    /// A session sends frames.
    pub fn publish(&mut self, at: usize, payloads: &[usize]) {
        let frames = self.frames.frames(payloads);
        let Some((conn, _, relay)) = self.open_session(at) else {
            return;
        };
        match relay {
            None => self.sequence_published(conn, &frames),
            Some(shard) => {
                let request = Request::Publish { conn, frames };
                self.relays[usize::from(shard)].outbox.push_back(request);
            }
        }
    }

    /// A session ends.
    pub fn leave(&mut self, at: usize) {
        let Some((conn, cid, relay)) = self.open_session(at) else {
            return;
        };
        let key = self.session_mut(conn).close();
        match relay {
            None => self.vacate(cid, conn),
            Some(shard) => {
                let relay = &mut self.relays[usize::from(shard)];
                if let Some(key) = key {
                    assert!(relay.fanout.remove(key, conn).is_some());
                }
                relay.outbox.push_back(Request::Leave { cid, conn });
            }
        }
    }

    /// A session's client closes its sending side.
    pub fn half_close(&mut self, at: usize) {
        let Some((conn, cid, relay)) = self.open_session(at) else {
            return;
        };
        match relay {
            None => self.give_way(cid, conn),
            Some(shard) => {
                let request = Request::HalfClose { cid, conn };
                self.relays[usize::from(shard)].outbox.push_back(request);
            }
        }
    }

    /// The sessions that are on a shard: those on their way to one have sent nothing yet.
    fn open_session(&self, at: usize) -> Option<(SessionId, Cid, Option<u16>)> {
        let placed = self
            .sessions
            .iter()
            .filter(|s| s.is_open && s.key.is_some());
        let count = placed.clone().count();
        let session = placed.clone().nth(at.checked_rem(count)?)?;
        Some((session.conn, session.cid, session.relay))
    }

    fn session_mut(&mut self, conn: SessionId) -> &mut Session {
        &mut self.sessions[usize::try_from(conn.0).unwrap() - 1]
    }

    fn vacate(&mut self, cid: Cid, conn: SessionId) {
        let seat = self
            .seats
            .iter()
            .position(|s| (s.cid, s.conn) == (cid, conn));
        let freed = self.channel.leave(cid, conn, self.now);
        assert_eq!(freed.is_some(), seat.is_some());
        if let Some(at) = seat {
            self.seats.remove(at);
            if self.seats.is_empty() {
                self.announced.clear();
                self.idle_since = Some(self.now);
            }
        }
    }

    fn give_way(&mut self, cid: Cid, conn: SessionId) {
        self.channel.half_close(cid, conn);
        let mut seats = self.seats.iter_mut();
        if let Some(seat) = seats.find(|s| (s.cid, s.conn) == (cid, conn)) {
            seat.half_closed = true;
        }
    }

    /// The owner delivers the announcements collected.
    pub fn announce(&mut self) {
        assert_eq!(self.channel.has_collected(), !self.announced.is_empty());
        let collected = self.channel.take_collected();
        let announced = std::mem::take(&mut self.announced);
        assert_eq!(
            collected.as_ref().map_or(0, FrameRun::frames),
            announced.len()
        );
        if let Some(collected) = collected {
            self.sequence(SessionId::NONE, &collected, None);
        }
        for (of, frame) in announced {
            for Seat { conn, .. } in &self.seats {
                // Session numbers grow: an older session was there when it was announced.
                if *conn < of {
                    let at = usize::try_from(conn.0).unwrap() - 1;
                    self.sessions[at].expected.push(frame.clone());
                }
            }
        }
    }

    fn sequence_published(&mut self, from: SessionId, frames: &[Bytes]) {
        self.announce();
        let run = run(frames);
        self.sequence(from, &run, Some((&run, Origin::Member)));
        for Seat { conn, .. } in self.seats.iter().filter(|seat| seat.conn != from) {
            let at = usize::try_from(conn.0).unwrap() - 1;
            self.sessions[at].expected.extend_from_slice(frames);
        }
        self.history.extend_from_slice(frames);
        let most = self.channel.settings().history_frames;
        let surplus = self.history.len().saturating_sub(most);
        self.history.drain(..surplus);
    }

    /// The next run in the channel's order, as the owning shard passes it on.
    fn sequence(&mut self, except: SessionId, run: &FrameRun, stored: Option<(&FrameRun, Origin)>) {
        self.channel.commit(run, except, stored, self.now);
        for shard in self.channel.relays() {
            let run = run.clone();
            let delivery = Delivery::Run { except, run };
            self.relays[usize::from(shard)].inbox.push_back(delivery);
        }
    }

    /// Milliseconds pass.
    pub fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }
}

impl Session {
    /// Ends it; what its socket has not taken is lost. Returns the place it had.
    fn close(&mut self) -> Option<MemberKey> {
        self.is_open = false;
        self.key.take()
    }
}
