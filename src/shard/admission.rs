//! What a client has to pass before it has a session, or what it asks for: bans, rates, and access.
//!
//! All transports come here, so that none is a way around a limit.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use super::Common;
use super::limits::{AddressKey, Ban, BucketKey, Meter, RateReached, TooOften};
use super::refusal::Refusal;
use crate::access::{Proof, Rights, Subject};
use crate::rate::Rate;

impl Common {
    /// Decides whether a client may join now, or read over HTTP, and what it may do then.
    ///
    /// # Errors
    ///
    /// It may not, or not so soon.
    pub(crate) fn join(
        &self,
        proof: Proof<'_>,
        peer: SocketAddr,
        uid: &str,
        channel: &str,
    ) -> Result<Rights, Refusal> {
        // It may have connected before the ban.
        if let Some(left) = self.banned_for(peer.ip()) {
            return Err(Refusal::Banned(left));
        }
        let live = self.live();
        let limits = &live.settings.limits;
        let is_proxy = live.settings.proxies.trusts(peer.ip());
        // A guess counts, too.
        if let Some(rate) = limits.join_rate_per_address.filter(|_| !is_proxy) {
            let key = BucketKey::joins_from(peer.ip());
            self.take_one(key, rate, RateReached::JoinsOfAddress)?;
        }
        let rights = live
            .access
            .join(proof, peer, uid, channel, SystemTime::now())?;
        if let Some((rate, key)) = limits.join_rate_per_key.zip(key_of(&rights)) {
            let key = BucketKey::JoinsWith(key);
            self.take_one(key, rate, RateReached::JoinsOfKey)?;
        }
        Ok(rights)
    }

    fn take_one(&self, key: BucketKey, rate: Rate, reached: RateReached) -> Result<(), TooOften> {
        let (rates, now) = (&self.limiter.rates, Instant::now());
        let meter = rates.meter(key, rate, reached, now);
        rates.try_take(&[meter], 1, now)
    }

    /// Returns the rates at which a client may publish that it shares with others: those of its address and of its key.
    pub(super) fn publish_meters(&self, peer: SocketAddr, rights: &Rights) -> Vec<Meter> {
        let settings = self.settings();
        let limits = &settings.limits;
        let (rates, now) = (&self.limiter.rates, Instant::now());
        let mut meters = Vec::new();
        // A proxy that speaks for itself is no client.
        let is_proxy = settings.proxies.trusts(peer.ip());
        if let Some(rate) = limits.publish_rate_per_address.filter(|_| !is_proxy) {
            let key = BucketKey::publishes_from(peer.ip());
            meters.push(rates.meter(key, rate, RateReached::PublishesOfAddress, now));
        }
        if let Some((rate, key)) = limits.publish_rate_per_key.zip(key_of(rights)) {
            let key = BucketKey::PublishesWith(key);
            meters.push(rates.meter(key, rate, RateReached::PublishesOfKey, now));
        }
        meters
    }

    /// Decides whether a client without a session may publish so many messages now. It is held to the rate of a session
    /// by its address and names, whatever connections it uses.
    ///
    /// # Errors
    ///
    /// Not so soon.
    pub(crate) fn publish_without_session(
        &self,
        peer: SocketAddr,
        rights: &Rights,
        (uid, channel): (&str, &str),
        messages: u64,
    ) -> Result<(), TooOften> {
        let mut meters = self.publish_meters(peer, rights);
        let (rates, now) = (&self.limiter.rates, Instant::now());
        if let Some(rate) = self.settings().limits.publish_rate_per_session {
            let who = self
                .hasher
                .hash_one((AddressKey::of(peer.ip()), uid, channel));
            let key = BucketKey::PublishesBy(who);
            meters.push(rates.meter(key, rate, RateReached::PublishesOfSession, now));
        }
        rates.try_take(&meters, messages, now)
    }

    /// Returns how long the address of a client is still banned; `None` if it is not.
    pub(crate) fn banned_for(&self, ip: IpAddr) -> Option<Duration> {
        self.limiter.bans.left(ip, Instant::now())
    }

    /// Counts a wrong key. Returns how long its address is banned for that, if that was one too many.
    pub(super) fn wrong_key_from(&self, ip: IpAddr) -> Option<Ban> {
        let settings = self.settings();
        // Whoever is in front of others, or on this machine, must not shut them out.
        if ip.to_canonical().is_loopback() || settings.proxies.trusts(ip) {
            return None;
        }
        self.limiter
            .bans
            .wrong_key(ip, &settings.limits.bans, Instant::now())
    }
}

/// Returns what a client has proved, for rates per key; `None` if that is nothing. Whoever has a token has a rate of its
/// own. No key has a name with a space.
fn key_of(rights: &Rights) -> Option<Box<str>> {
    Some(match rights.subject()? {
        Subject::Key(name) => name.into(),
        Subject::Token(uid) => format!("token {uid}").into(),
    })
}
