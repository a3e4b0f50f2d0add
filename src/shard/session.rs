//! The task of a session: reads what its client sends until that ends.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use tokio::io::Interest;
use tokio::net::tcp::OwnedReadHalf;

use super::Shard;
use super::conn::{Conn, Ended, Phase};
use super::input::{Input, Next};
use super::message::Early;
use crate::channel::FrameRun;
use crate::protocol::{BodyCheck, BodyPrefix, HEADER_LEN, Stop, scan};
use crate::settings::NameCheck;

impl Shard {
    /// Serves a member until its session ends.
    pub(super) async fn serve(
        self: &Rc<Self>,
        conn: Rc<Conn>,
        mut socket: OwnedReadHalf,
        early: Early,
    ) {
        self.sessions.set(self.sessions.get() + 1);
        let mut input = Input::default();
        let ended = self.read(&conn, &mut socket, &mut input, early).await;
        input.release(&mut self.scratch.borrow_mut());
        self.end(&conn, ended);
        self.sessions.set(self.sessions.get() - 1);
    }

    async fn read(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        socket: &mut OwnedReadHalf,
        input: &mut Input,
        early: Early,
    ) -> Ended {
        let limits = &self.common.settings.limits;
        let max_body = limits.max_frame - HEADER_LEN;
        let check = body_check(limits.check_names, conn);
        if let Err(ended) = self.take_early(conn, input, early, max_body, &check) {
            return ended;
        }
        loop {
            self.congestion.released().await;
            conn.hold.released_within(conn.hold_limit).await;
            let step = poll_fn(|cx| {
                let mut scratch = self.scratch.borrow_mut();
                input.poll_read(cx, socket, &mut scratch, max_body, &check)
            });
            let step = match step.await {
                Ok(step) => step,
                Err(error) => return Ended::ByPeer(error),
            };
            if conn.phase.get() == Phase::Over {
                return Ended::Stopping;
            }
            if let Some(run) = step.run {
                self.publish(conn, run);
            }
            match step.next {
                Next::Wait => {}
                Next::Again => yield_turn().await,
                Next::Eof { torn } => return self.after_eof(conn, socket, torn).await,
                Next::Bad(error) => return Ended::Protocol(error),
                Next::Overdrawn => return Ended::Overdrawn,
            }
        }
    }

    /// Takes in what came together with the join frame.
    fn take_early(
        self: &Rc<Self>,
        conn: &Conn,
        input: &mut Input,
        early: Early,
        max_body: usize,
        check: &BodyCheck,
    ) -> Result<(), Ended> {
        if let Some(run) = early.run {
            let found = scan(run.bytes(), max_body, check);
            if let Stop::Bad(error) = found.stop {
                let good = run.bytes().slice(..found.run.len);
                if let Ok(frames @ 1..) = u32::try_from(found.run.frames) {
                    self.publish(conn, FrameRun::slice_of(good, frames, run.pinned()));
                }
                return Err(Ended::Protocol(error));
            }
            self.publish(conn, run);
        }
        if let Some(error) = early.bad {
            return Err(Ended::Protocol(error));
        }
        let scratch = &mut self.scratch.borrow_mut();
        input
            .resume(&early.partial, scratch)
            .map_err(|_| Ended::Overdrawn)
    }

    /// The client has closed its sending side: it still gets what is published. That it is gone
    /// altogether shows only when the socket fails.
    async fn after_eof(
        self: &Rc<Self>,
        conn: &Rc<Conn>,
        socket: &OwnedReadHalf,
        torn: bool,
    ) -> Ended {
        if torn {
            tracing::debug!(peer = %conn.peer, "client closed its sending side inside a frame");
        }
        match conn.phase.get() {
            Phase::Over | Phase::Finishing => return Ended::Stopping,
            Phase::Joined | Phase::HalfClosed => self.half_close(conn),
        }
        match socket.ready(Interest::ERROR).await {
            Ok(_) => Ended::ByPeer(std::io::ErrorKind::ConnectionReset.into()),
            Err(error) => Ended::ByPeer(error),
        }
    }
}

fn body_check(names: NameCheck, conn: &Conn) -> BodyCheck {
    match names {
        NameCheck::Off => BodyCheck::Off,
        NameCheck::Channel => BodyCheck::Channel(BodyPrefix::new(&conn.uid, &conn.channel)),
        NameCheck::Sender => BodyCheck::Sender(BodyPrefix::new(&conn.uid, &conn.channel)),
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
