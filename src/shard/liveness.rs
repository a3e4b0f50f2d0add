//! Tests whether the client of a session is still there, when another connection wants its place.
//!
//! A client that was killed, or whose network has changed, may be back before anything has told the
//! broker that its old session is over. What shows that it is:
//!
//! * the end of the stream, also behind data that nobody has read yet, or an error of the socket;
//! * no answer to three keepalive probes, sent a second apart and beginning at once; where data is on
//!   its way instead, which is repeated when it gets no answer, no answer to that;
//! * from a WebSocket client nothing at all, although it was pinged and has taken all that was sent:
//!   between it and the broker may be a proxy, which answers probes.
//!
//! A client that answers is there, however slow it is. So is one of which nothing is known: only a
//! system that tells nothing about its connections (see `tcp_info`) leaves it at that.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::Shard;
use super::session::{Role, Session, SessionPhase};
use super::socket::Probed;
use super::turn::{self, SYSTEM_CALL};
use crate::tcp_info::TcpInfo;

/// A client that answers counts as alive after this time. Not at once: a process that is being killed
/// answers until its sockets are closed, and its successor may be faster. Servers below take a link
/// that is not refused within a second for accepted.
const GRACE: Duration = Duration::from_millis(750);
/// A client from which nothing has come for this time may be dead.
const SILENCE: Duration = Duration::from_secs(3);
/// Most time that a test takes. Probes begin when a client has been silent for a second, and the
/// kernel gives up a second after the third.
pub(super) const PATIENCE: Duration = Duration::from_millis(4500);
/// Waits between looks: the first, and the longest.
const LOOKS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// Probes or repetitions of data without an answer that mean something.
const UNANSWERED: u32 = 2;

impl Shard {
    /// Tests whether the client of a session of this shard is there. A session whose stream has ended
    /// is given the time to read what is before that.
    ///
    /// Cancel safe.
    pub(super) async fn is_there(&self, session: &Session) -> bool {
        session.is_contested.set(true);
        let is_there = self.watch(session).await;
        session.is_contested.set(!is_there);
        is_there
    }

    async fn watch(&self, session: &Session) -> bool {
        let begun = Instant::now();
        let look = || {
            let stream = session.writer.stream();
            turn::spend(4 * SYSTEM_CALL);
            let (local, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
            self.tcp_inspector.inspect(local, peer)
        };
        let before = look();
        let live = self.common.live_arc();
        let _probed = Probed::new(session.writer.stream(), &live.settings);
        self.ask(session);
        let mut has_ended = false;
        let mut end = pin!(session.writer.ended());
        let mut wait = LOOKS.0;
        loop {
            tokio::select! {
                // On a busy shard both may be due, and an end decides.
                biased;
                () = &mut end, if !has_ended => has_ended = true,
                () = sleep_until(Instant::now() + wait) => wait = (2 * wait).min(LOOKS.1),
            }
            match session.phase.get() {
                SessionPhase::Over | SessionPhase::HalfClosed => return false,
                SessionPhase::Joined | SessionPhase::Unwritable | SessionPhase::Finishing => {}
            }
            let waited = begun.elapsed();
            if has_ended {
                if waited >= PATIENCE {
                    return false;
                }
                continue;
            }
            let now = look();
            let has_answered = before
                .zip(now)
                .is_some_and(|(b, n)| has_answered(session, b, n));
            if has_answered && waited >= GRACE {
                return true;
            }
            let is_dead = || now.is_some_and(|now| looks_dead(session, now));
            if !has_answered && waited >= SILENCE && is_dead() {
                return false;
            }
            if waited >= PATIENCE {
                return true;
            }
        }
    }

    /// Sends what the other side has to answer, or at least to acknowledge, if its protocol has that.
    fn ask(&self, session: &Session) {
        match session.role {
            Role::Client => session.writer.ping(),
            Role::Downstream => self.repeat_path(session),
            Role::Upstream => {}
        }
    }
}

fn has_answered(session: &Session, before: TcpInfo, now: TcpInfo) -> bool {
    if session.writer.has_pings() {
        now.data_segments_in != before.data_segments_in
    } else {
        now.segments_in != before.segments_in
    }
}

fn looks_dead(session: &Session, now: TcpInfo) -> bool {
    let has_taken_all = || now.unacknowledged == 0 && session.writer.is_clear();
    now.unanswered >= UNANSWERED || (session.writer.has_pings() && has_taken_all())
}
