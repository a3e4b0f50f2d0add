//! Writing to sockets: one flusher for the shard, and a task for each member whose socket is full.

use std::io;
use std::rc::Rc;
use std::time::Instant;

use tokio::time::timeout_at;

use super::Shard;
use super::conn::{Conn, Ended, Phase};
use super::ids::Home;
use crate::channel::{ChannelSettings, Fanout, MemberKey, Verdict};

/// Bytes written to one member before the others have their turn.
const TURN_BYTES: usize = 1 << 20;

/// What writing to a member came to.
#[derive(Debug)]
pub(super) enum Wrote {
    /// Nothing is queued any more.
    All,
    /// There is more, and the socket takes more; others first.
    Some,
    /// The socket is full.
    Full,
    /// The member's connection is gone.
    Failed(io::Error),
}

impl Shard {
    /// The flusher: runs whenever members have something queued, behind the readers that were
    /// woken before it.
    pub(super) async fn flush_forever(self: Rc<Self>) {
        let (mut homes, mut keys) = (Vec::new(), Vec::new());
        std::future::poll_fn(|cx| {
            *self.flusher.borrow_mut() = Some(cx.waker().clone());
            (homes, keys) = self.flush(std::mem::take(&mut homes), std::mem::take(&mut keys));
            std::task::Poll::<()>::Pending
        })
        .await;
    }

    /// Lets the flusher run if there is something to do. To be called after anything was queued.
    pub(super) fn wake_flusher(&self) {
        if self.registry.borrow().is_dirty()
            && let Some(waker) = self.flusher.take()
        {
            waker.wake();
        }
    }

    /// Writes to every dirty member. Takes and returns the lists it works on, to keep their memory.
    fn flush(
        self: &Rc<Self>,
        homes: Vec<Home>,
        mut keys: Vec<MemberKey>,
    ) -> (Vec<Home>, Vec<MemberKey>) {
        let now = Instant::now();
        let homes = self.registry.borrow_mut().take_dirty(homes);
        for &home in &homes {
            let mut done = Vec::new();
            let mut registry = self.registry.borrow_mut();
            let Some(target) = registry.target(home) else {
                continue;
            };
            keys = target.local.take_dirty(keys);
            for &key in &keys {
                if target
                    .local
                    .at(key)
                    .is_none_or(|member| member.is_stalled())
                {
                    continue;
                }
                let wrote = self.write(target.local, key, target.settings, now);
                if let Some(member) = target.local.at(key) {
                    match wrote {
                        Wrote::All if member.handle.phase.get() == Phase::Finishing => {
                            done.push((member.handle.clone(), None));
                        }
                        Wrote::Failed(error) => done.push((member.handle.clone(), Some(error))),
                        Wrote::Some => target.local.mark_dirty(key),
                        Wrote::All | Wrote::Full => {}
                    }
                }
            }
            registry.list_if_dirty(home);
            drop(registry);
            for (conn, error) in done {
                match error {
                    Some(error) => self.end(&conn, Ended::ByPeer(error)),
                    None => self.close_write(&conn),
                }
            }
            self.update_pressure(home);
        }
        self.wake_flusher();
        (homes, keys)
    }

    /// Writes what is queued for a member, as much as its socket takes, up to one turn. A member
    /// whose socket is full gets a task that goes on when there is room.
    pub(super) fn write(
        self: &Rc<Self>,
        local: &mut Fanout<Rc<Conn>>,
        key: MemberKey,
        settings: &ChannelSettings,
        now: Instant,
    ) -> Wrote {
        let mut written = 0;
        while let Some(member) = local.at(key) {
            let wire = &member.handle.wire;
            if member.outbox.is_empty() && wire.is_clear() {
                if let Some(layered) = wire.layered() {
                    layered.wait_no_more(member.conn);
                }
                return Wrote::All;
            }
            if written >= TURN_BYTES {
                return Wrote::Some;
            }
            match wire.try_write(member.conn, &member.outbox, member.form()) {
                Ok(n) => {
                    self.stats().writes.add(1);
                    written += n;
                    local.wrote(key, n, now, settings);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let conn = member.handle.clone();
                    if local.set_stalled(key, true, now) {
                        self.spawn(self.clone().write_when_ready(conn, key));
                    }
                    return Wrote::Full;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Wrote::Failed(error),
            }
        }
        Wrote::All
    }

    /// The task of a member whose socket is full. It ends when all is written or the member is gone.
    async fn write_when_ready(self: Rc<Self>, conn: Rc<Conn>, key: MemberKey) {
        loop {
            let Some(deadline) = self.stall_deadline(&conn, key) else {
                return;
            };
            let ended = match timeout_at(deadline.into(), conn.wire.writable(conn.id)).await {
                Ok(Ok(())) => match self.resume_write(&conn, key) {
                    Wrote::All => return,
                    Wrote::Some => {
                        super::session::yield_turn().await;
                        None
                    }
                    Wrote::Full => None,
                    Wrote::Failed(error) => Some(Ended::ByPeer(error)),
                },
                Ok(Err(error)) => Some(Ended::ByPeer(error)),
                Err(_elapsed) => self.overdue(&conn, key),
            };
            if let Some(ended) = ended {
                return self.end(&conn, ended);
            }
        }
    }

    fn stall_deadline(&self, conn: &Conn, key: MemberKey) -> Option<Instant> {
        let mut registry = self.registry.borrow_mut();
        let target = registry.target(conn.home)?;
        target.local.get(key, conn.id)?;
        if let Some(at) = conn.wire.progress() {
            target.local.progressed(key, at);
        }
        target.local.deadline(key, target.settings)
    }

    fn resume_write(self: &Rc<Self>, conn: &Rc<Conn>, key: MemberKey) -> Wrote {
        let now = Instant::now();
        let mut registry = self.registry.borrow_mut();
        let Some(target) = registry.target(conn.home) else {
            return Wrote::All;
        };
        if target.local.get(key, conn.id).is_none() {
            return Wrote::All;
        }
        let wrote = self.write(target.local, key, target.settings, now);
        if matches!(wrote, Wrote::All) {
            target.local.set_stalled(key, false, now);
        }
        drop(registry);
        if matches!(wrote, Wrote::All) && conn.phase.get() == Phase::Finishing {
            self.close_write(conn);
        }
        self.update_pressure(conn.home);
        wrote
    }

    fn overdue(&self, conn: &Conn, key: MemberKey) -> Option<Ended> {
        let mut registry = self.registry.borrow_mut();
        let target = registry.target(conn.home)?;
        target.local.get(key, conn.id)?;
        if let Some(at) = conn.wire.progress() {
            target.local.progressed(key, at);
        }
        match target.local.enforce(key, Instant::now(), target.settings) {
            Verdict::Disconnect(reason) => Some(Ended::Slow(reason)),
            Verdict::Dropped(dropped) => {
                self.note_dropped(conn, dropped);
                None
            }
            Verdict::Keep => None,
        }
    }
}
