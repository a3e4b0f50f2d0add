//! The task that brings a link up, and the end of a link that nobody needs.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::time::{sleep, sleep_until};

use super::connect::{Line, connect};
use crate::peer::link::{LinkFailure, LinkStep, SETTLE};
use crate::peer::status::LinkState;
use crate::shard::Shard;
use crate::shard::ids::ChannelId;

impl Shard {
    /// Starts the task that connects. It ends when the link stands or is not needed any more.
    pub(in crate::shard) fn drive_uplink(self: &Rc<Self>, id: ChannelId) {
        let driver = {
            let mut registry = self.registry.borrow_mut();
            let Some(uplink) = registry
                .room_of(id)
                .and_then(|room| room.links.uplink_mut())
            else {
                return;
            };
            uplink.driver = uplink.driver.wrapping_add(1);
            uplink.driver
        };
        self.spawn(self.clone().drive(id, driver));
    }

    async fn drive(self: Rc<Self>, id: ChannelId, driver: u32) {
        loop {
            match self.uplink_step(id, driver) {
                LinkStep::Rest => return,
                LinkStep::Wait(until) => sleep_until(until.into()).await,
                LinkStep::Connect(target) => {
                    let line = self.reach(id, target).await;
                    self.all_of_links_committed(id).await;
                    let attach = |line| {
                        let attached = self.attach(id, driver, target, line);
                        attached.map_err(|error| self.unreachable(target, &error))
                    };
                    match line.and_then(attach) {
                        Ok(()) => {
                            sleep(SETTLE).await;
                            return self.settle(id, driver);
                        }
                        Err(failure) => self.not_linked(id, driver, failure),
                    }
                }
            }
        }
    }

    /// Connects to an upstream. If it was part of a ring before, that is found out first.
    async fn reach(self: &Rc<Self>, id: ChannelId, target: usize) -> Result<Line, LinkFailure> {
        let live = self.common.live_arc();
        let peer = &live.settings.peer;
        let unreachable = |error| self.unreachable(target, &error);
        let tls = self.common.peer_tls.as_ref();
        let connect = || connect(&peer.upstreams[target], peer.connect_timeout, tls);
        let line = connect().await.map_err(unreachable)?;
        if !self.is_wary(id) {
            return Ok(line);
        }
        match self.probe_ring(id, line).await.map_err(unreachable)? {
            Some(ring) => Err(ring),
            None => connect().await.map_err(unreachable),
        }
    }

    fn unreachable(&self, target: usize, error: &io::Error) -> LinkFailure {
        let upstream = &self.common.settings().peer.upstreams[target];
        LinkFailure::Unreachable(format!("{upstream}: {error}"))
    }

    /// Returns the next step of the link's task.
    fn uplink_step(&self, id: ChannelId, driver: u32) -> LinkStep {
        if !self.is_running() {
            return LinkStep::Rest;
        }
        let mut registry = self.registry.borrow_mut();
        let uplink = registry
            .room_of(id)
            .and_then(|room| room.links.uplink_mut());
        let Some(uplink) = uplink.filter(|uplink| uplink.driver == driver) else {
            return LinkStep::Rest;
        };
        let step = uplink.link.next(Instant::now());
        if let LinkStep::Connect(_) = step {
            uplink.show(LinkState::Connecting);
        }
        step
    }

    fn not_linked(&self, id: ChannelId, driver: u32, failure: LinkFailure) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(id) else {
            return;
        };
        let Some(uplink) = room.links.uplink_mut().filter(|u| u.driver == driver) else {
            return;
        };
        if !uplink.link.is_idle() {
            uplink.fail(&room.name, failure, &self.log);
        }
    }

    /// Takes a join that was not refused so far for one that was taken, even if the upstream does not say so.
    fn settle(&self, id: ChannelId, driver: u32) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(id) else {
            return;
        };
        let Some(uplink) = room.links.uplink_mut().filter(|u| u.driver == driver) else {
            return;
        };
        uplink.taken(&room.name, Instant::now(), &self.log);
        if let Some(attached) = &mut uplink.attached
            && !attached.is_welcome
        {
            uplink.targets[attached.target].got = None;
            attached.replay = None;
            attached.shown = Vec::new();
            uplink.suspects.compared(u64::MAX);
        }
    }

    /// Closes the link after the last member has left, unless somebody comes meanwhile.
    pub(in crate::shard) fn close_link_later(self: &Rc<Self>, at: u32) {
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room(at) else {
            return;
        };
        if !room.channel.is_empty() || room.links.uplink().is_none() || !self.is_running() {
            return;
        }
        let id = room.id;
        drop(registry);
        let shard = self.clone();
        self.spawn(async move {
            let linger = shard.common.settings().peer.linger;
            sleep(linger).await;
            shard.close_idle_uplink(id);
        });
    }

    fn close_idle_uplink(self: &Rc<Self>, id: ChannelId) {
        let linger = self.common.settings().peer.linger;
        let mut registry = self.registry.borrow_mut();
        let Some(room) = registry.room_of(id) else {
            return;
        };
        let idle_since = room.channel.idle_since();
        let Some(uplink) = room.links.uplink_mut() else {
            return;
        };
        // Whoever emptied it last has a task of its own.
        if idle_since.is_none_or(|since| since.elapsed() < linger) {
            return;
        }
        uplink.link.rest();
        let session = uplink
            .attached
            .as_ref()
            .map(|attached| attached.session.clone());
        if session.is_none() {
            uplink.show(LinkState::Idle);
        }
        drop(registry);
        match session {
            Some(session) => self.finish(&session),
            None => self.close_or_update_need(id.index, Instant::now()),
        }
    }
}
