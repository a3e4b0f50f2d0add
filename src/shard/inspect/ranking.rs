//! The first entries in an order, however many there are to choose from.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A place in an order: by a key, the largest first, and by name where keys are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor<N> {
    pub(crate) key: u64,
    pub(crate) name: N,
}

/// An entry with its place.
#[derive(Clone, Debug)]
pub(crate) struct Ranked<N, T> {
    pub(crate) key: u64,
    pub(crate) name: N,
    pub(crate) value: T,
}

impl<N: Ord, T> Ranked<N, T> {
    fn place(&self) -> (Reverse<u64>, &N) {
        (Reverse(self.key), &self.name)
    }
}

impl<N: Ord, T> PartialEq for Ranked<N, T> {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl<N: Ord, T> Eq for Ranked<N, T> {}

impl<N: Ord, T> PartialOrd for Ranked<N, T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<N: Ord, T> Ord for Ranked<N, T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place().cmp(&other.place())
    }
}

/// The first entries behind a cursor of all that are offered, a fixed number at most.
#[derive(Debug)]
pub(crate) struct TopList<N: Ord, T> {
    limit: usize,
    after: Option<Cursor<N>>,
    /// The last of them is on top.
    first: BinaryHeap<Ranked<N, T>>,
}

impl<N: Ord, T> TopList<N, T> {
    /// Creates an empty list of at most `limit` entries, all behind `after`.
    pub(crate) fn new(limit: usize, after: Option<Cursor<N>>) -> Self {
        Self {
            limit,
            after,
            first: BinaryHeap::new(),
        }
    }

    /// Offers an entry, which is made only if it has a place.
    pub(crate) fn offer<Q>(&mut self, key: u64, name: &Q, make: impl FnOnce() -> (N, T))
    where
        N: Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let place = (Reverse(key), name);
        let is_behind = |cursor: &Cursor<N>| place > (Reverse(cursor.key), cursor.name.borrow());
        if self.limit == 0 || !self.after.as_ref().is_none_or(is_behind) {
            return;
        }
        if self.first.len() >= self.limit {
            let is_before = |last: &Ranked<N, T>| place < (Reverse(last.key), last.name.borrow());
            if !self.first.peek().is_some_and(is_before) {
                return;
            }
            self.first.pop();
        }
        let (name, value) = make();
        self.first.push(Ranked { key, name, value });
    }

    /// Returns the entries in order.
    pub(crate) fn into_sorted(self) -> Vec<Ranked<N, T>> {
        self.first.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn top(entries: &[(u64, u64)], limit: usize, after: Option<(u64, u64)>) -> Vec<(u64, u64)> {
        let after = after.map(|(key, name)| Cursor { key, name });
        let mut list = TopList::new(limit, after);
        for &(key, name) in entries {
            list.offer(key, &name, || (name, ()));
        }
        let sorted = list.into_sorted().into_iter();
        sorted.map(|entry| (entry.key, entry.name)).collect()
    }

    proptest! {
        #[test]
        fn pages_behind_one_another_are_the_whole_order(
            keys in proptest::collection::vec(0..5_u64, 0..60), limit in 1..10_usize,
        ) {
            let entries: Vec<_> = keys.into_iter().zip(0..).collect();
            let mut expected = entries.clone();
            expected.sort_by_key(|&(key, name)| (Reverse(key), name));
            let mut all = Vec::new();
            loop {
                let page = top(&entries, limit, all.last().copied());
                prop_assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                all.extend(page);
            }
            prop_assert_eq!(all, expected);
        }
    }

    #[test]
    fn an_entry_without_a_place_is_not_made() {
        let mut list = TopList::new(1, None);
        list.offer(2, "b", || ("b", ()));
        list.offer(1, "a", || panic!("it is no place for it"));
        assert_eq!(list.into_sorted().len(), 1);
    }
}
