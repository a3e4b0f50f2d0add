//! The task of a session: reads what its client sends until that ends.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::Shard;
use super::ended::Ended;
use super::frame_deadline::{FrameTimer, Overdue};
use super::held_early::HeldEarly;
use super::input::{Frames, Input, InputCheck, Next, Scanner as _};
use super::message::Early;
use super::session::{Role, Session, SessionPhase};
use super::stream::StreamReader;
use super::turn;
use crate::channel::FrameRun;
use crate::protocol::{HEADER_LEN, NOTICE_MAGIC, Stop, decode_token, frames};

/// A member that is being served: the future of its task.
///
/// There is one for every connection, idle or not, so it is written out instead of being an
/// `async` block, and what it needs only now and then is boxed.
pub(super) struct SessionTask {
    shard: Rc<Shard>,
    session: Rc<Session>,
    socket: StreamReader,
    input: Input,
    /// Absent when nothing is checked.
    check: Option<Box<InputCheck>>,
    /// Number of the settings that the check comes from.
    generation: u32,
    /// Ends it when a frame does not go on. Absent while none has been waited for.
    timer: Option<Box<FrameTimer>>,
    /// A wait that has to be over before the next read.
    wait: Option<Pin<Box<dyn Future<Output = Waited>>>>,
}

impl Shard {
    /// Takes in what came together with the join frame and serves the member from then on.
    pub(super) fn serve(self: &Rc<Self>, session: Rc<Session>, socket: StreamReader, early: Early) {
        // It may have failed since it got its seat; its room may be another's by now.
        if session.phase.get() == SessionPhase::Over {
            return;
        }
        let input = Input::default();
        self.task_began();
        let mut task = SessionTask {
            shard: self.clone(),
            check: session.input_check(),
            generation: session.generation.get(),
            session,
            socket,
            input,
            timer: None,
            wait: None,
        };
        let taken = if early.run.is_some() && task.is_paused() {
            task.take_early_later(early)
        } else {
            task.take_early(early)
        };
        match taken {
            Ok(()) => self.spawn(task),
            Err(ended) => self.end(&task.session, ended),
        }
    }
}

/// Outcome of a wait.
enum Waited {
    /// It is over.
    Over,
    /// The session has ended meanwhile.
    Ended(Ended),
    /// It is over for what came together with the join frame.
    Early(Box<HeldEarly>),
}

impl Future for SessionTask {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = ready!(self.poll_end(cx));
        self.shard.end(&self.session, ended);
        Poll::Ready(())
    }
}

impl SessionTask {
    /// Reads and publishes until the session ends.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if let Some(wait) = &mut self.wait {
                let mut scratch = self.shard.scratch.borrow_mut();
                if scratch.allowance.is_evicted(self.input.share(), cx) {
                    return Poll::Ready(Ended::Overdrawn);
                }
                drop(scratch);
                match ready!(wait.as_mut().poll(cx)) {
                    Waited::Over => {}
                    Waited::Ended(ended) => return Poll::Ready(ended),
                    Waited::Early(_) if self.session.is_over() => {
                        return Poll::Ready(Ended::Stopping);
                    }
                    Waited::Early(held) => {
                        self.renew_check();
                        if let Err(ended) = self.take_early(held.take()) {
                            return Poll::Ready(ended);
                        }
                    }
                }
                // Nothing could come.
                self.timer = None;
            }
            let has_waited = self.wait.take().is_some();
            if !has_waited && self.is_paused() {
                self.wait = Some(Box::pin(gates(self.shard.clone(), self.session.clone())));
                continue;
            }
            if self.session.role == Role::Downstream && self.shard.must_wait(&self.session) {
                self.wait = Some(Box::pin(merged(self.shard.clone(), self.session.clone())));
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
                    None => self.wait = Some(Box::pin(gone(self.session.clone()))),
                },
                Ok(Next::Bad(error)) => return Poll::Ready(Ended::Protocol(error)),
                Ok(Next::Overdrawn) => return Poll::Ready(Ended::Overdrawn),
                Err(error) => return Poll::Ready(Ended::ByPeer(error)),
            }
        }
    }

    /// Returns `true` while the task lives and may not publish.
    fn is_paused(&self) -> bool {
        let is_paused = self.shard.congestion.is_on()
            || self.session.pause.is_on()
            || self.shard.is_held(&self.session);
        is_paused && self.session.phase.get() != SessionPhase::Over
    }

    /// Checks by the settings that are in force now.
    fn renew_check(&mut self) {
        if self.generation != self.session.generation.get() {
            self.generation = self.session.generation.get();
            self.check = self.session.input_check();
        }
    }

    /// Reads once and publishes the whole frames.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        self.renew_check();
        let scanner = scanner(&self.shard, &self.check);
        let mut scratch = self.shard.scratch.borrow_mut();
        let input = &mut self.input;
        let step = ready!(input.poll_read(cx, &mut self.socket, &mut scratch, &scanner))?;
        drop(scratch);
        if self.session.phase.get() == SessionPhase::Over {
            return Poll::Ready(Ok(Next::Eof { torn: false }));
        }
        if let Some(run) = step.run {
            self.take(run);
        }
        Poll::Ready(Ok(step.next))
    }

    /// Waits until a frame is overdue. To be polled when nothing more has come.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<Overdue> {
        let limit = self.shard.read_limits().frame_deadline;
        let Some(received) = self.input.received() else {
            // The timer of a frame that is whole stays for the next.
            self.timer.take_if(|timer| timer.is_over());
            return Poll::Pending;
        };
        let begin = || Box::new(FrameTimer::new(received, limit));
        let timer = self.timer.get_or_insert_with(begin);
        timer.poll_overdue(cx, received, limit)
    }

    /// Has what came together with the join frame wait until the session may publish: there is no end to who may come with
    /// messages while a store cannot write.
    fn take_early_later(&mut self, early: Early) -> Result<(), Ended> {
        // It may end before the wait is polled.
        self.session.over.get_or_init(Rc::default);
        let held = HeldEarly::new(self.shard.clone(), early).map_err(|_| Ended::Overdrawn)?;
        let gates = gates(self.shard.clone(), self.session.clone());
        self.wait = Some(Box::pin(async move {
            match gates.await {
                Waited::Over => Waited::Early(Box::new(held)),
                waited => waited,
            }
        }));
        Ok(())
    }

    fn take_early(&mut self, early: Early) -> Result<(), Ended> {
        if let Some(run) = early.run {
            let found = scanner(&self.shard, &self.check).scan(run.bytes());
            if let Stop::Bad(error) = found.stop {
                let frames = u32::try_from(found.run.frames).unwrap_or(u32::MAX);
                if let Some(good) = run.part(0..found.run.len, frames) {
                    self.take(good);
                }
                return Err(Ended::Protocol(error));
            }
            self.take(run);
        }
        if let Some(error) = early.bad {
            return Err(Ended::Protocol(error));
        }
        let scanner = scanner(&self.shard, &self.check);
        // Before the join, what only some clients may send was let through.
        if let Stop::Bad(error) = scanner.scan(&early.partial).stop {
            return Err(Ended::Protocol(error));
        }
        let mut scratch = self.shard.scratch.borrow_mut();
        self.input
            .resume(&early.partial, &mut scratch, &scanner)
            .map_err(|_| Ended::Overdrawn)
    }

    /// Takes in whole frames, in which a client that may do so may have shown a token.
    fn take(&self, run: FrameRun) {
        match &self.check {
            Some(check) if check.has_tokens() => self.take_with_tokens(&run),
            _ => self.shard.publish(&self.session, run),
        }
    }

    /// Publishes the messages of a run, and looks at the last of the tokens among them: to verify one is much work.
    #[cold]
    fn take_with_tokens(&self, run: &FrameRun) {
        let tokens = frames(run.bytes()).filter(|frame| frame.first() == Some(&NOTICE_MAGIC));
        let mut left = tokens.count();
        let (mut from, mut to, mut messages) = (0, 0, 0);
        for frame in frames(run.bytes()) {
            let start = to;
            to += frame.len();
            if frame.first() != Some(&NOTICE_MAGIC) {
                messages += 1;
                continue;
            }
            self.publish_part(run, from..start, messages);
            (from, messages, left) = (to, 0, left - 1);
            if left == 0 {
                let token = decode_token(frame.get(HEADER_LEN..).unwrap_or_default());
                self.shard.take_token_frame(&self.session, token.ok());
            }
        }
        self.publish_part(run, from..to, messages);
    }

    fn publish_part(&self, run: &FrameRun, range: Range<usize>, frames: u32) {
        if let Some(part) = run.part(range, frames) {
            if self.session.is_over() {
                return self.shard.stats().orphaned_frames.add(frames.into());
            }
            self.shard.publish(&self.session, part);
        }
    }

    /// Notes that the client has closed its sending side: it still gets what is published.
    fn at_eof(&mut self, torn: bool) -> Option<Ended> {
        if torn {
            tracing::debug!(peer = %self.session.peer, "client closed its side inside a frame");
            self.input.release(&mut self.shard.scratch.borrow_mut());
        }
        match self.session.phase.get() {
            // A server closes a link as a whole; and its next one must not wait for this one.
            SessionPhase::Joined if self.session.role != Role::Client => {
                let error = match self.session.role {
                    Role::Upstream => "closed by the upstream",
                    Role::Downstream | Role::Client => "closed by the server below",
                };
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, error);
                Some(Ended::ByPeer(error))
            }
            SessionPhase::Unwritable => Some(Ended::ByPeer(io::ErrorKind::ConnectionReset.into())),
            SessionPhase::Over | SessionPhase::Finishing => Some(Ended::Stopping),
            SessionPhase::Joined | SessionPhase::HalfClosed => {
                self.shard.half_close(&self.session);
                None
            }
        }
    }
}

/// Waits while other shards are congested or the channel has a member that pauses its publishers,
/// the latter never longer than its limit; and until the session has made up for what it has
/// published too fast. A session that is ended meanwhile must not wait: its connection counts for as
/// long as its task lives.
async fn gates(shard: Rc<Shard>, session: Rc<Session>) -> Waited {
    let over = session.over.get_or_init(Rc::default).clone();
    let released = async {
        shard.congestion.over().await;
        session.pause.over_in_time().await;
        shard.hold_over(&session).await;
    };
    tokio::select! {
        biased;
        () = over.notified() => Waited::Ended(Ended::Stopping),
        () = released => Waited::Over,
    }
}

/// Waits until what other servers of the channel have brought is published.
async fn merged(shard: Rc<Shard>, session: Rc<Session>) -> Waited {
    shard.until_merged(&session).await;
    Waited::Over
}

/// Waits until the socket of a half-closed session fails, which alone shows that the client is gone
/// altogether, or until the session has to make room or is ended from this side.
async fn gone(session: Rc<Session>) -> Waited {
    let over = session.over.get_or_init(Rc::default).clone();
    tokio::select! {
        error = session.writer.failed() => Waited::Ended(Ended::ByPeer(error)),
        limit = session.let_go() => Waited::Ended(Ended::LetGo(limit)),
        () = over.notified() => Waited::Ended(Ended::Stopping),
    }
}

impl Drop for SessionTask {
    fn drop(&mut self) {
        self.input.release(&mut self.shard.scratch.borrow_mut());
        self.shard.task_ended();
    }
}

fn scanner<'a>(shard: &Shard, check: &'a Option<Box<InputCheck>>) -> Frames<'a> {
    Frames {
        max_body: shard.max_body(),
        check: check.as_deref(),
    }
}
