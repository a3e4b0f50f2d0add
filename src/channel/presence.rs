//! Who has come into a channel and who has left it, collected so that all who watch are told once.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};

/// Bytes that a name takes in a list besides its own: the head or the quotes around it.
const NAME_COST: usize = 8;

/// Limit on the names in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameLimit {
    /// Most names.
    pub names: usize,
    /// Bytes that they may take together. The first name is let in however long it is.
    pub bytes: usize,
}

impl Difference {
    /// Returns `true` if nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty()
    }
}

impl NameLimit {
    /// Takes `name` into account. Returns `false` if there is no room for it.
    pub fn admit(&mut self, name: &str) -> bool {
        if self.names == 0 || self.bytes == 0 {
            return false;
        }
        self.names -= 1;
        self.bytes = self.bytes.saturating_sub(name.len() + NAME_COST);
        true
    }
}

/// Changes in a list of members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The uids of members that have come, in order. One that has come twice is there twice.
    pub joined: Vec<Box<str>>,
    /// The uids of members that have left, in order.
    pub left: Vec<Box<str>>,
}

/// News about the members of a channel, for all who watch.
#[derive(Clone, Debug, Default)]
pub struct MemberNews {
    /// Number of members.
    pub count: usize,
    /// What has changed for those who have been told before.
    pub changes: Difference,
    /// Who is there, changes included, for those who have not; `None` if there are none.
    pub list: Option<Vec<Box<str>>>,
}

impl MemberNews {
    /// Returns the bytes that its names take.
    #[must_use]
    pub fn weight(&self) -> usize {
        let changes = self.changes.joined.iter().chain(&self.changes.left);
        let names = changes.chain(self.list.iter().flatten());
        names.map(|uid| uid.len() + NAME_COST).sum()
    }
}

/// Changes that have still to be told to those who watch a channel.
///
/// Only the sum counts: a uid that has come and left, or left and come back, is not told about. A uid may be that of
/// several members.
#[derive(Debug, Default)]
pub struct PendingChanges {
    /// By uid: how many members have come less how many have left. Never 0.
    sums: BTreeMap<Box<str>, i64>,
    /// The uid that was told about last. The next batch goes on behind it, so that none waits for ever.
    last: Box<str>,
}

impl PendingChanges {
    /// Returns `true` if there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Returns the number of uids that are to be told about.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sums.len()
    }

    /// Records that a member has come.
    pub fn join(&mut self, uid: &str) {
        self.add(uid, 1);
    }

    /// Records that a member has left.
    pub fn leave(&mut self, uid: &str) {
        self.add(uid, -1);
    }

    fn add(&mut self, uid: &str, change: i64) {
        match self.sums.get_mut(uid) {
            Some(sum) => {
                *sum += change;
                if *sum == 0 {
                    self.sums.remove(uid);
                }
            }
            None => _ = self.sums.insert(uid.into(), change),
        }
    }

    /// Forgets all changes.
    pub fn clear(&mut self) {
        self.sums.clear();
    }

    /// Takes out as many changes as there is room for. The others stay, and come first the next time.
    pub fn take(&mut self, mut limit: NameLimit) -> Difference {
        let mut difference = Difference::default();
        while let Some((uid, sum)) = self.next() {
            let names = if sum > 0 {
                &mut difference.joined
            } else {
                &mut difference.left
            };
            for _ in 0..sum.abs() {
                if !limit.admit(&uid) {
                    return difference;
                }
                names.push(uid.clone());
                self.add(&uid, -sum.signum());
                self.last.clone_from(&uid);
            }
        }
        difference
    }

    /// Returns the uid that is to be told about next, and its sum.
    fn next(&self) -> Option<(Box<str>, i64)> {
        let behind = (Excluded(&*self.last), Unbounded);
        let mut rest = self.sums.range::<str, _>(behind);
        let (uid, sum) = rest.next().or_else(|| self.sums.first_key_value())?;
        Some((uid.clone(), *sum))
    }

    /// Returns who is there for those who have been told all but these changes: those of the members `present` whose
    /// coming has been told, and who has left without that being told.
    pub fn as_told<'a>(
        &'a self,
        present: impl Iterator<Item = &'a str> + 'a,
    ) -> impl Iterator<Item = &'a str> + 'a {
        let sums = || self.sums.iter().map(|(uid, sum)| (&**uid, *sum));
        let mut untold: HashMap<_, _> = sums().filter(|(_, sum)| *sum > 0).collect();
        let mut is_told = move |uid: &&'a str| match untold.get_mut(uid) {
            Some(left @ 1..) => {
                *left -= 1;
                false
            }
            _ => true,
        };
        let gone = sums().flat_map(|(uid, sum)| {
            let count = usize::try_from(-sum).unwrap_or(0);
            std::iter::repeat_n(uid, count)
        });
        present.filter(move |uid| is_told(uid)).chain(gone)
    }
}
