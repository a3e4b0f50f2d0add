//! How many connections there may be: the control plane that all shards share.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::DashMap;

use crate::channel::ConnId;
use crate::settings::Limits;

/// Why a new connection is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Connections,
    Address,
    Joining,
    Channels,
}

impl Full {
    /// The setting that was reached.
    pub(crate) const fn limit(self) -> &'static str {
        match self {
            Self::Connections => "max_connections",
            Self::Address => "max_connections_per_address",
            Self::Joining => "max_joining",
            Self::Channels => "max_channels",
        }
    }
}

/// Counts what is limited over all shards. Not on the message path.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Limits,
    connections: AtomicUsize,
    joining: AtomicUsize,
    channels: AtomicUsize,
    by_address: DashMap<IpAddr, usize>,
    next_conn: AtomicU64,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            limits,
            connections: AtomicUsize::new(0),
            joining: AtomicUsize::new(0),
            channels: AtomicUsize::new(0),
            by_address: DashMap::new(),
            next_conn: AtomicU64::new(ConnId::NONE.0 + 1),
        })
    }

    /// Lets one connection in, or says which limit it would break.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Permit, Full> {
        let address = address.to_canonical();
        if !take(&self.connections, self.limits.max_connections) {
            return Err(Full::Connections);
        }
        let mut from_there = self.by_address.entry(address).or_insert(0);
        if *from_there >= self.limits.max_connections_per_address {
            drop(from_there);
            self.connections.fetch_sub(1, Ordering::Relaxed);
            return Err(Full::Address);
        }
        *from_there += 1;
        Ok(Permit {
            gate: self.clone(),
            address,
        })
    }

    /// Counts one connection as waiting to join.
    pub(crate) fn begin_join(self: &Arc<Self>) -> Result<JoinPermit, Full> {
        if take(&self.joining, self.limits.max_joining) {
            Ok(JoinPermit { gate: self.clone() })
        } else {
            Err(Full::Joining)
        }
    }

    /// Counts one channel more.
    pub(crate) fn open_channel(&self) -> Result<(), Full> {
        if take(&self.channels, self.limits.max_channels) {
            Ok(())
        } else {
            Err(Full::Channels)
        }
    }

    /// Counts one channel less.
    pub(crate) fn close_channel(&self) {
        self.channels.fetch_sub(1, Ordering::Relaxed);
    }

    /// A number that no other session of this broker has.
    pub(crate) fn next_conn(&self) -> ConnId {
        ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed))
    }

    /// Connections at this moment, joined or not.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Channels at this moment.
    pub(crate) fn channels(&self) -> usize {
        self.channels.load(Ordering::Relaxed)
    }
}

/// Adds one unless that is over `limit`.
fn take(count: &AtomicUsize, limit: usize) -> bool {
    if count.fetch_add(1, Ordering::Relaxed) < limit {
        return true;
    }
    count.fetch_sub(1, Ordering::Relaxed);
    false
}

/// Counts one connection for as long as it is held.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.connections.fetch_sub(1, Ordering::Relaxed);
        if let dashmap::Entry::Occupied(mut entry) = self.gate.by_address.entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Counts one connection as waiting to join for as long as it is held.
#[derive(Debug)]
pub(crate) struct JoinPermit {
    gate: Arc<Gate>,
}

impl Drop for JoinPermit {
    fn drop(&mut self) {
        self.gate.joining.fetch_sub(1, Ordering::Relaxed);
    }
}
