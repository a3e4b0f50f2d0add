//! The task that takes messages out of a shard's mailboxes.

use std::convert::Infallible;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::Shard;
use super::mailbox::{Mailbox, Outlet};
use super::message::{Delivery, Request, Socket};
use super::turn;

/// Units that the messages of one kind may cost before the shard's other tasks have their turn.
const KIND: u32 = turn::BUDGET / 2;

/// The mailboxes of one shard.
#[derive(Debug)]
pub(super) struct Inbox {
    pub(super) requests: Mailbox<Request>,
    pub(super) deliveries: Mailbox<Delivery>,
}

/// The outcome of looking into the mailboxes.
enum Handled {
    Nothing,
    Some,
    /// The turn is used up; there may be more.
    Much,
}

impl Shard {
    /// Handles messages from other shards for as long as the shard lives.
    pub(super) async fn receive_forever(self: Rc<Self>, inbox: Inbox) {
        let wake = self.common.wakes[self.id.index()].clone();
        std::future::poll_fn(|cx| {
            wake.register(cx.waker());
            loop {
                match self.receive(&inbox) {
                    Handled::Much => {
                        self.has_backlog();
                        turn::yield_to_sockets(cx);
                        return Poll::<()>::Pending;
                    }
                    Handled::Nothing if wake.sleep(|| self.is_idle(&inbox)) => {
                        self.stats().backlog_since.set(0);
                        return Poll::Pending;
                    }
                    Handled::Some | Handled::Nothing => {}
                }
            }
        })
        .await;
    }

    /// Records since when there were always messages to handle.
    fn has_backlog(&self) {
        let since = &self.stats().backlog_since;
        if since.get() == 0 {
            since.set(self.common.nanos().max(1));
        }
    }

    /// Handles messages of each kind until there are no more or its part of a turn is used up.
    fn receive(self: &Rc<Self>, inbox: &Inbox) -> Handled {
        self.send_kept();
        let start = turn::spent();
        while turn::spent() < start + KIND
            && let Some(delivery) = inbox.deliveries.take()
        {
            turn::spend(turn::MESSAGE);
            self.on_delivery(delivery);
        }
        let middle = turn::spent();
        if middle > start {
            inbox.deliveries.made_room(&self.common.wakes);
        }
        while turn::spent() < middle + KIND
            && self.may_take_requests()
            && let Some(request) = inbox.requests.take()
        {
            turn::spend(turn::MESSAGE);
            self.on_request(request);
        }
        let end = turn::spent();
        if end > middle {
            inbox.requests.made_room(&self.common.wakes);
        }
        match end - start {
            0 => Handled::Nothing,
            _ if end >= KIND => Handled::Much,
            _ => Handled::Some,
        }
    }

    fn is_idle(&self, inbox: &Inbox) -> bool {
        inbox.deliveries.is_empty()
            && (inbox.requests.is_empty() || !self.may_take_requests())
            && self.deliveries.iter().all(Outlet::is_settled)
            && self.requests.iter().all(Outlet::is_settled)
    }

    /// Requests have to wait while deliveries do: see `mailbox`.
    fn may_take_requests(&self) -> bool {
        self.deliveries.iter().all(Outlet::is_clear)
    }

    /// Sends what found a mailbox full, and lets the readers go on when nothing is left of it.
    fn send_kept(&self) {
        if !self.congestion.is_on() {
            return;
        }
        self.deliveries.iter().for_each(Outlet::send_kept);
        self.requests.iter().for_each(Outlet::send_kept);
        let clear = self.requests.iter().all(Outlet::is_clear);
        if clear && self.may_take_requests() {
            self.congestion.set(false);
            self.stats().congested.set(0);
        }
    }

    fn on_request(self: &Rc<Self>, request: Request) {
        match request {
            Request::Join(arrival) => {
                let socket = |moved: Option<_>| {
                    Ok::<_, Infallible>(moved.map_or(Socket::Elsewhere, Socket::Moved))
                };
                let Ok(arrival) = arrival.try_map(socket);
                self.seat(arrival);
            }
            Request::Publish {
                channel,
                session,
                run,
            } => self.propose_relayed(channel, session, run),
            Request::Follow { channel, read } => self.follow_on_owner(channel, read),
            Request::Leave {
                channel,
                cid,
                session,
            } => {
                let now = Instant::now();
                let mut registry = self.registry.borrow_mut();
                let room = registry.room_of(channel);
                let left = room.and_then(|room| room.leave(cid, session, now));
                drop(registry);
                if left.is_some() {
                    self.after_leaving(channel.index, session, now);
                }
            }
            Request::HalfClose {
                channel,
                cid,
                session,
            } => {
                if let Some(room) = self.registry.borrow_mut().room_of(channel) {
                    room.channel.half_close(cid, session);
                    room.update_need();
                }
                self.has_given_way(session);
            }
            Request::Ask(question) => self.answer(*question),
            Request::ListMembers { channel, names } => self.list_members_anew(channel, names),
            Request::StopWatching { channel, session } => self.forget_watcher(channel, session),
            Request::Named(named) => self.on_named(*named),
            Request::Free { channel } => self.free_channel(channel),
            Request::Alive { session } => self.refuse_waiting(session),
            Request::Through { shard } => self.answer_through(shard),
            Request::Press { channel, shard, on } => self.on_press(channel, shard, on),
        }
    }
}
