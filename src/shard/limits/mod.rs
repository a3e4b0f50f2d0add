//! The limits that all shards share, and who makes room when one is reached.
//!
//! A limit that is reached does not simply refuse the newcomer: it is asked for the holder that
//! should go first. Whoever has not joined, has closed its sending side, or is ending already is
//! listed here with its age and the address it comes from ([`holders`]); so is a channel that nobody
//! needs. The place of the one that goes passes to the newcomer in the same step, and the shard that
//! it lives on is told to close it.
//!
//! Invariants:
//!
//! * Messages never come here: only what begins or ends a connection or a channel, or changes its
//!   stage.
//! * A place is counted once: from the moment its holder is told to go, only for the newcomer.
//!   Connections that were told to go and are still open are counted apart ([`Limiter::going`]), so that
//!   accepting can wait for them.
//! * Of several holders the oldest goes first, unless an address has more than its share: then that
//!   address pays.
//!
//! Rates are kept apart, in token buckets ([`rates`]), and so are the addresses that are banned for wrong keys ([`bans`]).
//!
//! It must not close anything itself, and knows no sockets.

mod address;
mod bans;
mod channels;
mod holders;
mod permit;
mod rates;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::channel::SessionId;
use crate::settings::Limits;
pub(crate) use address::AddressKey;
pub(crate) use bans::{Ban, Bans};
use channels::Channels;
pub(crate) use channels::{ChannelPermit, Unneeded};
use permit::Connections;
pub(crate) use permit::{Permit, Stage, Ticket, told};
pub(crate) use rates::{BucketKey, Meter, RateReached, Rates, TooOften};

/// One address may hold this part of a limit before its holders go ahead of older ones.
const SHARE: usize = 4;

/// A limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    Connections,
    Address,
    Joining,
    HalfClosed,
    Files,
    Channels,
}

impl LimitReached {
    /// Returns the name of the setting that was reached.
    pub(crate) const fn limit(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Address => "max_connections_per_address",
            Self::Joining => "max_joining",
            Self::HalfClosed => "max_half_closed",
            Self::Files => "open files",
            Self::Channels => "max_channels",
        }
    }
}

/// Counts what is limited over all shards, and chooses who makes room.
#[derive(Debug)]
pub(crate) struct Limiter {
    limits: ArcSwap<Limits>,
    /// Rates at which clients may join and publish.
    pub(crate) rates: Rates,
    /// The addresses that are kept out.
    pub(crate) bans: Bans,
    connections: Mutex<Connections>,
    channels: Mutex<Channels>,
    going: AtomicUsize,
    next_session: AtomicU64,
}

impl Limiter {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits: ArcSwap::from_pointee(limits),
            rates: Rates::new(Instant::now()),
            bans: Bans::default(),
            connections: Mutex::default(),
            channels: Mutex::default(),
            going: AtomicUsize::new(0),
            next_session: AtomicU64::new(SessionId::NONE.0 + 1),
        })
    }

    /// Sets the limits. Those who are in stay: a limit that is lower now is for those who come.
    pub(crate) fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Lets a new connection in, which has to join.
    ///
    /// # Errors
    ///
    /// The limit that it would break, if nobody has to make room for it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        ip: IpAddr,
        now: Instant,
    ) -> Result<Permit, LimitReached> {
        let limits = [
            LimitReached::Address,
            LimitReached::Connections,
            LimitReached::Joining,
        ];
        self.admit(AddressKey::of(ip), &limits, Some(Stage::Joining), now)
    }

    /// Like [`Self::enter`], for a connection of a proxy that will say who its client is: see
    /// [`Permit::assign`].
    ///
    /// # Errors
    ///
    /// Like [`Self::enter`], but for the limit per address.
    pub(crate) fn enter_unnamed(self: &Arc<Self>, now: Instant) -> Result<Permit, LimitReached> {
        let limits = [LimitReached::Connections, LimitReached::Joining];
        self.admit(AddressKey::Unnamed, &limits, Some(Stage::Joining), now)
    }

    /// Counts a session that shares the connection of another as a connection of its own.
    ///
    /// # Errors
    ///
    /// Like [`Self::enter`].
    pub(crate) fn enter_session(self: &Arc<Self>, ip: IpAddr) -> Result<Permit, LimitReached> {
        let limits = [LimitReached::Address, LimitReached::Connections];
        self.admit(AddressKey::of(ip), &limits, None, Instant::now())
    }

    fn admit(
        self: &Arc<Self>,
        address: AddressKey,
        limits: &[LimitReached],
        stage: Option<Stage>,
        now: Instant,
    ) -> Result<Permit, LimitReached> {
        let mut connections = self.connections_mut();
        for &full in limits {
            if connections.is_at(full, address, &self.limits.load())
                && !self.make_room(&mut connections, full, address, now)
            {
                return Err(full);
            }
        }
        connections.add(address);
        let permit = Permit::new(self.clone(), address);
        if let Some(stage) = stage {
            permit.list(&mut connections, stage, now);
        }
        Ok(permit)
    }

    /// Tells the connection to go that goes first, when the system has no file descriptor left. Returns
    /// `false` if there is none.
    pub(crate) fn free_file(&self, now: Instant) -> bool {
        // That limit is nobody's own, so the address does not matter.
        let anyone = AddressKey::V4(0);
        self.make_room(
            &mut self.connections_mut(),
            LimitReached::Files,
            anyone,
            now,
        )
    }

    /// Takes the place of whoever goes first when `full` is reached by somebody from `address`.
    fn make_room(
        &self,
        connections: &mut Connections,
        full: LimitReached,
        address: AddressKey,
        now: Instant,
    ) -> bool {
        let let_go = connections.let_go_first(full, address, &self.limits.load(), now);
        if let_go {
            self.going.fetch_add(1, Ordering::Relaxed);
        }
        let_go
    }

    /// Returns how many connections were told to go and are still open.
    pub(crate) fn going(&self) -> usize {
        self.going.load(Ordering::Relaxed)
    }

    /// Returns a number that no other session of this broker has.
    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns how many connections there are, joined or not.
    pub(crate) fn connections(&self) -> usize {
        self.connections_mut().len()
    }

    /// Returns how many channels there are.
    pub(crate) fn channels(&self) -> usize {
        self.channels_mut().len()
    }

    fn connections_mut(&self) -> MutexGuard<'_, Connections> {
        unpoisoned(&self.connections)
    }

    fn channels_mut(&self) -> MutexGuard<'_, Channels> {
        unpoisoned(&self.channels)
    }
}

/// Locks it, though a thread has panicked with it: that has stopped the broker, and is not worth another panic.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the part of `limit` that one address may hold before it pays for the others.
fn share_of(limit: usize) -> usize {
    (limit / SHARE).max(1)
}
