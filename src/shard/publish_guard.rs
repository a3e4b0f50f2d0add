//! What holds a session when it publishes: a right that it lacks, or rates.
//!
//! Most sessions have no guard, which costs a look at a null pointer for each read. What a session sends is read before
//! it can be counted, so a rate is kept by what follows: the session is not read until it has made up for what came.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::ended::Ended;
use super::limits::{Meter, RateReached};
use super::message::Identity;
use super::session::{Role, Session};
use super::{BrokerPhase, Shard};
use crate::access::{Denied, Permissions, Rights};
use crate::channel::FrameRun;
use crate::escape::Escaped;
use crate::settings::DeniedPublish;

/// Time after which a session that is held looks at its rates again, as a reload may have changed them.
const RECONSIDER: Duration = Duration::from_secs(1);

/// Limits of a session that publishes: a right that it lacks, or rates.
#[derive(Debug)]
pub(super) struct PublishGuard {
    /// Set if it has no right to publish.
    denied: Option<(Denied, DeniedPublish)>,
    /// The rates that it is held to.
    meters: Vec<Meter>,
    /// Set once the log has said that it is held.
    is_noted: Cell<bool>,
}

impl PublishGuard {
    /// Returns its bucket of its own, if it has one.
    fn own_meter(&self) -> Option<&Meter> {
        let mut meters = self.meters.iter();
        meters.find(|meter| meter.reached() == RateReached::PublishesOfSession)
    }

    /// Returns `true` if this is the first time that there is something to say.
    fn is_news(&self) -> bool {
        !self.is_noted.replace(true)
    }
}

impl Shard {
    /// Returns what holds a new session when it publishes; `None` if nothing does.
    pub(super) fn guard_of(
        &self,
        role: Role,
        identity: &Identity,
        channel: &str,
    ) -> Option<Rc<PublishGuard>> {
        let (peer, rights, uid) = (identity.peer, &identity.rights, &identity.uid);
        self.make_guard(role, peer, rights, (uid, channel), None)
    }

    /// Makes what holds a session anew, after its rights or the settings have changed. What it has to make up for stays.
    pub(super) fn renew_guard(&self, session: &Session, rights: &Rights) {
        let before = session.guard();
        let own = before.as_deref().and_then(PublishGuard::own_meter);
        let names = (&*session.uid, &*session.channel);
        session.set_guard(self.make_guard(session.role, session.peer, rights, names, own));
    }

    fn make_guard(
        &self,
        role: Role,
        peer: SocketAddr,
        rights: &Rights,
        (uid, channel): (&str, &str),
        own: Option<&Meter>,
    ) -> Option<Rc<PublishGuard>> {
        let settings = self.common.settings();
        let denied = rights.require(Permissions::PUBLISH, uid, channel).err();
        // A server carries the messages of many. One that a rule names is trusted to hold them to its own rates.
        let is_free = match role {
            Role::Upstream => true,
            Role::Downstream => !settings.rules.is_empty(),
            Role::Client => false,
        };
        let mut meters = Vec::new();
        if !is_free {
            meters = self.common.publish_meters(peer, rights);
            if let Some(rate) = settings.limits.publish_rate_per_session {
                let new = || Meter::new(rate, RateReached::PublishesOfSession);
                meters.push(own.map_or_else(new, |own| own.with_rate(rate)));
            }
        }
        let is_needed = denied.is_some() || !meters.is_empty();
        is_needed.then(|| {
            Rc::new(PublishGuard {
                denied: denied.map(|denied| (denied, settings.on_denied_publish)),
                meters,
                is_noted: Cell::new(false),
            })
        })
    }

    /// Decides about a run that a session has sent. Returns `false` if it is not published.
    pub(super) fn pass_guard(
        self: &Rc<Self>,
        session: &Rc<Session>,
        guard: &PublishGuard,
        run: &FrameRun,
    ) -> bool {
        if let Some((denied, reaction)) = &guard.denied {
            self.stats().publishes_denied.add(run.frames() as u64);
            match reaction {
                DeniedPublish::Disconnect => {
                    self.end(session, Ended::Denied(Box::new(denied.clone())));
                }
                DeniedPublish::Ignore if guard.is_news() && self.log.admit() => tracing::warn!(
                    peer = %session.peer,
                    "messages of a session are ignored (on_denied_publish): {denied}"
                ),
                DeniedPublish::Ignore => {}
            }
            return false;
        }
        let (rates, now) = (&self.common.limiter.rates, Instant::now());
        rates.take(&guard.meters, run.frames() as u64, now);
        if let Some(held) = rates.wait(&guard.meters, 1, now) {
            self.stats().throttled.of(held.rate).add(1);
            if guard.is_news() && self.log.admit() {
                let (uid, channel) = (Escaped(&session.uid), Escaped(&session.channel));
                tracing::warn!(
                    peer = %session.peer, %uid, %channel, limit = held.rate.limit(), wait = ?held.wait,
                    "session publishes too fast: not read until it may go on"
                );
            }
        }
        true
    }

    /// Returns `true` while a session has to make up for what it has published.
    #[inline]
    pub(crate) fn is_held(&self, session: &Session) -> bool {
        session
            .guard()
            .is_some_and(|guard| self.held(&guard).is_some())
    }

    fn held(&self, guard: &PublishGuard) -> Option<Duration> {
        let rates = &self.common.limiter.rates;
        let held = rates.wait(&guard.meters, 1, Instant::now())?;
        Some(held.wait)
    }

    /// Waits until a session has made up for what it has published, or the broker stops. Cancel safe.
    pub(crate) async fn hold_over(&self, session: &Session) {
        let made_up = async {
            while let Some(guard) = session.guard()
                && let Some(wait) = self.held(&guard)
            {
                sleep(wait.min(RECONSIDER)).await;
            }
        };
        if self.is_held(session) {
            tokio::select! {
                () = made_up => {}
                () = self.reached(BrokerPhase::Draining) => {}
            }
        }
    }
}
