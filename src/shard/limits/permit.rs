//! Connections: how many there are, by address as well, and which of them make room.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::address::AddressKey;
use super::holders::Holders;
use super::{LimitReached, Limiter, share_of};
use crate::settings::Limits;

/// A connection that has not joined is left alone for so long, unless its address is over its
/// share: else a crowd that comes at once to the last places would drive one another out, and
/// nobody would get as far as the join.
const GRACE: Duration = Duration::from_millis(250);

/// A stage of a connection in which it may be told to go. Those in an earlier one go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Ended, and only waits for the client to take what was said last.
    Ending,
    /// Its client has closed the sending side, and has got all that was queued for it.
    HalfClosed,
    /// Not joined yet.
    Joining,
    /// Its client has closed the sending side, and its socket is full.
    Stalled,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Ending, Self::HalfClosed, Self::Joining, Self::Stalled];

    /// Returns the stages that can make room at a limit.
    fn at(full: LimitReached) -> &'static [Self] {
        match full {
            LimitReached::Connections | LimitReached::Address | LimitReached::Files => &Self::ALL,
            LimitReached::Joining => &[Self::Joining],
            LimitReached::HalfClosed => &[Self::HalfClosed, Self::Stalled],
            LimitReached::Channels => &[],
        }
    }

    /// Returns the most connections that there may be in this stage.
    fn limit(self, limits: &Limits) -> usize {
        match self {
            Self::Joining => limits.max_joining,
            Self::HalfClosed | Self::Stalled => limits.max_half_closed,
            Self::Ending => usize::MAX,
        }
    }
}

/// Tells a connection to go, from whatever shard.
#[derive(Debug)]
pub(crate) struct Ticket {
    serial: u64,
    since: Instant,
    /// The limit at which it has to make room, once it was told to go.
    pub(super) told: OnceLock<LimitReached>,
    notify: Notify,
}

impl Ticket {
    fn tell(&self, full: LimitReached) {
        // A ticket is told once: it is out of the lists then.
        let _ = self.told.set(full);
        self.notify.notify_one();
    }

    async fn told(&self) -> LimitReached {
        loop {
            if let Some(&full) = self.told.get() {
                return full;
            }
            self.notify.notified().await;
        }
    }
}

/// Waits until the holder of the ticket is told to go: for ever without a ticket. Cancel safe.
pub(crate) async fn told(ticket: Option<&Ticket>) -> LimitReached {
    match ticket {
        Some(ticket) => ticket.told().await,
        None => std::future::pending().await,
    }
}

/// The connections that are counted, and those of them that may be told to go.
#[derive(Debug, Default)]
pub(super) struct Connections {
    count: usize,
    by_address: HashMap<AddressKey, usize>,
    listed: [Holders<Arc<Ticket>>; Stage::ALL.len()],
    next_serial: u64,
}

impl Connections {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Counts one more.
    pub(super) fn add(&mut self, address: AddressKey) {
        self.count += 1;
        *self.by_address.entry(address).or_default() += 1;
    }

    fn subtract(&mut self, address: AddressKey) {
        self.count -= 1;
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }

    /// Returns `true` if one more connection of `address` would be over the limit.
    pub(super) fn is_at(&self, full: LimitReached, address: AddressKey, limits: &Limits) -> bool {
        match full {
            LimitReached::Connections => self.count >= limits.max_connections,
            LimitReached::Address => {
                let count = self.by_address.get(&address).copied().unwrap_or_default();
                count >= limits.max_connections_per_address
            }
            LimitReached::Joining => self.listed(Stage::Joining).len() >= limits.max_joining,
            LimitReached::HalfClosed | LimitReached::Files | LimitReached::Channels => false,
        }
    }

    /// Tells whoever goes first at a limit that was reached by somebody from `address`, and counts
    /// it no longer. Returns `false` if nobody has to go.
    pub(super) fn let_go_first(
        &mut self,
        full: LimitReached,
        address: AddressKey,
        limits: &Limits,
        now: Instant,
    ) -> bool {
        let mut stages = Stage::at(full).iter();
        let first = stages.find_map(|&stage| {
            let serial = self.first(stage, full, address, limits, now)?;
            Some((stage, serial))
        });
        let removed = first.and_then(|(stage, serial)| self.listed_mut(stage).remove(serial));
        let Some((address, ticket)) = removed else {
            return false;
        };
        self.subtract(address);
        ticket.tell(full);
        true
    }

    /// Returns the serial number of who goes first of those in one stage.
    fn first(
        &self,
        stage: Stage,
        full: LimitReached,
        address: AddressKey,
        limits: &Limits,
        now: Instant,
    ) -> Option<u64> {
        let listed = self.listed(stage);
        let limit = match full {
            LimitReached::Connections => limits.max_connections,
            LimitReached::Address => limits.max_connections_per_address,
            _ => usize::MAX,
        };
        let share = share_of(limit.min(stage.limit(limits)));
        let first = match full {
            LimitReached::Address => listed.first_of(address, share)?,
            _ => listed.first(share)?,
        };
        let is_young = |ticket: &Arc<Ticket>| now.duration_since(ticket.since) < GRACE;
        let is_spared = stage == Stage::Joining
            && !first.is_over_share
            && listed.get(first.serial).is_some_and(is_young);
        (!is_spared).then_some(first.serial)
    }

    fn listed(&self, stage: Stage) -> &Holders<Arc<Ticket>> {
        &self.listed[stage as usize]
    }

    fn listed_mut(&mut self, stage: Stage) -> &mut Holders<Arc<Ticket>> {
        &mut self.listed[stage as usize]
    }
}

/// Counts one connection for as long as it is held, and lists it while it may be told to go.
#[derive(Debug)]
pub(crate) struct Permit {
    limiter: Arc<Limiter>,
    address: Cell<AddressKey>,
    /// The list it is in, or was in when it was told to go.
    listing: RefCell<Option<(Stage, Arc<Ticket>)>>,
}

impl Permit {
    pub(super) fn new(limiter: Arc<Limiter>, address: AddressKey) -> Self {
        let listing = RefCell::default();
        Self {
            limiter,
            address: Cell::new(address),
            listing,
        }
    }

    /// Lists it in another stage, with the age it has if it was listed before.
    pub(super) fn list(&self, connections: &mut Connections, stage: Stage, now: Instant) {
        let before = self.listing.take();
        let ticket = before.map_or_else(
            || {
                connections.next_serial += 1;
                Arc::new(Ticket {
                    serial: connections.next_serial,
                    since: now,
                    told: OnceLock::new(),
                    notify: Notify::new(),
                })
            },
            |(_, ticket)| ticket,
        );
        let listed = connections.listed_mut(stage);
        listed.insert(ticket.serial, self.address.get(), ticket.clone());
        self.listing.replace(Some((stage, ticket)));
    }

    /// Counts the connection for another address from now on: that of the client that a proxy has named.
    /// Has no effect once the connection was told to go.
    ///
    /// # Errors
    ///
    /// There are as many connections of that address as may be, and none of them makes room.
    pub(crate) fn assign(&self, ip: IpAddr, now: Instant) -> Result<(), LimitReached> {
        let address = AddressKey::of(ip);
        if self.address.get() == address {
            return Ok(());
        }
        let (limiter, mut connections) = (&self.limiter, self.limiter.connections_mut());
        if self.is_told() {
            return Ok(());
        }
        // It is counted for another address, so it is not the one that makes room.
        if connections.is_at(LimitReached::Address, address, &limiter.limits.load())
            && !limiter.make_room(&mut connections, LimitReached::Address, address, now)
        {
            return Err(LimitReached::Address);
        }
        self.count_for(&mut connections, address);
        Ok(())
    }

    /// Counts the connection for no address from now on: its proxy may use it for another client next.
    /// Has no effect once the connection was told to go.
    pub(crate) fn unassign(&self) {
        let mut connections = self.limiter.connections_mut();
        if self.address.get() != AddressKey::Unnamed && !self.is_told() {
            self.count_for(&mut connections, AddressKey::Unnamed);
        }
    }

    fn is_told(&self) -> bool {
        let listing = self.listing.borrow();
        let ticket = listing.as_ref().map(|(_, ticket)| ticket);
        ticket.is_some_and(|ticket| ticket.told.get().is_some())
    }

    fn count_for(&self, connections: &mut Connections, address: AddressKey) {
        connections.subtract(self.address.replace(address));
        connections.add(address);
        if let Some((stage, ticket)) = &*self.listing.borrow() {
            let listed = connections.listed_mut(*stage);
            listed.remove(ticket.serial);
            listed.insert(ticket.serial, address, ticket.clone());
        }
    }

    /// Takes it out of its list. `Err` if it was told to go.
    fn unlist(&self, connections: &mut Connections) -> Result<(), LimitReached> {
        let Some((stage, ticket)) = &*self.listing.borrow() else {
            return Ok(());
        };
        connections.listed_mut(*stage).remove(ticket.serial);
        ticket.told.get().map_or(Ok(()), |&full| Err(full))
    }

    /// Records that the connection has joined: it stays until it ends.
    ///
    /// # Errors
    ///
    /// The connection was told to go before.
    pub(crate) fn join(&self) -> Result<(), LimitReached> {
        self.unlist(&mut self.limiter.connections_mut())?;
        self.listing.take();
        Ok(())
    }

    /// Records that the connection has come to a stage in which it may be told to go. That is
    /// without effect if it was told already.
    pub(crate) fn enter_stage(&self, stage: Stage) {
        let now = Instant::now();
        let mut connections = self.limiter.connections_mut();
        if self.unlist(&mut connections).is_ok() {
            self.list(&mut connections, stage, now);
        }
    }

    /// Records that the client has closed its sending side. Whoever goes first makes room if there
    /// are too many such connections.
    pub(crate) fn half_close(&self, is_stalled: bool) {
        self.enter_stage(half_closed(is_stalled));
        let limiter = &self.limiter;
        let mut connections = limiter.connections_mut();
        let stages = [Stage::HalfClosed, Stage::Stalled];
        let count: usize = stages.iter().map(|&s| connections.listed(s).len()).sum();
        if count > limiter.limits.load().max_half_closed {
            let now = Instant::now();
            limiter.make_room(
                &mut connections,
                LimitReached::HalfClosed,
                self.address.get(),
                now,
            );
        }
    }

    /// Records for a half-closed connection whether its socket is full.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.enter_stage(half_closed(is_stalled));
    }

    /// Waits for what a connection that has ended still does for its client, unless it has to make
    /// room.
    pub(crate) async fn unless_let_go(&self, farewell: impl Future<Output = ()>) {
        self.enter_stage(Stage::Ending);
        tokio::select! {
            biased;
            _ = self.let_go() => {}
            () = farewell => {}
        }
    }

    /// Waits until the connection is told to go: for ever while it may not be. Cancel safe.
    pub(crate) async fn let_go(&self) -> LimitReached {
        let ticket = self.ticket();
        told(ticket.as_deref()).await
    }

    /// Returns how it is told to go in the stage it is in: not at all once it has joined.
    pub(crate) fn ticket(&self) -> Option<Arc<Ticket>> {
        let listing = self.listing.borrow();
        listing.as_ref().map(|(_, ticket)| ticket.clone())
    }
}

fn half_closed(is_stalled: bool) -> Stage {
    if is_stalled {
        Stage::Stalled
    } else {
        Stage::HalfClosed
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut connections = self.limiter.connections_mut();
        match self.unlist(&mut connections) {
            Ok(()) => connections.subtract(self.address.get()),
            // Its place is another's.
            Err(_) => {
                self.limiter.going.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
