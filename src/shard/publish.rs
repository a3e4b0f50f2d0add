//! The message path: a run from a publisher to the queues of its channel's members.

use std::rc::Rc;
use std::time::Instant;

use super::Shard;
use super::ids::{Home, ShardId};
use super::links::Compared;
use super::message::{Delivery, Request};
use super::session::{Role, Session};
use super::turn;
use crate::channel::{FrameRun, Origin, SessionId};

impl Shard {
    /// Publishes what a session of this shard has sent.
    pub(crate) fn publish(self: &Rc<Self>, session: &Rc<Session>, run: FrameRun) {
        if session.role == Role::Upstream {
            return self.publish_from_upstream(session, &run);
        }
        if let (Role::Downstream, Home::Owned(at)) = (session.role, session.home) {
            return self.publish_from_below(at, session, &run);
        }
        self.note_received(&run);
        match session.home {
            Home::Owned(at) => self.publish_in(at, session.id, &run, Instant::now()),
            Home::Relayed(at) => {
                let id = self
                    .registry
                    .borrow_mut()
                    .relay_at(at)
                    .map(|relay| relay.id);
                match id {
                    Some(channel) => {
                        let request = Request::Publish {
                            channel,
                            session: session.id,
                            run,
                        };
                        self.request(channel.owner, request);
                    }
                    None => self.stats().orphaned_frames.add(run.frames() as u64),
                }
            }
        }
    }

    /// Counts frames that a session has published.
    pub(super) fn note_received(&self, run: &FrameRun) {
        self.stats().frames_in.add(run.frames() as u64);
        self.stats().bytes_in.add(run.bytes().len() as u64);
    }

    /// Makes `run` the next in the order of a channel of this shard, and stores it.
    pub(super) fn publish_in(
        self: &Rc<Self>,
        at: u32,
        from: SessionId,
        run: &FrameRun,
        now: Instant,
    ) {
        let is_peer = !self.common.settings.peer.upstreams.is_empty();
        if is_peer && let Some(rest) = self.take_probes(at, run, now) {
            for run in &rest {
                self.publish_as(at, from, run, Origin::Member, now);
            }
            return;
        }
        self.publish_as(at, from, run, Origin::Member, now);
    }

    /// The same for a run that may have come down from an upstream.
    pub(super) fn publish_as(
        self: &Rc<Self>,
        at: u32,
        from: SessionId,
        run: &FrameRun,
        origin: Origin,
        now: Instant,
    ) {
        self.deliver_collected(at, now);
        self.sequence(at, from, run, now);
        self.store(at, from, run, origin, now);
    }

    /// Publishes new frames of a resync, or late ones. Of those that may be old `late` says with what of the
    /// upstream's they have been compared.
    pub(super) fn publish_brought(
        self: &Rc<Self>,
        at: u32,
        from: SessionId,
        run: &FrameRun,
        late: Option<Option<Compared>>,
        now: Instant,
    ) {
        let Some(compared) = late else {
            return self.publish_as(at, from, run, Origin::Member, now);
        };
        self.deliver_collected(at, now);
        self.skip_uplink(at, run, compared);
        self.sequence(at, from, run, now);
        self.store(at, from, run, Origin::Member, now);
        self.note_late(at);
    }

    /// Stores a run for members that join later, and counts it for other servers.
    fn store(&self, at: u32, from: SessionId, run: &FrameRun, origin: Origin, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        if room.links.is_none() {
            return registry.remember(at, run, origin, now);
        }
        drop(registry);
        if let Some(run) = run.without_presence() {
            self.store_linked(at, from, &run, origin, now);
        }
    }

    /// Stores a run of a channel that other servers have as well.
    fn store_linked(&self, at: u32, from: SessionId, run: &FrameRun, origin: Origin, now: Instant) {
        let mut registry = self.registry.borrow_mut();
        registry.remember(at, run, origin, now);
        let Some(room) = registry.room(at) else {
            return;
        };
        room.links
            .committed(run, from, origin, &self.common.digester);
    }

    /// Delivers the announcements that a room has collected. They are not stored.
    pub(super) fn deliver_collected(self: &Rc<Self>, at: u32, now: Instant) {
        let collected = self
            .registry
            .borrow_mut()
            .room(at)
            .and_then(|r| r.channel.collected());
        if let Some(run) = collected {
            self.sequence(at, SessionId::NONE, &run, now);
        }
    }

    /// The next run in the channel's order: to the members here, and once to each relaying shard.
    pub(super) fn sequence(
        self: &Rc<Self>,
        at: u32,
        except: SessionId,
        run: &FrameRun,
        now: Instant,
    ) {
        self.fan_out(Home::Owned(at), except, run);
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let is_suspect = room.links.passed(run, except, now);
        let channel = room.id;
        for shard in room.channel.relays() {
            let run = run.clone();
            self.deliver_to(
                ShardId(shard),
                Delivery::Run {
                    channel,
                    except,
                    run,
                },
            );
        }
        drop(registry);
        if is_suspect {
            self.send_probe(at, now);
        }
    }

    /// Queues `run` for the members on this shard.
    pub(super) fn fan_out(&self, home: Home, except: SessionId, run: &FrameRun) {
        let mut registry = self.registry.borrow_mut();
        let Some(target) = registry.target(home) else {
            return;
        };
        let frames = target.local.deliver(run, except);
        turn::spend_each(target.local.len());
        let is_ahead = target.local.is_ahead();
        registry.list_if_dirty(home);
        drop(registry);
        self.stats().deliveries.add(frames as u64);
        self.wake_flusher();
        if is_ahead {
            self.update_pressure(home);
        }
    }

    /// Pauses or releases the channel's publishers after queues have changed.
    pub(super) fn update_pressure(&self, home: Home) {
        match home {
            Home::Owned(at) => self.update_pause(at),
            Home::Relayed(at) => {
                let mut registry = self.registry.borrow_mut();
                let Some(relay) = registry.relay_at(at) else {
                    return;
                };
                let on = relay.local.is_pressed();
                if std::mem::replace(&mut relay.is_pressed, on) != on {
                    let (channel, shard) = (relay.id, self.id);
                    self.request(channel.owner, Request::Press { channel, shard, on });
                }
            }
        }
    }

    /// Holds the publishers of a room on all shards while any shard has a member over its mark.
    pub(super) fn update_pause(&self, at: u32) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        let on = room.channel.local.is_pressed() || !room.pressed.is_empty();
        if room.pause.is_on() != on {
            room.pause.set(on);
            let channel = room.id;
            for shard in room.channel.relays() {
                self.deliver_to(ShardId(shard), Delivery::Pause { channel, on });
            }
        }
    }
}
