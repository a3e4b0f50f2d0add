//! One session on the shard where it stays.

use std::cell::{Cell, OnceCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use super::gate::{Full, Permit};
use super::hold::Hold;
use super::ids::Home;
use super::leave::slow_text;
use super::message::{ChannelName, Identity};
use super::wire::Wire;
use crate::channel::{ConnId, Fanout, Form, MemberKey, SlowPolicy, SlowReason};
use crate::protocol::{Cid, FrameError};
use crate::websocket::{CloseCode, close_frame};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is a member.
    Joined,
    /// It is a member whose client has closed its sending side.
    HalfClosed,
    /// The broker is stopping: it gets what is queued, then our side is closed.
    Finishing,
    /// It is no member any more and its socket is shut down.
    Over,
}

/// What is at the other end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A client, or a server that has sent a plain join, as v1 servers without a history do.
    Client,
    /// A server for which this one is the upstream: its first frame was a resync.
    Downstream,
    /// This server's upstream.
    Upstream,
}

impl Role {
    /// Returns the policy that replaces the channel's for a session of this role. A link has no use
    /// for a gap that only a new resync closes, and members must not wait for another server.
    const fn slow_policy(self) -> Option<SlowPolicy> {
        match self {
            Self::Client => None,
            Self::Downstream | Self::Upstream => Some(SlowPolicy::Disconnect),
        }
    }
}

/// A session. Its tasks and its seat in the channel share it.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(super) id: ConnId,
    pub(super) role: Role,
    pub(super) form: Form,
    pub(super) cid: Cid,
    pub(super) peer: SocketAddr,
    pub(super) uid: Box<str>,
    pub(super) channel: ChannelName,
    pub(super) home: Home,
    pub(super) key: Cell<Option<MemberKey>>,
    pub(super) phase: Cell<Phase>,
    /// Set while another connection waits for its place.
    pub(super) is_contested: Cell<bool>,
    /// Holds the channel's publishers back.
    pub(super) hold: Rc<Hold>,
    /// The longest time it does so.
    pub(super) hold_limit: Duration,
    pub(super) wire: Wire,
    /// Wakes the task of a session that is half-closed or held back, and does not read.
    pub(super) over: OnceCell<Rc<Notify>>,
    /// Keeps the connection counted, if it was accepted here and belongs to this session alone.
    pub(super) permit: Option<Permit>,
}

/// What a channel gives a session.
pub(super) struct Seating {
    pub(super) role: Role,
    pub(super) channel: ChannelName,
    pub(super) home: Home,
    pub(super) hold: Rc<Hold>,
    pub(super) hold_limit: Duration,
}

impl Conn {
    pub(super) fn new(wire: Wire, form: Form, identity: Identity, seating: Seating) -> Rc<Self> {
        let Identity {
            conn,
            cid,
            peer,
            uid,
            permit,
        } = identity;
        debug_assert_ne!(conn, ConnId::NONE);
        Rc::new(Self {
            id: conn,
            role: seating.role,
            form,
            cid,
            peer,
            uid,
            channel: seating.channel,
            home: seating.home,
            key: Cell::new(None),
            phase: Cell::new(Phase::Joined),
            is_contested: Cell::new(false),
            hold: seating.hold,
            hold_limit: seating.hold_limit,
            wire,
            over: OnceCell::new(),
            permit,
        })
    }

    /// Makes the session a member of `local`, with the form and the policy that it has whatever it
    /// is spoken over. The first `skip` bytes of the next run are not for it.
    pub(super) fn enter(self: &Rc<Self>, local: &mut Fanout<Rc<Self>>, skip: u32) -> MemberKey {
        let key = local.insert(self.id, self.clone(), skip);
        local.set_form(key, self.form);
        if let Some(policy) = self.role.slow_policy() {
            local.set_policy(key, policy);
        }
        self.key.set(Some(key));
        key
    }

    /// Tells a client that can be told why its session ends.
    pub(super) fn say_why(&self, ended: &Ended) {
        let Some(layered) = self.wire.layered().filter(|_| self.form != Form::Frames) else {
            return;
        };
        let (code, reason) = match ended {
            Ended::Stopping => (CloseCode::GOING_AWAY, "the server is stopping"),
            Ended::Slow(reason) => (CloseCode::SLOW, slow_text(*reason)),
            Ended::ByPeer(_) | Ended::Protocol(_) | Ended::Fault(_) => return,
            Ended::Overdrawn | Ended::Overdue => return,
            Ended::Replaced => (CloseCode::DUPLICATE, "a new session took its place"),
            Ended::LetGo(_) => return,
        };
        layered.close(close_frame(code, reason));
    }

    /// Records whether the socket of a half-closed session is full: then others make room first.
    pub(super) fn note_stalled(&self, is_stalled: bool) {
        if self.phase.get() == Phase::HalfClosed
            && let Some(permit) = &self.permit
        {
            permit.set_stalled(is_stalled);
        }
    }

    /// Waits until the session has to make room at a limit. Cancel safe.
    pub(super) async fn let_go(&self) -> Full {
        match &self.permit {
            Some(permit) => permit.let_go().await.full,
            None => std::future::pending().await,
        }
    }

    /// Whether others have a seat on its connection.
    pub(super) fn shares_its_connection(&self) -> bool {
        let layered = self.wire.layered();
        layered.is_some_and(|layered| layered.has_seats())
    }

    /// Shuts the socket down in both directions, which wakes the session's tasks.
    pub(super) fn shut_down(&self) {
        self.wire.shut_down();
        if let Some(over) = self.over.get() {
            over.notify_one();
        }
    }
}

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The client closed it, or the network did.
    ByPeer(std::io::Error),
    /// What the client sent is no frame.
    Protocol(FrameError),
    /// A client that can be told has done what it may not.
    Fault(Box<str>),
    /// The memory for incomplete frames was needed for those of others.
    Overdrawn,
    /// A frame did not go on.
    Overdue,
    /// It could not keep up.
    Slow(SlowReason),
    /// A new session took its connection id.
    Replaced,
    /// It was half-closed, and had to make room at a limit.
    LetGo(Full),
    /// The broker is stopping.
    Stopping,
}
