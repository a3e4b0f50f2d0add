//! Servers below get their seats one after the other in each channel, and what they bring becomes part
//! of the channel in bounded steps.
//!
//! Comparing, seating and the welcome are one step: what is published next comes behind what the
//! server is sent. What it has brought that is new follows in steps of its own, between which others
//! publish. While these last, other servers of the channel wait: what they bring might be the same.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::peer::link::SETTLE;
use crate::shard::ids::ChannelId;
use crate::shard::labels::Transport;
use crate::shard::links::Compared;
use crate::shard::links::received_resync::NewFrames;
use crate::shard::message::{Arrival, Socket};
use crate::shard::parked::AfterJoin;
use crate::shard::refusal::Refusal;
use crate::shard::seat::Newcomer;
use crate::shard::sequence::{Proposed, Source};
use crate::shard::session::{Session, SessionPhase};
use crate::shard::{Shard, turn};

/// Time between two looks whether a wait is over.
const TICK: Duration = Duration::from_millis(5);

/// The channels in which a server is being seated, by name.
pub(in crate::shard) type Merging = HashMap<Box<str>, MergeQueue>;

#[derive(Debug, Default)]
pub(in crate::shard) struct MergeQueue {
    /// Servers that come after it.
    waiting: VecDeque<Server>,
    /// `true` while it has new frames that are not published yet.
    has_news: bool,
}

/// A server that wants a seat.
#[derive(Debug)]
struct Server {
    arrival: Arrival<Socket>,
    /// `true` if it has waited for the seat of a session that may have been dead.
    has_waited: bool,
}

/// A server that has its seat, and what is still to be done before it is served.
pub(in crate::shard) struct SeatedServer {
    pub(in crate::shard) newcomer: Newcomer,
    pub(in crate::shard) channel: ChannelId,
    pub(in crate::shard) news: NewFrames,
    /// The id of its link, if it has told one.
    pub(in crate::shard) link: Option<u64>,
    /// The part of the upstream's frames with which the late ones have been compared.
    pub(in crate::shard) compared: Option<Compared>,
}

impl Shard {
    /// Gives a server below its seat when those that came before it are served.
    pub(in crate::shard) fn seat_server(
        self: &Rc<Self>,
        arrival: Arrival<Socket>,
        has_waited: bool,
    ) {
        if self.fleet.is_some() {
            // Nobody knows which of its frames other nodes have.
            return self.refuse(arrival, Refusal::NoLinks);
        }
        let name = arrival.channel.clone();
        let server = Server {
            arrival,
            has_waited,
        };
        let mut merging = self.merging.borrow_mut();
        if let Some(channel) = merging.get_mut(&name) {
            return channel.waiting.push_back(server);
        }
        merging.insert(name.clone(), MergeQueue::default());
        drop(merging);
        self.spawn(self.clone().seat_servers(name, server));
    }

    async fn seat_servers(self: Rc<Self>, name: Box<str>, first: Server) {
        let mut next = Some(first);
        while let Some(server) = next {
            while !self.remember_history(&name) {
                self.yield_turn().await;
            }
            self.links_committed(&name).await;
            if let Some(seated) = self.seat_and_compare(server.arrival, server.has_waited) {
                self.set_news(&name, true);
                let session = seated.newcomer.session.clone();
                let then = self.publish_news(seated).await;
                self.set_news(&name, false);
                self.begin(session, then);
            }
            // Servers that have waited meanwhile have their turn.
            self.yield_turn().await;
            next = self.next_server(&name);
        }
    }

    fn next_server(&self, name: &str) -> Option<Server> {
        let mut merging = self.merging.borrow_mut();
        let next = merging.get_mut(name)?.waiting.pop_front();
        if next.is_none() {
            merging.remove(name);
        }
        next
    }

    fn set_news(&self, name: &str, has_news: bool) {
        if let Some(channel) = self.merging.borrow_mut().get_mut(name) {
            channel.has_news = has_news;
        }
    }

    /// Makes what a server has brought part of the channel, after what was published meanwhile.
    async fn publish_news(self: &Rc<Self>, seated: SeatedServer) -> AfterJoin {
        let Newcomer { session, then } = seated.newcomer;
        let (channel, link, compared) = (seated.channel, seated.link, seated.compared);
        for (run, is_late) in seated.news {
            if is_late {
                self.uplink_settled(channel).await;
            }
            let at = self
                .registry
                .borrow_mut()
                .room_of(channel)
                .map(|r| r.id.index);
            let Some(at) = at else {
                self.stats().orphaned_frames.add(run.frames() as u64);
                continue;
            };
            self.count_received(Transport::Link, &run);
            let source = if is_late {
                Source::Late { link, compared }
            } else {
                Source::Resync { link }
            };
            let from = session.id;
            self.propose(at, Proposed { run, from, source }, Instant::now());
            if turn::is_expensive() {
                self.yield_turn().await;
            }
            session.pause.over_in_time().await;
        }
        then
    }

    /// Waits until it is known what the upstream is: before that nobody can say how late frames go up.
    async fn uplink_settled(&self, channel: ChannelId) {
        let end = Instant::now() + SETTLE;
        while self.is_settling(channel) && Instant::now() < end {
            sleep(TICK).await;
        }
    }

    fn is_settling(&self, channel: ChannelId) -> bool {
        let mut registry = self.registry.borrow_mut();
        let room = registry.room_of(channel);
        let uplink = room.and_then(|room| room.links.uplink());
        uplink.is_some_and(|uplink| uplink.is_settling())
    }

    /// Returns `true` while what a server sends has to wait: another one's news are not published yet, or
    /// nobody knows how late frames would go up.
    pub(in crate::shard) fn must_wait(&self, session: &Session) -> bool {
        if session.phase.get() == SessionPhase::Over {
            return false;
        }
        let has_news = |channel: &MergeQueue| channel.has_news;
        if self
            .merging
            .borrow()
            .get(&*session.channel)
            .is_some_and(has_news)
        {
            return true;
        }
        let mut registry = self.registry.borrow_mut();
        let room = session.home.owned().and_then(|at| registry.room(at));
        let uplink = room.and_then(|room| room.links.uplink());
        uplink.is_some_and(|uplink| uplink.is_settling())
    }

    /// Waits until [`Shard::must_wait`] is over. Cancel safe.
    pub(in crate::shard) async fn until_merged(&self, session: &Session) {
        while self.must_wait(session) {
            sleep(TICK).await;
        }
    }
}
