//! Publishing with a receipt, reading, and asking who is there, by somebody who has no seat in the channel.
//!
//! These are questions to the owner of the channel, which answers where it is: with a [`Receipt`] once the
//! publication has its place in the order, with the [`MessagePage`] behind a position, or with the [`MemberList`]. From another shard the
//! question travels as [`Request::Ask`] and carries the way back with it, so that nothing is kept for an asker
//! that is gone, and an answer never waits for room.
//!
//! Invariants:
//!
//! * A channel that is published to or read is opened, under the same limits as by a join: it has a position from
//!   then on. Nobody needs it for that; see [`Room::used`].
//! * What is published waits like a member that publishes: while another shard's mailbox is full, and while the
//!   channel's publishers pause.
//! * A question costs the owner one turn at most; a page has bounds.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::ids::ShardId;
use super::message::Request;
use super::refusal::Refusal;
use super::room::Room;
use super::waiting_publications::WaitingPublications;
use super::{BrokerPhase, Shard, turn};
use crate::channel::{FrameRun, PageLimit, PublisherId};
pub(crate) use crate::channel::{MessagePage, Receipt};
use crate::protocol::{Cid, FrameHeader, HEADER_LEN, Message, Position};

/// Most bytes of frames in a page, unless one message is longer.
const PAGE_BYTES: usize = 1 << 20;

/// Messages that are published by somebody who has no seat. All members get them.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) channel: Box<str>,
    /// Whole frames, none of which is a hint of presence.
    pub(crate) run: FrameRun,
    /// Address of the client, for the limit on channels.
    pub(crate) peer: SocketAddr,
    /// Names the publication, so that it is not there twice when it is published again.
    pub(crate) idempotency: Option<Idempotency>,
    /// When it was read, if it is to be sampled.
    pub(crate) sampled: Option<Instant>,
}

/// The name of a publication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Idempotency {
    /// Number that stands for the name, and for whoever has given it.
    pub(crate) publisher: PublisherId,
    /// Hash of what it says: the same name must not stand for something else.
    pub(crate) content: u64,
}

/// A question for what follows a position.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) channel: Box<str>,
    /// The position; `None` asks for all that is kept.
    pub(crate) since: Option<Position>,
    /// Most messages in the answer.
    pub(crate) limit: usize,
    /// Address of the client, for the limit on channels.
    pub(crate) peer: SocketAddr,
}

/// The members of a channel, as somebody is told who asks.
#[derive(Debug, Default)]
pub(crate) struct MemberList {
    /// Number of members.
    pub(crate) count: usize,
    /// Their uids, as many as were asked for and there is room for.
    pub(crate) uids: Vec<Box<str>>,
}

/// The way back to who asks.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

/// A question to the owner of a channel.
#[derive(Debug)]
pub(crate) enum Question {
    Publish(Publication, Reply<Receipt>),
    Read(Reading, Reply<MessagePage>),
    /// Asks who is in a channel, with at most so many names.
    Members(Box<str>, usize, Reply<MemberList>),
}

impl Question {
    /// Returns the bytes that it keeps alive.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Publish(publication, _) => publication.run.pinned(),
            Self::Read(..) | Self::Members(..) => 0,
        }
    }
}

impl Shard {
    /// Publishes without a seat, and returns the place of the messages once they have it. While the channel's
    /// publishers pause it waits, for `write_deadline` at most.
    ///
    /// Cancel safe: dropped, the messages are published or not, as a whole, and nothing waits for them.
    ///
    /// # Errors
    ///
    /// Nothing is published: [`Refusal::TooManyChannels`], [`Refusal::Busy`] if the pause was too long, or
    /// [`Refusal::Stopping`]. It is neither counted nor logged here.
    pub(crate) async fn publish_confirmed(
        self: &Rc<Self>,
        publication: Publication,
    ) -> Result<Receipt, Refusal> {
        let owner = self.common.owner(&publication.channel);
        self.ask_owner(owner, |reply| Question::Publish(publication, reply))
            .await
    }

    /// Reads what follows a position, as far as it is kept and a page has room for it: 1 MiB, or one message.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooManyChannels`] or [`Refusal::Stopping`]; in a fleet [`Refusal::CutOff`] if the position has not come
    /// here in time. It is neither counted nor logged here.
    pub(crate) async fn read_messages(
        self: &Rc<Self>,
        reading: Reading,
    ) -> Result<MessagePage, Refusal> {
        let owner = self.common.owner(&reading.channel);
        self.ask_owner(owner, |reply| Question::Read(reading, reply))
            .await
    }

    /// Returns who is in a channel, with at most `names` names. A channel that there is not has no members.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopping`]. It is neither counted nor logged here.
    pub(crate) async fn members(
        self: &Rc<Self>,
        channel: &str,
        names: usize,
    ) -> Result<MemberList, Refusal> {
        let owner = self.common.owner(channel);
        let question = |reply| Question::Members(channel.into(), names, reply);
        self.ask_owner(owner, question).await
    }

    async fn ask_owner<T>(
        self: &Rc<Self>,
        owner: ShardId,
        question: impl FnOnce(Reply<T>) -> Question,
    ) -> Result<T, Refusal> {
        self.congestion.over().await;
        let (reply, answer) = oneshot::channel();
        let question = question(reply);
        if owner == self.id {
            self.answer(question);
        } else {
            self.request(owner, Request::Ask(Box::new(question)));
        }
        // A broker that stops at once does not answer.
        answer.await.unwrap_or(Err(Refusal::Stopping))
    }

    /// Answers a question about a channel of this shard.
    pub(super) fn answer(self: &Rc<Self>, question: Question) {
        match question {
            Question::Publish(publication, reply) => self.publish_for(publication, reply),
            Question::Read(reading, reply) if self.is_behind(reading.since) => {
                self.spawn(self.clone().read_later(reading, reply));
            }
            Question::Read(reading, reply) => {
                // Nobody waits for it when the connection is gone.
                let _ = reply.send(self.read_for(&reading));
            }
            Question::Members(channel, names, reply) => {
                self.list_members_for(&channel, names, reply);
            }
        }
    }

    /// Publishes for somebody who waits for the receipt: now, or when the channel's publishers may go on and those that
    /// have waited before have had their turn.
    fn publish_for(self: &Rc<Self>, publication: Publication, reply: Reply<Receipt>) {
        let now = Instant::now();
        let at = match self.room_to_ask(&publication.channel, publication.peer, now) {
            Ok(at) => at,
            Err(refusal) => {
                // Nobody waits for it when the connection is gone.
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at);
        let Some(room) = room.filter(|room| room.has_to_wait()) else {
            drop(registry);
            return self.publish_in_order(at, publication, reply, now);
        };
        let due = now + room.channel.settings().write_deadline;
        if let Some(queue) = room.waiting.upgrade() {
            return queue.push(publication, reply, due);
        }
        let (queue, pause) = (Rc::<WaitingPublications>::default(), room.pause.clone());
        room.waiting = Rc::downgrade(&queue);
        drop(registry);
        queue.push(publication, reply, due);
        self.spawn(self.clone().let_publications_go(queue, pause));
    }

    /// Publishes what has waited. Its channel may be closed by now.
    pub(super) fn publish_at_once(
        self: &Rc<Self>,
        publication: Publication,
        reply: Reply<Receipt>,
    ) {
        let now = Instant::now();
        match self.room_to_ask(&publication.channel, publication.peer, now) {
            Ok(at) => self.publish_in_order(at, publication, reply, now),
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
            }
        }
    }

    fn publish_in_order(
        self: &Rc<Self>,
        at: u32,
        publication: Publication,
        reply: Reply<Receipt>,
        now: Instant,
    ) {
        self.link_for(at, &publication.run);
        self.propose_confirmed(at, publication, reply, now);
    }

    /// Returns why somebody who publishes has waited for too long.
    pub(super) fn why_paused(&self, channel: &str) -> Refusal {
        let mut registry = self.registry.borrow_mut();
        let at = registry.find(channel);
        let room = at.and_then(|at| registry.room(at));
        if room.is_some_and(|room| self.awaits_commit(room)) {
            self.why_held()
        } else {
            Refusal::Busy
        }
    }

    /// Reads for somebody who knows more than this shard does yet, once it has come here.
    async fn read_later(self: Rc<Self>, reading: Reading, mut reply: Reply<MessagePage>) {
        let page = tokio::select! {
            () = reply.closed() => return,
            reached = self.reach_position(reading.since) => {
                reached.and_then(|()| self.read_for(&reading))
            }
            () = self.reached(BrokerPhase::Draining) => Err(Refusal::Stopping),
        };
        let _ = reply.send(page);
    }

    fn read_for(self: &Rc<Self>, reading: &Reading) -> Result<MessagePage, Refusal> {
        let now = Instant::now();
        let at = self.room_to_ask(&reading.channel, reading.peer, now)?;
        let limit = PageLimit {
            messages: reading.limit,
            bytes: PAGE_BYTES,
        };
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        let page = room.channel.since(reading.since, limit, now);
        let page = page.ok_or(Refusal::TooManyChannels)?;
        turn::spend_each(page.runs.len());
        // Frames are looked at in the first run and the last.
        let ends = page.runs.first().into_iter().chain(page.runs.last());
        turn::spend_bytes(ends.map(|(_, run)| run.len()).sum());
        Ok(page)
    }

    /// Finds or opens the room that somebody asks about. Its messages are numbered from then on.
    fn room_to_ask(
        self: &Rc<Self>,
        name: &str,
        peer: SocketAddr,
        now: Instant,
    ) -> Result<u32, Refusal> {
        if !self.is_running() {
            return Err(Refusal::Stopping);
        }
        if !self.is_served() {
            return Err(Refusal::CutOff);
        }
        let at = self.find_or_open(name, peer.ip(), now)?;
        let mut registry = self.registry.borrow_mut();
        let room = registry.room(at).ok_or(Refusal::TooManyChannels)?;
        room.number();
        self.catch_up_with_fleet(room);
        let was_idle = room.used(now);
        drop(registry);
        if was_idle {
            self.close_link_later(at);
        }
        Ok(at)
    }

    /// Sees to it that what is published in a room without members goes up as well, if this server has an
    /// upstream: with a link in the name of who publishes, that is closed when nobody has needed it for a while.
    fn link_for(self: &Rc<Self>, at: u32, run: &FrameRun) {
        if self.common.settings().peer.upstreams.is_empty() {
            return;
        }
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at).filter(|room| room.channel.is_empty()) else {
            return;
        };
        let Some(member) = sender(run) else {
            return;
        };
        let (id, history) = (room.id, room.channel.settings().history_frames);
        let starts = room
            .links
            .joined(&self.common, id, &room.name, member, history);
        drop(registry);
        if starts {
            self.drive_uplink(id);
            self.close_link_later(at);
        }
    }
}

/// Returns who has sent the first frame of a run.
fn sender(run: &FrameRun) -> Option<(&str, Cid)> {
    let header = FrameHeader::decode(run.bytes()).ok()??;
    let body = run.bytes().get(HEADER_LEN..HEADER_LEN + header.body_len)?;
    Some((Message::decode(body).ok()?.uid, header.cid))
}

impl Room {
    /// Records that somebody without a seat uses the channel, so that others that may be freed go before it. Returns
    /// `true` if it had been idle for a while.
    pub(super) fn used(&mut self, now: Instant) -> bool {
        let was_idle = self.channel.touch(now);
        if was_idle {
            self.list_anew();
        } else {
            self.update_need();
        }
        was_idle
    }
}
