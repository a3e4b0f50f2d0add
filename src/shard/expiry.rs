//! Ends sessions whose rights are over: those that have joined with a token, when it expires.
//!
//! Each shard has one queue, and one task that waits for its first entry. A session is in it once at most, and leaves it
//! with its last reference. Sessions without a token are not in it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::sleep;

use super::Shard;
use super::ended::Ended;
use super::session::Session;
use super::turn;
use crate::channel::SessionId;

/// Longest time between two looks at the clock, which may be set meanwhile.
const LONGEST: Duration = Duration::from_secs(30);

type Entry = (SystemTime, SessionId);

/// Sessions by the time at which their rights are over.
#[derive(Debug, Default)]
pub(super) struct Expiries {
    sessions: RefCell<BTreeMap<Entry, Weak<Session>>>,
    /// Tells the task that another entry is the first.
    has_changed: Notify,
}

/// Keeps a session in the queue. It belongs to the session.
pub(super) struct Expiry {
    queue: Rc<Expiries>,
    entry: Entry,
}

impl Expiries {
    fn insert(self: &Rc<Self>, at: SystemTime, session: &Rc<Session>) -> Expiry {
        let entry = (at, session.id);
        let mut sessions = self.sessions.borrow_mut();
        sessions.insert(entry, Rc::downgrade(session));
        if sessions
            .first_key_value()
            .is_some_and(|(first, _)| *first == entry)
        {
            self.has_changed.notify_one();
        }
        Expiry {
            queue: self.clone(),
            entry,
        }
    }

    /// Returns the time of the first entry.
    fn first(&self) -> Option<SystemTime> {
        let sessions = self.sessions.borrow();
        sessions.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out the first entry if its time has come.
    fn take_due(&self, now: SystemTime) -> Option<Rc<Session>> {
        let mut sessions = self.sessions.borrow_mut();
        loop {
            let first = sessions
                .first_entry()
                .filter(|first| first.key().0 <= now)?;
            // It may be over already.
            if let Some(session) = first.remove().upgrade() {
                return Some(session);
            }
        }
    }

    /// Waits until the first entry may be due. Cancel safe.
    async fn due(&self) {
        let ahead = self.first().map(|first| {
            let ahead = first.duration_since(SystemTime::now());
            ahead.unwrap_or_default().min(LONGEST)
        });
        tokio::select! {
            () = self.has_changed.notified() => {}
            () = async {
                match ahead {
                    Some(ahead) => sleep(ahead).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
}

impl Expiry {
    /// Returns when the session ends.
    pub(super) const fn at(&self) -> SystemTime {
        self.entry.0
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        // Its session is dropped by nobody who looks at the queue.
        if let Ok(mut sessions) = self.queue.sessions.try_borrow_mut() {
            sessions.remove(&self.entry);
        }
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expiry").field(&self.entry).finish()
    }
}

impl Shard {
    /// Has a session ended when its rights are over, if they ever are.
    pub(super) fn end_in_time(&self, session: &Rc<Session>) {
        // What is dropped takes its entry out.
        session.expiry.take();
        if let Some(at) = self.common.access().expiry(&session.rights.borrow()) {
            let expiry = self.expiries.insert(at, session);
            session.expiry.replace(Some(Box::new(expiry)));
        }
    }

    /// Ends sessions whose rights are over, until the broker stops.
    pub(super) async fn expire_forever(self: Rc<Self>) {
        loop {
            self.expiries.due().await;
            while let Some(session) = self.expiries.take_due(SystemTime::now()) {
                self.end_if_over(&session);
                turn::spend(turn::SYSTEM_CALL);
                if turn::is_expensive() {
                    self.yield_turn().await;
                }
            }
        }
    }

    /// Ends a session unless its rights count for longer by now, after a reload.
    fn end_if_over(self: &Rc<Self>, session: &Rc<Session>) {
        let (uid, channel) = (&session.uid, &session.channel);
        let access = self.common.access();
        let again = access.refresh(&session.rights.borrow(), uid, channel, SystemTime::now());
        match again {
            Ok(_) => self.end_in_time(session),
            Err(denied) => self.end(session, Ended::Denied(Box::new(denied))),
        }
    }
}
