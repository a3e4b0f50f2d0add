//! Permissions: the things that a session may do in its channel.

use std::fmt;

/// A set of things that a session may do in its channel.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// No permission at all.
    pub const NONE: Self = Self(0);
    /// To publish messages.
    pub const PUBLISH: Self = Self(1);
    /// To receive what is published while the session lasts.
    pub const SUBSCRIBE: Self = Self(1 << 1);
    /// To get what was published before: at the join, when coming back, and by reading over HTTP.
    pub const HISTORY: Self = Self(1 << 2);
    /// To ask who is there, and to be told who comes and leaves.
    pub const PRESENCE: Self = Self(1 << 3);
    /// To link a server below, which brings a history of its own and carries the messages of many uids both ways.
    /// Whoever may do that may do everything else as well.
    pub const PEER: Self = Self(1 << 4);
    /// Every permission.
    pub const ALL: Self = Self(0b1_1111);

    /// Each permission with its name.
    const NAMES: [(&'static str, Self); 5] = [
        ("publish", Self::PUBLISH),
        ("subscribe", Self::SUBSCRIBE),
        ("history", Self::HISTORY),
        ("presence", Self::PRESENCE),
        ("peer", Self::PEER),
    ];

    /// Returns the permission of that name; `None` if there is none.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut names = Self::NAMES.into_iter();
        names.find(|(known, _)| *known == name).map(|(_, one)| one)
    }

    /// Returns the names of all permissions.
    pub fn all_names() -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().map(|(name, _)| name)
    }

    /// Returns the names of the permissions in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let names = Self::NAMES.into_iter();
        names.filter_map(move |(name, one)| self.contains(one).then_some(name))
    }

    /// Returns `true` if all of `others` are in the set.
    #[must_use]
    pub const fn contains(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Returns `true` if any of `others` is in the set.
    #[must_use]
    pub const fn intersects(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Returns `true` if the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the set with `others` in it as well.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Returns the set without `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl fmt::Display for Permissions {
    /// Writes the names with commas between them, or `nothing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (i, name) in self.names().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_permissions_and_back() {
        let mut all = Permissions::NONE;
        for name in Permissions::all_names() {
            let one = Permissions::named(name).unwrap();
            assert!(!all.contains(one), "{name} is in {all}");
            assert_eq!(one.to_string(), name);
            all = all.with(one);
        }
        assert_eq!(all, Permissions::ALL);
        assert_eq!(
            all.to_string(),
            "publish, subscribe, history, presence, peer"
        );
        assert_eq!(Permissions::NONE.to_string(), "nothing");
        for unknown in ["", "Publish", "publish ", "all", "none"] {
            assert_eq!(Permissions::named(unknown), None);
        }
    }

    #[test]
    fn a_set_contains_what_was_put_in() {
        let set = Permissions::PUBLISH.with(Permissions::HISTORY);
        assert!(set.contains(Permissions::PUBLISH) && set.contains(set));
        assert!(!set.contains(Permissions::PUBLISH.with(Permissions::SUBSCRIBE)));
        assert!(set.intersects(Permissions::ALL) && !set.intersects(Permissions::SUBSCRIBE));
        assert_eq!(set.without(Permissions::PUBLISH), Permissions::HISTORY);
        assert!(set.contains(Permissions::NONE) && Permissions::NONE.is_empty());
    }
}
