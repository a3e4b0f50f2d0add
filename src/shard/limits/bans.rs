//! Addresses that are kept out for a while because too many wrong keys came from there.
//!
//! A wrong key counts for an IPv4 address, or for a /64 network of IPv6. Whoever has proved a key already is not
//! affected: a ban is for new connections and requests.
//!
//! Memory is bounded, whatever the number of addresses: of the suspects, those whose first wrong key is longest ago make
//! room, and of the banned, those whose ban ends first.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::address::AddressKey;
use super::unpoisoned;
use crate::settings::BanSettings;

/// Most suspects that are remembered, and most bans.
const MOST: usize = 1 << 16;
/// Number of entries that may come between two clean-ups, and that are forgotten early at a time.
const PART: usize = MOST / 16;

/// A ban that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) address: AddressKey,
    /// The time that it still lasts.
    pub(crate) left: Duration,
    /// The number of wrong keys that it is for.
    pub(crate) wrong_keys: usize,
}

/// The bans of a broker.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    records: Mutex<Records>,
    /// Set while there may be a ban: else nobody takes the lock.
    are_any: AtomicBool,
}

#[derive(Debug, Default)]
struct Records {
    suspects: HashMap<AddressKey, Suspect>,
    banned: HashMap<AddressKey, BanRecord>,
}

/// A ban in force.
#[derive(Clone, Copy, Debug)]
struct BanRecord {
    until: Instant,
    wrong_keys: usize,
}

/// An address from which wrong keys came.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    wrong_keys: usize,
    since: Instant,
}

impl Bans {
    /// Counts a wrong key from `ip`. Returns the ban if that was one too many.
    pub(crate) fn wrong_key(
        &self,
        ip: IpAddr,
        settings: &BanSettings,
        now: Instant,
    ) -> Option<Ban> {
        let after = settings.after?;
        let address = AddressKey::of(ip);
        let mut records = unpoisoned(&self.records);
        let Records { suspects, banned } = &mut *records;
        if banned.get(&address).is_some_and(|ban| ban.until > now) {
            return None;
        }
        let is_recent = |suspect: &Suspect| now.duration_since(suspect.since) < settings.window;
        let before = suspects.get(&address).copied().filter(is_recent);
        let mut suspect = before.unwrap_or(Suspect {
            wrong_keys: 0,
            since: now,
        });
        suspect.wrong_keys += 1;
        if suspect.wrong_keys < after {
            if before.is_none() {
                make_room(suspects, |suspect| suspect.since, is_recent);
            }
            suspects.insert(address, suspect);
            return None;
        }
        suspects.remove(&address);
        make_room(banned, |ban| ban.until, |ban| ban.until > now);
        let ban = BanRecord {
            until: now + settings.time,
            wrong_keys: suspect.wrong_keys,
        };
        banned.insert(address, ban);
        self.are_any.store(true, Ordering::Relaxed);
        ban.at(address, now)
    }

    /// Returns how long `ip` is still banned; `None` if it is not.
    pub(crate) fn left(&self, ip: IpAddr, now: Instant) -> Option<Duration> {
        if !self.are_any.load(Ordering::Relaxed) {
            return None;
        }
        let records = unpoisoned(&self.records);
        let address = AddressKey::of(ip);
        let ban = records.banned.get(&address)?.at(address, now)?;
        Some(ban.left)
    }

    /// Lists the bans, those that last longest first, and at most `limit`.
    pub(crate) fn list(&self, limit: usize, now: Instant) -> Vec<Ban> {
        let records = unpoisoned(&self.records);
        let bans = records.banned.iter();
        let mut bans: Vec<_> = bans
            .filter_map(|(&address, ban)| ban.at(address, now))
            .collect();
        drop(records);
        bans.sort_unstable_by_key(|ban| (std::cmp::Reverse(ban.left), ban.address));
        bans.truncate(limit);
        bans
    }

    /// Lifts the ban of an address, and forgets its wrong keys. Returns `false` if it is not banned.
    pub(crate) fn lift(&self, address: AddressKey, now: Instant) -> bool {
        let mut records = unpoisoned(&self.records);
        records.suspects.remove(&address);
        let ban = records.banned.remove(&address);
        self.are_any
            .store(!records.banned.is_empty(), Ordering::Relaxed);
        ban.is_some_and(|ban| ban.until > now)
    }
}

impl BanRecord {
    /// Returns the ban of `address`, if it is in force.
    fn at(self, address: AddressKey, now: Instant) -> Option<Ban> {
        let left = self.until.saturating_duration_since(now);
        (!left.is_zero()).then_some(Ban {
            address,
            left,
            wrong_keys: self.wrong_keys,
        })
    }
}

/// Makes room for one more: forgets those that do not count any more, and if there are too many others, those that come
/// first in `order`.
fn make_room<K: Copy + Eq + Hash, V>(
    map: &mut HashMap<K, V>,
    order: impl Fn(&V) -> Instant,
    counts: impl Fn(&V) -> bool,
) {
    // Looking at all of them is worth it now and then only.
    if map.len() < PART || !map.len().is_multiple_of(PART) {
        return;
    }
    map.retain(|_, value| counts(value));
    if map.len() < MOST {
        return;
    }
    let mut times: Vec<_> = map.values().map(&order).collect();
    let (_, &mut first, _) = times.select_nth_unstable(PART);
    map.retain(|_, value| order(value) > first);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn settings() -> BanSettings {
        BanSettings {
            after: Some(3),
            window: MINUTE,
            time: 10 * MINUTE,
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn wrong_keys_within_the_window_ban_the_network_for_a_while() {
        let (bans, now) = (Bans::default(), Instant::now());
        let wrong_key = |from, at| bans.wrong_key(ip(from), &settings(), at);
        assert_eq!(wrong_key("2001:db8:1:2::1", now), None);
        assert_eq!(wrong_key("2001:db8:1:2::2", now), None);
        assert_eq!(bans.left(ip("2001:db8:1:2::1"), now), None);
        let ban = wrong_key("2001:db8:1:2::3", now).unwrap();
        assert_eq!(ban.address.to_string(), "2001:db8:1:2::/64");
        assert_eq!((ban.left, ban.wrong_keys), (10 * MINUTE, 3));
        assert_eq!(bans.left(ip("2001:db8:1:2:9::"), now), Some(10 * MINUTE));
        assert_eq!(bans.left(ip("2001:db8:1:3::1"), now), None);
        // What it tries while it is banned does not make the ban longer.
        let later = now + 9 * MINUTE;
        assert_eq!(wrong_key("2001:db8:1:2::1", later), None);
        assert_eq!(
            bans.list(10, later),
            [Ban {
                left: MINUTE,
                ..ban
            }]
        );
        let over = now + 10 * MINUTE;
        assert_eq!(bans.left(ip("2001:db8:1:2::1"), over), None);
        assert_eq!(bans.list(10, over), []);
        // Then it has as many tries as anybody.
        assert_eq!(wrong_key("2001:db8:1:2::1", over), None);
    }

    #[test]
    fn slow_slips_and_those_of_others_do_not_add_up() {
        let (bans, now) = (Bans::default(), Instant::now());
        for i in 0..10 {
            let at = now + i * MINUTE / 2;
            assert_eq!(
                bans.wrong_key(ip("192.0.2.1"), &settings(), at),
                None,
                "{i}"
            );
        }
        for i in 0..200 {
            let from = IpAddr::V4((0xc633_6400 + i).into());
            assert_eq!(bans.wrong_key(from, &settings(), now), None);
        }
        let off = BanSettings {
            after: None,
            ..settings()
        };
        for _ in 0..100 {
            assert_eq!(bans.wrong_key(ip("192.0.2.2"), &off, now), None);
        }
    }

    #[test]
    fn a_lifted_ban_leaves_nothing_behind() {
        let (bans, now) = (Bans::default(), Instant::now());
        let once = BanSettings {
            after: Some(1),
            ..settings()
        };
        let address: AddressKey = "192.0.2.1".parse().unwrap();
        assert!(!bans.lift(address, now));
        assert!(bans.wrong_key(ip("192.0.2.1"), &once, now).is_some());
        assert!(bans.lift(address, now));
        assert_eq!(bans.left(ip("192.0.2.1"), now), None);
        assert!(!bans.lift(address, now));
    }

    #[test]
    fn memory_is_bounded_and_the_newest_bans_stay() {
        let (bans, now) = (Bans::default(), Instant::now());
        let once = BanSettings {
            after: Some(1),
            ..settings()
        };
        for i in 0..200_000_u32 {
            let from = IpAddr::V4((0x0a00_0000 + i).into());
            let at = now + Duration::from_micros(i.into());
            bans.wrong_key(from, &settings(), at);
            bans.wrong_key(from, &once, at);
        }
        for i in 0..200_000_u32 {
            let from = IpAddr::V4((0x0b00_0000 + i).into());
            bans.wrong_key(from, &settings(), now + Duration::from_secs(1));
        }
        let records = bans.records.lock().unwrap();
        let (suspects, banned) = (records.suspects.len(), records.banned.len());
        drop(records);
        assert!(
            suspects <= MOST + PART && banned <= MOST + PART,
            "{suspects} {banned}"
        );
        let newest = IpAddr::V4((0x0a00_0000 + 199_999).into());
        assert!(bans.left(newest, now).is_some());
    }
}
