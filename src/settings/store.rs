//! Settings of the store, which keeps histories on disk.

use std::path::PathBuf;
use std::time::Duration;

/// The store of the channels that keep their history on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// The directory of the store, made if there is none. Needed as soon as a channel keeps its history on disk.
    pub dir: Option<PathBuf>,
    /// When what was published is on disk for certain.
    pub sync: StoreSync,
    /// The most that the store may take on disk in bytes. `None` is no limit.
    pub max_bytes: Option<usize>,
    /// Space in bytes that the store leaves free on its disk.
    pub min_free: usize,
    /// Treatment of a damaged store at a start.
    pub on_damage: OnDamage,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            dir: None,
            sync: StoreSync::default(),
            max_bytes: None,
            min_free: 64 << 20,
            on_damage: OnDamage::Refuse,
        }
    }
}

/// When what was published is on disk for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreSync {
    /// It is written and synced this often: a crash of the process or the machine takes what is younger at most.
    Interval(Duration),
    /// It is synced before it is delivered or confirmed: a crash takes nothing that anybody has seen.
    Batch,
    /// It is written to the system ten times a second, and synced when the system likes: a crash of the process takes
    /// what is younger at most, one of the machine takes more.
    Os,
}

impl StoreSync {
    /// Returns the time between two batches of a shard; none passes between those that publishers wait for.
    pub(crate) const fn interval(self) -> Duration {
        match self {
            Self::Interval(interval) => interval,
            Self::Batch => Duration::ZERO,
            Self::Os => Duration::from_millis(100),
        }
    }
}

impl Default for StoreSync {
    fn default() -> Self {
        Self::Interval(Duration::from_millis(100))
    }
}

/// Treatment of a damaged store at a start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// The start fails, and the store stays as it is.
    #[default]
    Refuse,
    /// It is moved into a directory of its own within that of the store, and a new one begins.
    SetAside,
}
