//! Sessions: one (uid, channel) pair of a client, on the shard where its connection stays.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::ended::Ended;
use super::expiry::Expiry;
use super::ids::Home;
use super::input::InputCheck;
use super::labels::Transport;
use super::limits::{LimitReached, Permit};
use super::message::{ChannelName, Identity};
use super::pause::Pause;
use super::publish_guard::PublishGuard;
use super::stream::StreamWriter;
use super::traffic::Traffic;
use crate::access::{Permissions, Rights};
use crate::channel::{Fanout, FrameRun, MemberKey, SessionId};
use crate::protocol::Cid;

/// Lifecycle of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SessionPhase {
    /// A member that may publish.
    Joined,
    /// A member whose client has closed its sending side.
    HalfClosed,
    /// A member whose connection takes nothing any more. What its client sent before that is still read.
    Unwritable,
    /// The broker is stopping: the member gets what is queued, then our side is closed.
    Finishing,
    /// No member any more; its socket is shut down.
    Over,
}

/// Kind of party at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A client, or a server that has sent a plain join, as v1 servers without a history do.
    Client,
    /// A server for which this one is the upstream: its first frame was a resync.
    Downstream,
    /// This server's upstream.
    Upstream,
}

/// One (uid, channel) pair of a client, on the shard where its connection is. Its tasks and its seat in the
/// channel share it.
#[derive(Debug)]
pub(crate) struct Session {
    /// Identifies it; never used twice.
    pub(super) id: SessionId,
    /// Kind of party at the other end.
    pub(super) role: Role,
    /// Its rights, decided at the join, and anew when the settings change.
    pub(super) rights: RefCell<Rights>,
    /// Number of the settings for which its rights were last decided anew; 0 while they are those of its join.
    pub(super) generation: Cell<u32>,
    /// Keeps it among those that end when their rights are over; `None` if they never are.
    pub(super) expiry: RefCell<Option<Box<Expiry>>>,
    /// Its connection id in the channel.
    pub(super) cid: Cid,
    /// Address of the client.
    pub(super) peer: SocketAddr,
    /// Name of its user.
    pub(super) uid: Box<str>,
    /// Name of its channel.
    pub(super) channel: ChannelName,
    /// Place of its channel on this shard.
    pub(super) home: Home,
    /// Finds it among the channel's members; `None` once it has given up its seat.
    pub(super) key: Cell<Option<MemberKey>>,
    /// Lifecycle: joined, half-closed, finishing, over.
    pub(super) phase: Cell<SessionPhase>,
    /// Set while another connection waits for its place.
    pub(super) is_contested: Cell<bool>,
    /// Pauses the channel's publishers, of which it is one.
    pub(super) pause: Rc<Pause>,
    /// Holds it when it publishes, if anything does.
    pub(super) guard: RefCell<Option<Rc<PublishGuard>>>,
    /// Sending side of its connection.
    pub(super) writer: StreamWriter,
    /// Wakes the task of a session that is half-closed or paused, and does not read.
    pub(super) over: OnceCell<Rc<Notify>>,
    /// Keeps the connection counted, if it was accepted here and belongs to this session alone.
    pub(super) permit: Option<Permit>,
    /// Transport of the session.
    pub(super) transport: Transport,
    /// When it joined.
    pub(super) joined_at: Instant,
    /// `true` if it has named its publisher.
    pub(super) has_publisher: bool,
    /// Counts what the session publishes.
    pub(super) traffic: Traffic,
}

/// A channel's part of a new session.
pub(super) struct Seating {
    pub(super) role: Role,
    pub(super) channel: ChannelName,
    pub(super) home: Home,
    pub(super) pause: Rc<Pause>,
    pub(super) guard: Option<Rc<PublishGuard>>,
    pub(super) has_publisher: bool,
}

impl Session {
    pub(super) fn new(writer: StreamWriter, identity: Identity, seating: Seating) -> Rc<Self> {
        let Identity {
            session,
            cid,
            peer,
            uid,
            rights,
            permit,
            transport,
        } = identity;
        debug_assert_ne!(session, SessionId::NONE);
        Rc::new(Self {
            id: session,
            role: seating.role,
            rights: RefCell::new(rights),
            generation: Cell::new(0),
            cid,
            peer,
            uid,
            channel: seating.channel,
            home: seating.home,
            key: Cell::new(None),
            phase: Cell::new(SessionPhase::Joined),
            is_contested: Cell::new(false),
            pause: seating.pause,
            guard: RefCell::new(seating.guard),
            has_publisher: seating.has_publisher,
            expiry: RefCell::default(),
            writer,
            over: OnceCell::new(),
            permit,
            transport: match seating.role {
                Role::Client => transport,
                Role::Downstream | Role::Upstream => Transport::Link,
            },
            joined_at: Instant::now(),
            traffic: Traffic::default(),
        })
    }

    /// Returns the check of what its client sends; `None` if that is only messages, which may hold anything.
    pub(super) fn input_check(&self) -> Option<Box<InputCheck>> {
        let rights = self.rights.borrow();
        let body = rights.body_check(&self.uid, &self.channel);
        let takes_tokens = rights.are_by_token();
        (body.is_some() || takes_tokens)
            .then(|| Box::new(InputCheck::new(body.unwrap_or_default(), takes_tokens)))
    }

    /// Returns its connection id in the channel.
    pub(crate) fn cid(&self) -> Cid {
        self.cid
    }

    /// Returns `true` if the session is that of `uid` in `channel`.
    pub(crate) fn is_of(&self, uid: &str, channel: &str) -> bool {
        *self.uid == *uid && *self.channel == *channel
    }

    /// Returns `true` if the session is of `uid`.
    pub(crate) fn has_uid(&self, uid: &str) -> bool {
        *self.uid == *uid
    }

    /// Returns `true` if its client has shown a token, and so may show others.
    pub(crate) fn is_by_token(&self) -> bool {
        self.rights.borrow().are_by_token()
    }

    /// Returns what the session has sent as the other members get it.
    #[inline]
    pub(super) fn as_others_see(&self, run: FrameRun) -> FrameRun {
        if self.rights.borrow().hides_keys() {
            run.without_keys()
        } else {
            run
        }
    }

    /// Returns `true` if the session has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.phase.get() == SessionPhase::Over
    }

    /// Returns what it has to wait for before it publishes, and for how long at most; `None` while it may
    /// publish.
    pub(crate) fn pause(&self) -> Option<(&Pause, Duration)> {
        self.pause
            .is_on()
            .then_some((&*self.pause, self.pause.limit()))
    }

    /// Returns what holds it when it publishes, if anything does.
    #[inline]
    pub(super) fn guard(&self) -> Option<Rc<PublishGuard>> {
        self.guard.borrow().clone()
    }

    /// Replaces what holds it when it publishes.
    pub(super) fn set_guard(&self, guard: Option<Rc<PublishGuard>>) {
        self.guard.replace(guard);
    }

    /// Makes the session a member of `local`, with the encoding and the policy that it has whatever it
    /// is spoken over. The first `skip` bytes of the next run are not for it.
    pub(super) fn enter(self: &Rc<Self>, local: &mut Fanout<Rc<Self>>, skip: u32) -> MemberKey {
        let key = local.insert(self.id, self.clone(), skip);
        let encoding = self.writer.encoding();
        local.set_encoding(
            key,
            if self.rights.borrow().permits(Permissions::SUBSCRIBE) {
                encoding
            } else {
                encoding.silent()
            },
        );
        if let Some(policy) = self.rights.borrow().slow_policy {
            local.set_policy(key, policy);
        }
        self.key.set(Some(key));
        key
    }

    /// Tells a client that can be told why its session ends.
    pub(super) fn say_why(&self, ended: &Ended) {
        if let Some(layered) = self.writer.layered() {
            layered.close_after(ended);
        }
    }

    /// Records whether the socket of a half-closed session is full: then others make room first.
    pub(super) fn set_stalled(&self, is_stalled: bool) {
        if self.phase.get() == SessionPhase::HalfClosed
            && let Some(permit) = &self.permit
        {
            permit.set_stalled(is_stalled);
        }
    }

    /// Waits until the session has to make room at a limit. Cancel safe.
    pub(super) async fn let_go(&self) -> LimitReached {
        match &self.permit {
            Some(permit) => permit.let_go().await,
            None => std::future::pending().await,
        }
    }

    /// Returns a number that is the same for all sessions of a connection while they last.
    pub(super) fn connection(&self) -> (usize, Option<SessionId>) {
        match self.writer.layered() {
            Some(layered) => (Rc::as_ptr(layered).addr(), None),
            None => (0, Some(self.id)),
        }
    }

    /// Returns `true` if other sessions use its connection.
    pub(super) fn shares_its_connection(&self) -> bool {
        let layered = self.writer.layered();
        layered.is_some_and(|layered| layered.has_seats())
    }

    /// Shuts the socket down in both directions, which wakes the session's tasks.
    pub(super) fn shut_down(&self) {
        self.writer.shut_down();
        if let Some(over) = self.over.get() {
            over.notify_one();
        }
    }
}
