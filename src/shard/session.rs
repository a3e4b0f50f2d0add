//! The task of a session: reads what its client sends until that ends.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::Shard;
use super::conn::{Conn, Ended, Phase, Role};
use super::frame_deadline::{FrameTimer, Overdue};
use super::input::{Frames, Input, Next};
use super::message::Early;
use super::turn;
use super::wire::Reader;
use crate::channel::FrameRun;
use crate::protocol::{BodyCheck, BodyPrefix, Stop, scan};
use crate::settings::NameCheck;

/// A member that is being served: the future of its task.
///
/// There is one for every connection, idle or not, so it is written out instead of being an
/// `async` block, and what it needs only now and then is boxed.
pub(super) struct Session {
    shard: Rc<Shard>,
    conn: Rc<Conn>,
    socket: Reader,
    input: Input,
    /// Absent when nothing is checked.
    check: Option<Box<BodyCheck>>,
    /// Ends it when a frame does not go on. Absent while none has been waited for.
    timer: Option<Box<FrameTimer>>,
    /// What has to be over before the next read. Yields why the session has ended, if it has.
    pause: Option<Pin<Box<dyn Future<Output = Option<Ended>>>>>,
}

impl Shard {
    /// Takes in what came together with the join frame and serves the member from then on.
    pub(super) fn serve(self: &Rc<Self>, conn: Rc<Conn>, socket: Reader, early: Early) {
        // It may have failed since it got its seat; its room may be another's by now.
        if conn.phase.get() == Phase::Over {
            return;
        }
        let check = body_check(self.common.settings.limits.check_names, &conn).map(Box::new);
        let input = Input::default();
        self.sessions.set(self.sessions.get() + 1);
        let mut session = Session {
            shard: self.clone(),
            conn,
            socket,
            input,
            check,
            timer: None,
            pause: None,
        };
        match session.take_early(early) {
            Ok(()) => self.spawn(session),
            Err(ended) => self.end(&session.conn, ended),
        }
    }
}

impl Future for Session {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(self.poll_end(cx));
        self.shard.end(&self.conn, ended);
        Poll::Ready(())
    }
}

impl Session {
    /// Reads and publishes until the session ends.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Some(pause) = &mut self.pause {
                let mut scratch = self.shard.scratch.borrow_mut();
                if scratch.allowance.is_evicted(self.input.share(), cx) {
                    return Poll::Ready(Ended::Overdrawn);
                }
                drop(scratch);
                if let Some(ended) = ready!(pause.as_mut().poll(cx)) {
                    return Poll::Ready(ended);
                }
                // Nothing could come.
                self.timer = None;
            }
            let has_waited = self.pause.take().is_some();
            if !has_waited && self.is_held() {
                self.pause = Some(Box::pin(gates(self.shard.clone(), self.conn.clone())));
                continue;
            }
            if self.conn.role == Role::Downstream && self.shard.must_wait(&self.conn) {
                self.pause = Some(Box::pin(merged(self.shard.clone(), self.conn.clone())));
                continue;
            }
            let Poll::Ready(next) = self.poll_read(cx) else {
                return self.poll_overdue(cx).map(|_| Ended::Overdue);
            };
            match next {
                Ok(Next::Wait) if !turn::is_expensive() => {}
                Ok(Next::Wait | Next::Again) => {
                    self.shard.yield_once(cx);
                    return Poll::Pending;
                }
                Ok(Next::Eof { torn }) => match self.at_eof(torn) {
                    Some(ended) => return Poll::Ready(ended),
                    None => self.pause = Some(Box::pin(gone(self.conn.clone()))),
                },
                Ok(Next::Bad(error)) => return Poll::Ready(Ended::Protocol(error)),
                Ok(Next::Overdrawn) => return Poll::Ready(Ended::Overdrawn),
                Err(error) => return Poll::Ready(Ended::ByPeer(error)),
            }
        }
    }

    /// Returns `true` while the session lives and may not publish.
    fn is_held(&self) -> bool {
        let is_held = self.shard.congestion.is_held() || self.conn.hold.is_held();
        is_held && self.conn.phase.get() != Phase::Over
    }

    /// Reads once and publishes the whole frames.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        let scanner = scanner(&self.shard, &self.check);
        let mut scratch = self.shard.scratch.borrow_mut();
        let input = &mut self.input;
        let step = ready!(input.poll_read(cx, &mut self.socket, &mut scratch, &scanner))?;
        drop(scratch);
        if self.conn.phase.get() == Phase::Over {
            return Poll::Ready(Ok(Next::Eof { torn: false }));
        }
        if let Some(run) = step.run {
            self.shard.publish(&self.conn, run);
        }
        Poll::Ready(Ok(step.next))
    }

    /// Waits until a frame is overdue. To be polled when nothing more has come.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        let limit = self.shard.common.settings.limits.frame_deadline;
        let Some(received) = self.input.received() else {
            // The timer of a frame that is whole stays for the next.
            self.timer.take_if(|timer| timer.is_over());
            return Poll::Pending;
        };
        let begin = || Box::new(FrameTimer::new(received, limit));
        let timer = self.timer.get_or_insert_with(begin);
        timer.poll_overdue(cx, received, limit)
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
            .resume(
                &early.partial,
                &mut scratch,
                &scanner(&self.shard, &self.check),
            )
            .map_err(|_| Ended::Overdrawn)
    }

    /// The client has closed its sending side: it still gets what is published.
    fn at_eof(&mut self, torn: bool) -> Option<Ended> {
        if torn {
            tracing::debug!(peer = %self.conn.peer, "client closed its side inside a frame");
            self.input.release(&mut self.shard.scratch.borrow_mut());
        }
        match self.conn.phase.get() {
            // A server closes a link as a whole; and its next one must not wait for this one.
            Phase::Joined if self.conn.role != Role::Client => {
                let error = match self.conn.role {
                    Role::Upstream => "closed by the upstream",
                    Role::Downstream | Role::Client => "closed by the server below",
                };
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, error);
                Some(Ended::ByPeer(error))
            }
            Phase::Over | Phase::Finishing => Some(Ended::Stopping),
            Phase::Joined | Phase::HalfClosed => {
                self.shard.half_close(&self.conn);
                None
            }
        }
    }
}

/// Waits while other shards are congested or the channel has a member that holds its publishers
/// back; the latter never longer than its limit. A session that is ended meanwhile must not wait: its
/// connection counts for as long as its task lives.
async fn gates(shard: Rc<Shard>, conn: Rc<Conn>) -> Option<Ended> {
    let over = conn.over.get_or_init(Rc::default).clone();
    let released = async {
        shard.congestion.released().await;
        conn.hold.released_within(conn.hold_limit).await;
    };
    tokio::select! {
        () = released => None,
        () = over.notified() => Some(Ended::Stopping),
    }
}

/// Waits until what other servers of the channel have brought is published.
async fn merged(shard: Rc<Shard>, conn: Rc<Conn>) -> Option<Ended> {
    shard.until_merged(&conn).await;
    None
}

/// Waits until the socket of a half-closed session fails, which alone shows that the client is gone
/// altogether, or until the session has to make room or is ended from this side.
async fn gone(conn: Rc<Conn>) -> Option<Ended> {
    let over = conn.over.get_or_init(Rc::default).clone();
    tokio::select! {
        error = conn.wire.failed() => Some(Ended::ByPeer(error)),
        limit = conn.let_go() => Some(Ended::LetGo(limit)),
        () = over.notified() => Some(Ended::Stopping),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.input.release(&mut self.shard.scratch.borrow_mut());
        self.shard.sessions.set(self.shard.sessions.get() - 1);
    }
}

fn scanner<'a>(shard: &Shard, check: &'a Option<Box<BodyCheck>>) -> Frames<'a> {
    Frames {
        max_body: shard.max_body(),
        check: check.as_deref().unwrap_or(&BodyCheck::Off),
    }
}

/// A session with the upstream carries frames of many uids, and notices. Under `sender` there are no
/// sessions with servers below.
fn body_check(names: NameCheck, conn: &Conn) -> Option<BodyCheck> {
    let prefix = || BodyPrefix::new(&conn.uid, &conn.channel);
    match names {
        _ if conn.role == Role::Upstream => None,
        NameCheck::Off => None,
        NameCheck::Channel => Some(BodyCheck::Channel(prefix())),
        NameCheck::Sender => Some(BodyCheck::Sender(prefix())),
    }
}
