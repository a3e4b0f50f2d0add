//! What is remembered for some time, and only so much of it.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use xxhash_rust::xxh3::Xxh3;

use crate::channel::PublisherId;

/// Names a publisher in a channel: a hash of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name([u8; 16]);

impl Name {
    /// Returns the name of a publisher in a channel.
    pub(super) fn new(channel: &str, publisher: PublisherId) -> Self {
        let mut hasher = Xxh3::new();
        hasher.update(&publisher.0.to_le_bytes());
        hasher.update(channel.as_bytes());
        Self(hasher.digest128().to_le_bytes())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        hasher.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Takes names as they are: they are hashes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// What is remembered by name since it was mentioned last, for so long, and only the newest of so many.
///
/// What is in it is a function of what was mentioned within that time, and of nothing before. So two nodes agree once both
/// have seen that much of the log, whenever they have begun.
#[derive(Debug)]
pub(super) struct Recent<V> {
    /// How long something is remembered, in milliseconds.
    memory_ms: u64,
    /// How much is remembered.
    limit: usize,
    known: HashMap<Name, Known<V>, BuildHasherDefault<NameHasher>>,
    /// The names in the order in which they are forgotten.
    by_age: BTreeMap<Age, Name>,
    /// Counts what was mentioned.
    mentions: u64,
}

/// When something was mentioned: its time, and how many were mentioned before it.
type Age = (u64, u64);

#[derive(Debug)]
struct Known<V> {
    value: V,
    age: Age,
}

impl<V: Copy> Recent<V> {
    /// Creates an empty memory.
    pub(super) fn new(memory_ms: u64, limit: usize) -> Self {
        Self {
            memory_ms,
            limit,
            known: HashMap::default(),
            by_age: BTreeMap::new(),
            mentions: 0,
        }
    }

    /// Forgets what was not mentioned for too long at the time `at_ms`.
    pub(super) fn forget_old(&mut self, at_ms: u64) {
        while let Some((&(mentioned, _), _)) = self.by_age.first_key_value()
            && mentioned.saturating_add(self.memory_ms) < at_ms
        {
            self.forget_first();
        }
    }

    /// Returns what is remembered by a name.
    pub(super) fn get(&self, name: Name) -> Option<V> {
        self.known.get(&name).map(|known| known.value)
    }

    /// Remembers a value by a name that is mentioned at the time `at_ms`.
    pub(super) fn mention(&mut self, name: Name, value: V, at_ms: u64) {
        self.mentions += 1;
        let age = (at_ms, self.mentions);
        if let Some(before) = self.known.insert(name, Known { value, age }) {
            self.by_age.remove(&before.age);
        }
        self.by_age.insert(age, name);
        while self.known.len() > self.limit {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, name)) = self.by_age.pop_first() {
            self.known.remove(&name);
        }
    }

    /// Returns how much is remembered.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}
