//! The list of members in a fan-out, with keys that stay valid while others come and go.

/// A member's place in its [`Fanout`](super::Fanout). Used again after the member has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberKey(u32);

/// Ends the list of free keys.
const NONE: u32 = u32::MAX;
/// Keys that are not worth the work of giving their memory back.
const FEW: usize = 64;

/// A list without gaps: a pass visits nothing that has left, however many there were.
///
/// The last entry fills the gap of one that is removed, so the order changes, while a key finds its
/// entry through `places`. That costs 4 bytes for each key, of which there may be as many as there
/// were entries at once.
#[derive(Debug)]
pub(super) struct Members<V> {
    list: Vec<(MemberKey, V)>,
    /// By key: the index in `list`, or the next free key. The entry at an index tells its key, so
    /// the two cannot be mistaken.
    places: Vec<u32>,
    /// The first free key.
    free: u32,
}

impl<V> Default for Members<V> {
    fn default() -> Self {
        Self {
            list: Vec::new(),
            places: Vec::new(),
            free: NONE,
        }
    }
}

impl<V> Members<V> {
    /// Adds an entry and returns its key.
    pub(super) fn insert(&mut self, value: V) -> MemberKey {
        let at = narrow(self.list.len());
        let key = match self.free {
            NONE => {
                self.places.push(at);
                narrow(self.places.len() - 1)
            }
            free => {
                self.free = std::mem::replace(&mut self.places[free as usize], at);
                free
            }
        };
        self.list.push((MemberKey(key), value));
        MemberKey(key)
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: MemberKey) -> Option<V> {
        let at = self.index(key)?;
        let (_, value) = self.list.swap_remove(at);
        if let Some((moved, _)) = self.list.get(at) {
            self.places[moved.0 as usize] = narrow(at);
        }
        self.places[key.0 as usize] = self.free;
        self.free = key.0;
        self.give_back();
        Some(value)
    }

    /// Returns the memory of a crowd that has left, as far as the keys that are in use allow.
    fn give_back(&mut self) {
        let len = self.list.len();
        if len == 0 {
            *self = Self::default();
            return;
        }
        // Not after each: a look at all keys costs as much as there are members.
        if !len.is_power_of_two() || self.places.len() <= 4 * len + FEW {
            return;
        }
        self.list.shrink_to(2 * len);
        let used = self.list.iter().map(|(key, _)| key.0 as usize + 1).max();
        let used = used.unwrap_or_default();
        if used > self.places.len() / 2 {
            return self.places.shrink_to_fit();
        }
        self.places.truncate(used);
        self.places.shrink_to_fit();
        self.free = NONE;
        for key in (0..narrow(used)).rev() {
            if self.index(MemberKey(key)).is_none() {
                self.places[key as usize] = self.free;
                self.free = key;
            }
        }
    }

    fn index(&self, key: MemberKey) -> Option<usize> {
        let at = *self.places.get(key.0 as usize)? as usize;
        self.list.get(at).filter(|(of, _)| *of == key).map(|_| at)
    }

    /// Returns the entry of `key`.
    pub(super) fn get(&self, key: MemberKey) -> Option<&V> {
        self.index(key).map(|at| &self.list[at].1)
    }

    /// Returns the entry of `key`.
    pub(super) fn get_mut(&mut self, key: MemberKey) -> Option<&mut V> {
        self.index(key).map(|at| &mut self.list[at].1)
    }

    /// Returns the number of entries.
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns the entries from that place in the list on. When one leaves, the last takes its place.
    #[cfg(feature = "server")]
    pub(super) fn from(&self, start: usize) -> impl Iterator<Item = &V> {
        let rest = self.list.get(start..).unwrap_or_default();
        rest.iter().map(|(_, value)| value)
    }

    /// Returns all entries with their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MemberKey, &V)> {
        self.list.iter().map(|(key, value)| (*key, value))
    }

    /// Returns all entries with their keys.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (MemberKey, &mut V)> {
        self.list.iter_mut().map(|(key, value)| (*key, value))
    }
}

fn narrow(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 members")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Insert,
        Remove(usize),
        /// All but one leave.
        Clear(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => Just(Op::Insert),
            4 => any::<usize>().prop_map(Op::Remove),
            1 => any::<usize>().prop_map(Op::Clear),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map(burst in 0..300_u32, ops in proptest::collection::vec(op(), 1..200)) {
            let (mut members, mut naive) = (Members::default(), BTreeMap::new());
            let mut next = 0;
            let inserts = (0..burst).map(|_| Op::Insert);
            for op in inserts.chain(ops) {
                match op {
                    Op::Insert => {
                        prop_assert_eq!(naive.insert(members.insert(next), next), None);
                        next += 1;
                    }
                    Op::Remove(at) => {
                        let key = naive.keys().nth(at % naive.len().max(1)).copied();
                        if let Some(key) = key {
                            prop_assert_eq!(members.remove(key), naive.remove(&key));
                            prop_assert_eq!(members.remove(key), None);
                        }
                    }
                    Op::Clear(at) => {
                        let stays = naive.keys().nth(at % naive.len().max(1)).copied();
                        let keys: Vec<_> = naive.keys().copied().collect();
                        for key in keys.into_iter().filter(|key| Some(*key) != stays) {
                            prop_assert_eq!(members.remove(key), naive.remove(&key));
                        }
                    }
                }
                prop_assert_eq!(members.len(), naive.len());
                let found: BTreeMap<_, _> = members.iter().map(|(k, v)| (k, *v)).collect();
                prop_assert_eq!(&found, &naive);
                for (key, value) in &naive {
                    prop_assert_eq!(members.get(*key), Some(value));
                    prop_assert_eq!(members.get_mut(*key).copied(), Some(*value));
                }
            }
        }
    }

    /// Whoever of a crowd stays, it costs what is there; the keys may cost 4 bytes each.
    #[test]
    fn a_crowd_that_has_left_leaves_no_list() {
        for stays in [0, 5000, 9999] {
            let mut members = Members::default();
            let keys: Vec<_> = (0..10_000).map(|n| members.insert(n)).collect();
            for (n, key) in keys.iter().enumerate().filter(|(n, _)| *n != stays) {
                assert_eq!(members.remove(*key), Some(n));
            }
            assert_eq!(members.iter().count(), 1);
            assert!(members.list.capacity() <= 4, "{}", members.list.capacity());
            assert!(members.places.capacity() <= 2 * stays + 2 + FEW);
            assert_eq!(members.remove(keys[stays]), Some(stays));
            assert_eq!(members.list.capacity() + members.places.capacity(), 0);
        }
    }
}
