//! What the rights of a session mean while it lasts: whether there is anything that it may do, and what becomes of it when
//! it loses a right or gets one.
//!
//! | right | when it is lost | when it is given |
//! | --- | --- | --- |
//! | `publish` | what the client publishes from then on is denied | it may publish |
//! | `subscribe` | what is queued is dropped, and nothing of others is queued | it gets what is published from then on |
//! | `history` | what is left of the history in its queue is dropped | with the next join |
//! | `presence` | it is told no more who comes and leaves | with the next join |
//! | `peer` | the link ends | with the next join |
//!
//! A session ends if it may do nothing any more that it could do. One that reads notices is told its rights.

use std::rc::Rc;

use super::Shard;
use super::labels::Transport;
use super::message::Request;
use super::session::{Role, Session, SessionPhase};
use crate::access::{Denied, Permissions, Rights};
use crate::channel::{Dropped, Fanout, MemberKey};
use crate::escape::Escaped;
use crate::protocol::Notice;

/// The rights that a client can use, and is told.
const OF_CLIENTS: Permissions = Permissions::ALL.without(Permissions::PEER);

/// Actions of a session, besides receiving, that its rights decide about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purpose {
    /// Set if its client can publish.
    pub(super) publishes: bool,
    /// Set if its client has asked who is there.
    pub(super) watches: bool,
}

impl Purpose {
    /// Checks that `rights` let a session of `uid` in `channel` do anything.
    ///
    /// # Errors
    ///
    /// They do not.
    pub(super) fn check(self, rights: &Rights, uid: &str, channel: &str) -> Result<(), Denied> {
        let mut of_use = Permissions::SUBSCRIBE;
        if self.publishes {
            of_use = of_use.with(Permissions::PUBLISH);
        }
        let watches = self.watches && rights.permits(Permissions::PRESENCE);
        if watches || rights.permissions().intersects(of_use) {
            return Ok(());
        }
        rights.require(of_use, uid, channel)
    }
}

impl Session {
    /// Tells a member that asks for positions what it may do, if that is not everything.
    pub(super) fn tell_rights(&self, local: &mut Fanout<Rc<Self>>, key: MemberKey) {
        let permissions = self.rights.borrow().permissions();
        if !permissions.contains(OF_CLIENTS) {
            local.notify(key, &rights_notice(permissions));
        }
    }
}

fn rights_notice(permissions: Permissions) -> Notice {
    let permissions = permissions.without(Permissions::PEER);
    Notice::Rights {
        allowed: permissions.names().map(Box::from).collect(),
    }
}

impl Shard {
    /// Gives a session the rights that were decided anew, and takes from it what it has lost. What is queued for it has
    /// been made for what it might read.
    ///
    /// # Errors
    ///
    /// There is nothing that it may still do. It has to be ended.
    pub(super) fn change_rights(
        self: &Rc<Self>,
        session: &Rc<Session>,
        rights: Rights,
    ) -> Result<(), Denied> {
        if session.role == Role::Client {
            let purpose = Purpose {
                publishes: session.transport != Transport::Events
                    && session.phase.get() == SessionPhase::Joined,
                watches: self.is_watching(session),
            };
            purpose.check(&rights, &session.uid, &session.channel)?;
        }
        self.renew_guard(session, &rights);
        let now = rights.permissions();
        let before = session.rights.replace(rights).permissions();
        if now != before {
            self.apply_rights(session, before.without(now), now.without(before));
        }
        Ok(())
    }

    fn is_watching(&self, session: &Session) -> bool {
        let mut registry = self.registry.borrow_mut();
        let member = |key| {
            let members = registry.local_members(session.home)?;
            Some(members.local.get(key, session.id)?.is_watching())
        };
        session.key.get().and_then(member).unwrap_or(false)
    }

    /// Takes from a session what it has lost, and gives it what it has got.
    fn apply_rights(
        self: &Rc<Self>,
        session: &Rc<Session>,
        lost: Permissions,
        gained: Permissions,
    ) {
        let is_open = matches!(
            session.phase.get(),
            SessionPhase::Joined | SessionPhase::HalfClosed
        );
        let (Some(key), true) = (session.key.get(), is_open) else {
            return;
        };
        let mut registry = self.registry.borrow_mut();
        let (newest, channel) = (registry.newest(session.home), registry.id_of(session.home));
        let members = registry.local_members(session.home);
        let members = members.filter(|members| members.local.get(key, session.id).is_some());
        let (Some(members), Some(channel)) = (members, channel) else {
            return;
        };
        let local = &mut *members.local;
        let mut dropped = Dropped::default();
        if lost.contains(Permissions::SUBSCRIBE) {
            dropped = local.silence(key, newest);
        } else if lost.contains(Permissions::HISTORY) {
            dropped = local.drop_history(key);
        }
        if gained.contains(Permissions::SUBSCRIBE) {
            local.unsilence(key, session.writer.encoding(), newest);
        }
        let stops_watching = lost.contains(Permissions::PRESENCE) && local.stop_watching(key);
        local.notify(key, &rights_notice(session.rights.borrow().permissions()));
        self.flush_soon(registry, session.home);
        if stops_watching && channel.owner == self.id {
            self.forget_watcher(channel, session.id);
        } else if stops_watching {
            let session = session.id;
            self.request(channel.owner, Request::StopWatching { channel, session });
        }
        // News of members may have been among what was dropped.
        self.caught_up(session, key);
        self.update_pressure(session.home);
        self.stats().dropped_frames.add(dropped.frames as u64);
        if self.log.admit() {
            let (uid, channel) = (Escaped(&session.uid), Escaped(&session.channel));
            tracing::info!(
                peer = %session.peer, %uid, %channel, %lost, %gained, dropped = dropped.frames,
                "the rights of a session have changed"
            );
        }
    }
}
