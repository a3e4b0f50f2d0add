//! Holders of places by age and by address, to choose the one that goes first when there is no room.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::address::AddressKey;

/// Holders of places that can be taken from them, each with the serial number that tells its age.
///
/// Every call takes time in proportion to the logarithm of their number.
#[derive(Debug)]
pub(super) struct Holders<T> {
    /// The oldest first.
    all: BTreeMap<u64, (AddressKey, T)>,
    of_address: BTreeSet<(AddressKey, u64)>,
    counts: HashMap<AddressKey, usize>,
    /// Addresses by how many places they hold.
    by_count: BTreeSet<(usize, AddressKey)>,
}

/// The holder that goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) serial: u64,
    /// Its address holds more than its share.
    pub(super) is_over_share: bool,
}

impl<T> Default for Holders<T> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            of_address: BTreeSet::new(),
            counts: HashMap::new(),
            by_count: BTreeSet::new(),
        }
    }
}

impl<T> Holders<T> {
    /// Adds a holder. No other may have its serial number.
    pub(super) fn insert(&mut self, serial: u64, address: AddressKey, holder: T) {
        self.all.insert(serial, (address, holder));
        self.of_address.insert((address, serial));
        let count = self.count(address);
        self.set_count(address, count, count + 1);
    }

    /// Removes a holder and returns it with its address; `None` if it is not there any more.
    pub(super) fn remove(&mut self, serial: u64) -> Option<(AddressKey, T)> {
        let (address, holder) = self.all.remove(&serial)?;
        self.of_address.remove(&(address, serial));
        let count = self.count(address);
        self.set_count(address, count, count - 1);
        Some((address, holder))
    }

    /// Returns the number of holders.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Returns the holder with that serial number.
    pub(super) fn get(&self, serial: u64) -> Option<&T> {
        self.all.get(&serial).map(|(_, holder)| holder)
    }

    /// Returns the holder that goes first: of the address that holds most, if that is more than `share`, the
    /// oldest; else the oldest of all.
    pub(super) fn first(&self, share: usize) -> Option<First> {
        let &(count, heaviest) = self.by_count.last()?;
        if count > share {
            return self.first_of(heaviest, share);
        }
        let (&serial, _) = self.all.first_key_value()?;
        Some(First {
            serial,
            is_over_share: false,
        })
    }

    /// Returns the holder that goes first of one address: its oldest.
    pub(super) fn first_of(&self, address: AddressKey, share: usize) -> Option<First> {
        let mut oldest = self.of_address.range((address, 0)..=(address, u64::MAX));
        let &(_, serial) = oldest.next()?;
        Some(First {
            serial,
            is_over_share: self.count(address) > share,
        })
    }

    fn count(&self, address: AddressKey) -> usize {
        self.counts.get(&address).copied().unwrap_or_default()
    }

    fn set_count(&mut self, address: AddressKey, before: usize, after: usize) {
        self.by_count.remove(&(before, address));
        if after == 0 {
            self.counts.remove(&address);
        } else {
            self.counts.insert(address, after);
            self.by_count.insert((after, address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: AddressKey = AddressKey::V4(1);
    const B: AddressKey = AddressKey::V4(2);
    const C: AddressKey = AddressKey::V6(2);

    fn holders(addresses: &[AddressKey]) -> Holders<()> {
        let mut holders = Holders::default();
        for (serial, &address) in (0..).zip(addresses) {
            holders.insert(serial, address, ());
        }
        holders
    }

    /// Returns the order in which all go.
    fn order(mut holders: Holders<()>, share: usize) -> Vec<u64> {
        let first = || {
            let serial = holders.first(share)?.serial;
            holders.remove(serial).map(|_| serial)
        };
        std::iter::from_fn(first).collect()
    }

    #[test]
    fn within_their_shares_the_oldest_goes_first() {
        assert_eq!(order(holders(&[A, B, C, B, A]), 2), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn an_address_over_its_share_goes_first() {
        assert_eq!(order(holders(&[A, B, B, B, C]), 1), [1, 2, 0, 3, 4]);
        assert_eq!(order(holders(&[A, B, A, B, A, A]), 1), [0, 2, 1, 4, 3, 5]);
    }

    #[test]
    fn of_one_address_its_oldest_goes_first() {
        let mut holders = holders(&[A, B, A, B]);
        let first = |holders: &Holders<()>| holders.first_of(B, 1).map(|f| f.serial);
        assert_eq!(first(&holders), Some(1));
        assert!(holders.remove(1).is_some());
        assert!(holders.remove(1).is_none());
        assert_eq!(first(&holders), Some(3));
        assert!(holders.remove(3).is_some());
        assert_eq!(first(&holders), None);
        assert_eq!(holders.first_of(C, 1), None);
    }

    #[test]
    fn nothing_is_kept_of_those_that_are_gone() {
        let mut all = holders(&[A, B, C, B]);
        for serial in 0..4 {
            all.remove(serial);
        }
        assert_eq!(all.len(), 0);
        assert!(all.of_address.is_empty() && all.counts.is_empty() && all.by_count.is_empty());
    }
}
