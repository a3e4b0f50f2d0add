//! The task of a session: reads what its client sends until that ends.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::net::tcp::OwnedReadHalf;

use super::Shard;
use super::conn::{Conn, Ended, Phase};
use super::input::{Input, Next};
use super::message::Early;
use crate::channel::FrameRun;
use crate::protocol::{BodyCheck, BodyPrefix, Stop, scan};
use crate::settings::NameCheck;

/// A member that is being served. There is one for every connection, idle or not: what it needs
/// only now and then is boxed.
pub(super) struct Session {
    shard: Rc<Shard>,
    conn: Rc<Conn>,
    socket: OwnedReadHalf,
    input: Input,
    /// Boxed, and absent when nothing is checked.
    check: Option<Box<BodyCheck>>,
}

impl Shard {
    /// Takes in what came together with the join frame and serves the member from then on.
    pub(super) fn serve(self: &Rc<Self>, conn: Rc<Conn>, socket: OwnedReadHalf, early: Early) {
        let check = body_check(self.common.settings.limits.check_names, &conn).map(Box::new);
        let input = Input::default();
        self.sessions.set(self.sessions.get() + 1);
        let mut session = Session {
            shard: self.clone(),
            conn,
            socket,
            input,
            check,
        };
        match session.take_early(early) {
            Ok(()) => self.spawn(session.run()),
            Err(ended) => self.end(&session.conn, ended),
        }
    }
}

impl Session {
    async fn run(mut self) {
        let ended = loop {
            if let Some(ended) = self.take_turn().await {
                break ended;
            }
        };
        self.shard.end(&self.conn, ended);
    }

    /// Reads once and publishes what came. Returns why the session has ended, if it has.
    async fn take_turn(&mut self) -> Option<Ended> {
        self.wait_for_gates().await;
        let step = match poll_fn(|cx| self.poll_read(cx)).await {
            Ok(step) => step,
            Err(error) => return Some(Ended::ByPeer(error)),
        };
        match step {
            Next::Wait => None,
            Next::Again => {
                yield_turn().await;
                None
            }
            Next::Eof { torn } => Some(Box::pin(self.after_eof(torn)).await),
            Next::Bad(error) => Some(Ended::Protocol(error)),
            Next::Overdrawn => Some(Ended::Overdrawn),
        }
    }

    /// Waits while other shards are congested or the channel has a member that holds its
    /// publishers back; the latter never longer than its limit.
    async fn wait_for_gates(&self) {
        if self.shard.congestion.is_held() {
            self.shard.congestion.released().await;
        }
        if self.conn.hold.is_held() {
            Box::pin(self.conn.hold.released_within(self.conn.hold_limit)).await;
        }
    }

    /// Reads once and publishes the whole frames.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        let max_body = self.shard.max_body();
        let check = self.check.as_deref().unwrap_or(&BodyCheck::Off);
        let mut scratch = self.shard.scratch.borrow_mut();
        let input = &mut self.input;
        let step = ready!(input.poll_read(cx, &mut self.socket, &mut scratch, max_body, check))?;
        drop(scratch);
        if self.conn.phase.get() == Phase::Over {
            return Poll::Ready(Ok(Next::Eof { torn: false }));
        }
        if let Some(run) = step.run {
            self.shard.publish(&self.conn, run);
        }
        Poll::Ready(Ok(step.next))
    }

    fn take_early(&mut self, early: Early) -> Result<(), Ended> {
        if let Some(run) = early.run {
            let check = self.check.as_deref().unwrap_or(&BodyCheck::Off);
            let found = scan(run.bytes(), self.shard.max_body(), check);
            if let Stop::Bad(error) = found.stop {
                let good = run.bytes().slice(..found.run.len);
                if let Ok(frames @ 1..) = u32::try_from(found.run.frames) {
                    let good = FrameRun::slice_of(good, frames, run.pinned());
                    self.shard.publish(&self.conn, good);
                }
                return Err(Ended::Protocol(error));
            }
            self.shard.publish(&self.conn, run);
        }
        if let Some(error) = early.bad {
            return Err(Ended::Protocol(error));
        }
        let mut scratch = self.shard.scratch.borrow_mut();
        self.input
            .resume(&early.partial, &mut scratch)
            .map_err(|_| Ended::Overdrawn)
    }

    /// The client has closed its sending side: it still gets what is published. That it is gone
    /// altogether shows only when the socket fails.
    async fn after_eof(&self, torn: bool) -> Ended {
        if torn {
            tracing::debug!(peer = %self.conn.peer, "client closed its side inside a frame");
        }
        match self.conn.phase.get() {
            Phase::Over | Phase::Finishing => return Ended::Stopping,
            Phase::Joined | Phase::HalfClosed => self.shard.half_close(&self.conn),
        }
        match self.socket.ready(Interest::ERROR).await {
            Ok(_) => Ended::ByPeer(io::ErrorKind::ConnectionReset.into()),
            Err(error) => Ended::ByPeer(error),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.input.release(&mut self.shard.scratch.borrow_mut());
        self.shard.sessions.set(self.shard.sessions.get() - 1);
    }
}

fn body_check(names: NameCheck, conn: &Conn) -> Option<BodyCheck> {
    let prefix = || BodyPrefix::new(&conn.uid, &conn.channel);
    match names {
        NameCheck::Off => None,
        NameCheck::Channel => Some(BodyCheck::Channel(prefix())),
        NameCheck::Sender => Some(BodyCheck::Sender(prefix())),
    }
}

/// Lets every other task that is ready have its turn, the flusher included.
pub(super) async fn yield_turn() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
