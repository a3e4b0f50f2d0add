//! Values for the store of histories.

use std::path::PathBuf;
use std::time::Duration;

use super::kind::{Description, ValueKind};
use super::number::Time;
use super::raw::{RawValue, quoted};
use super::text::FilePath;
use crate::settings::StoreSync;

/// The path of a directory.
pub(crate) struct DirectoryPath;

impl ValueKind for DirectoryPath {
    type Value = PathBuf;

    fn read(&self, raw: &RawValue<'_>) -> Option<PathBuf> {
        FilePath.read(raw)
    }

    fn write(&self, value: &PathBuf) -> String {
        FilePath.write(value)
    }

    fn describe(&self) -> Description {
        Description::new("DIR", "the path of a directory")
    }
}

/// How often a store syncs: an interval, or a word.
pub(crate) struct StoreSyncMode;

impl StoreSyncMode {
    const BATCH: &str = "batch";
    const OS: &str = "os";
    const INTERVAL: Time = Time(Duration::from_millis(1)..=Duration::from_secs(3600));
}

impl ValueKind for StoreSyncMode {
    type Value = StoreSync;

    fn read(&self, raw: &RawValue<'_>) -> Option<StoreSync> {
        match raw.text()? {
            Self::BATCH => Some(StoreSync::Batch),
            Self::OS => Some(StoreSync::Os),
            _ => Some(StoreSync::Interval(Self::INTERVAL.read(raw)?)),
        }
    }

    fn write(&self, value: &StoreSync) -> String {
        match value {
            StoreSync::Interval(interval) => Self::INTERVAL.write(interval),
            StoreSync::Batch => quoted(Self::BATCH),
            StoreSync::Os => quoted(Self::OS),
        }
    }

    fn describe(&self) -> Description {
        let interval = Self::INTERVAL.describe();
        Description::new(
            format!("{}|{}|{}", interval.value_name, Self::BATCH, Self::OS),
            format!(
                "{}, \"{}\" or \"{}\"",
                interval.expected,
                Self::BATCH,
                Self::OS
            ),
        )
    }
}
