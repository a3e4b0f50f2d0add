//! The relaying side: members of channels that another shard owns.

use std::rc::Rc;

use super::Shard;
use super::ended::Ended;
use super::ids::{ChannelId, Home};
use super::leave::evicted;
use super::message::{Adoption, Delivery, Request, Socket};
use super::parked::Parked;
use super::session::{Role, Seating, Session};
use super::turn;
use crate::channel::{FrameRun, SessionId};
use crate::escape::Escaped;

impl Shard {
    /// Handles what the owner of a channel has sent. Never sends a delivery: see `mailbox`.
    pub(super) fn on_delivery(self: &Rc<Self>, delivery: Delivery) {
        match delivery {
            Delivery::Adopt(adoption) => self.adopt(*adoption),
            Delivery::Run {
                channel,
                except,
                run,
                messages,
            } => self.pass_on(channel, except, &run, messages),
            Delivery::Jump { channel, before } => {
                let mut registry = self.registry.borrow_mut();
                let at = registry.relay_of(channel);
                if let Some(relay) = at.and_then(|at| registry.relay_at(at)) {
                    relay.jump_to(before);
                }
            }
            Delivery::Follow { channel, read } => self.follow_on_relay(channel, read),
            Delivery::Refuse { session, why } => {
                let parked = self.parked.borrow_mut().remove(&session);
                if let Some(parked) = parked {
                    parked.refuse(*why);
                }
            }
            Delivery::Test {
                channel,
                session,
                uid,
            } => self.test_relayed(channel, session, &uid),
            Delivery::NameMembers { channel } => self.name_members(channel),
            Delivery::TellMembers { channel, news } => self.tell_relayed_members(channel, &news),
            Delivery::Through => self.behind.set(self.behind.get().saturating_sub(1)),
            Delivery::Evict {
                channel,
                session,
                limit,
            } => {
                if let Some(session) = self.relayed(channel, session) {
                    self.end(&session, evicted(limit));
                }
            }
            Delivery::Pause {
                channel,
                on,
                is_unlimited,
            } => {
                let mut registry = self.registry.borrow_mut();
                let relay = registry
                    .relay_of(channel)
                    .and_then(|at| registry.relay_at(at));
                if let Some(relay) = relay {
                    relay.pause.set_limited(on, is_unlimited);
                }
            }
        }
    }

    /// Queues a run that the owner has committed for the members here.
    fn pass_on(&self, channel: ChannelId, except: SessionId, run: &FrameRun, messages: u32) {
        let mut registry = self.registry.borrow_mut();
        let Some((at, relay, dirty)) = registry.relay_and_dirty(channel) else {
            return;
        };
        let numbers = relay.count(messages);
        let deliveries = relay.local.deliver(run, except, numbers);
        self.count_deliveries(relay.local.len(), deliveries);
        dirty.list(Home::Relayed(at), relay.local_members());
        if relay.local.is_ahead() {
            self.press_or_release(relay);
        }
        let is_dirty = !dirty.is_empty();
        drop(registry);
        if is_dirty {
            self.wake_flusher();
        }
    }

    /// Returns the member of a relayed channel that is `session`.
    pub(super) fn relayed(&self, channel: ChannelId, session: SessionId) -> Option<Rc<Session>> {
        let mut registry = self.registry.borrow_mut();
        let at = registry.relay_of(channel)?;
        let local = &registry.relay_at(at)?.local;
        turn::spend_each(local.len() / 8);
        let mut members = local.iter();
        let (_, member) = members.find(|(_, member)| member.session == session)?;
        Some(member.handle.clone())
    }

    /// Takes a connection in as a relay member. Its seat is taken already: what the owner
    /// publishes from now on comes behind this message.
    fn adopt(self: &Rc<Self>, adoption: Adoption) {
        let Adoption {
            socket,
            identity,
            id,
            channel,
            replay,
            resumed,
            skip,
            has_publisher,
            is_paused,
            early,
        } = adoption;
        let (peer, cid, session) = (identity.peer, identity.cid, identity.session);
        let parked = || self.parked.borrow_mut().remove(&session).map(Parked::seat);
        let seat = match socket {
            Some(moved) => Socket::Moved(moved).seat(early),
            None => parked().ok_or_else(|| std::io::ErrorKind::NotConnected.into()),
        };
        let (writer, then) = match seat {
            Ok(seat) => seat,
            Err(error) => {
                tracing::warn!(%peer, channel = %Escaped(&channel), %error, "join failed");
                return self.request(
                    id.owner,
                    Request::Leave {
                        channel: id,
                        cid,
                        session,
                    },
                );
            }
        };
        let mut registry = self.registry.borrow_mut();
        let settings = || self.common.channel_settings(&channel);
        let at = registry.relay_or_new(id, &channel, settings);
        let Some(relay) = registry.relay_at(at) else {
            return;
        };
        relay.pause.set(is_paused);
        let guard = self.guard_of(Role::Client, &identity, &channel);
        let seating = Seating {
            role: Role::Client,
            guard,
            has_publisher,
            channel: relay.name.clone(),
            home: Home::Relayed(at),
            pause: relay.pause.clone(),
        };
        let session = Session::new(writer, identity, seating);
        let key = session.enter(&mut relay.local, skip);
        turn::spend(turn::SYSTEM_CALL);
        turn::spend_each(replay.len());
        match resumed {
            Some(resumed) => {
                relay.position = Some(resumed.welcome.position);
                relay.local.resume(key, &relay.name, &resumed, replay);
                session.tell_rights(&mut relay.local, key);
            }
            None => relay.local.replay(key, replay),
        }
        self.flush_soon(registry, Home::Relayed(at));
        self.begin(session.clone(), then);
        if !self.is_served() {
            return self.end(&session, Ended::CutOff);
        }
        // Before that, what its channel has published since then may still be on its way.
        if self.lets_go.get() {
            self.finish(&session);
        }
    }
}
