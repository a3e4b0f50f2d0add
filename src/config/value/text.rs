//! Switches, names, paths and secrets: everything that is one word.

use std::path::PathBuf;

use tracing_subscriber::filter::{LevelFilter, Targets};

use super::kind::{Arity, Description, ValueKind, read_list, write_list};
use super::raw::{RawValue, quoted};
use crate::channel::{HistoryStorage, SlowPolicy};
use crate::config::model::{LogFormat, Secret};
use crate::settings::{DeniedPublish, NameCheck, OnDamage};

/// A switch: `true` or `false`.
pub(crate) struct Switch;

impl ValueKind for Switch {
    type Value = bool;

    fn read(&self, raw: &RawValue<'_>) -> Option<bool> {
        raw.boolean()
    }

    fn write(&self, value: &bool) -> String {
        value.to_string()
    }

    fn describe(&self) -> Description {
        Description::new("true|false", "true or false").takes(Arity::Switch)
    }
}

/// One of a few names.
pub(crate) struct OneOf<T: 'static>(pub(crate) &'static [(&'static str, T)]);

impl OneOf<SlowPolicy> {
    pub(crate) const SLOW_POLICY: Self = Self(&[
        ("disconnect", SlowPolicy::Disconnect),
        ("drop-oldest", SlowPolicy::DropOldest),
        ("backpressure", SlowPolicy::Backpressure),
    ]);
}

impl OneOf<NameCheck> {
    pub(crate) const NAME_CHECK: Self = Self(&[
        ("off", NameCheck::Off),
        ("channel", NameCheck::Channel),
        ("sender", NameCheck::Sender),
    ]);
}

impl OneOf<DeniedPublish> {
    pub(crate) const DENIED_PUBLISH: Self = Self(&[
        ("disconnect", DeniedPublish::Disconnect),
        ("ignore", DeniedPublish::Ignore),
    ]);
}

impl OneOf<HistoryStorage> {
    pub(crate) const HISTORY_STORAGE: Self = Self(&[
        ("memory", HistoryStorage::Memory),
        ("disk", HistoryStorage::Disk),
    ]);
}

impl OneOf<OnDamage> {
    pub(crate) const ON_DAMAGE: Self = Self(&[
        ("refuse", OnDamage::Refuse),
        ("set-aside", OnDamage::SetAside),
    ]);
}

impl OneOf<LogFormat> {
    pub(crate) const LOG_FORMAT: Self =
        Self(&[("human", LogFormat::Human), ("json", LogFormat::Json)]);
}

impl<T> OneOf<T> {
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }
}

impl<T: Copy + PartialEq + Sync> ValueKind for OneOf<T> {
    type Value = T;

    fn read(&self, raw: &RawValue<'_>) -> Option<T> {
        let text = raw.text()?;
        let found = self.0.iter().find(|(name, _)| *name == text)?;
        Some(found.1)
    }

    fn write(&self, value: &T) -> String {
        let found = self.0.iter().find(|(_, named)| named == value);
        quoted(found.map_or("", |(name, _)| name))
    }

    fn describe(&self) -> Description {
        let names: Vec<_> = self.names().map(quoted).collect();
        Description::new(
            self.names().collect::<Vec<_>>().join("|"),
            format!("one of {}", names.join(", ")),
        )
    }
}

/// A secret, which is never shown.
pub(crate) struct SecretText;

impl ValueKind for SecretText {
    type Value = Secret;

    fn read(&self, raw: &RawValue<'_>) -> Option<Secret> {
        let text = raw.text().filter(|text| !text.is_empty())?;
        Some(Secret(text.to_owned()))
    }

    fn write(&self, _: &Secret) -> String {
        quoted("<set>")
    }

    fn describe(&self) -> Description {
        Description::new("SECRET", "a string that is not empty").secret()
    }
}

/// The path of a file.
pub(crate) struct FilePath;

impl ValueKind for FilePath {
    type Value = PathBuf;

    fn read(&self, raw: &RawValue<'_>) -> Option<PathBuf> {
        let text = raw.text().filter(|text| !text.is_empty())?;
        Some(text.into())
    }

    fn write(&self, value: &PathBuf) -> String {
        quoted(value.display())
    }

    fn describe(&self) -> Description {
        Description::new("FILE", "the path of a file")
    }
}

/// The paths of files.
pub(crate) struct FilePaths;

impl ValueKind for FilePaths {
    type Value = Vec<PathBuf>;

    fn read(&self, raw: &RawValue<'_>) -> Option<Vec<PathBuf>> {
        read_list(raw, |item| FilePath.read(item))
    }

    fn write(&self, value: &Vec<PathBuf>) -> String {
        write_list(value.iter().map(|path| path.display()))
    }

    fn describe(&self) -> Description {
        Description::new("FILE", "the paths of files").takes(Arity::Many)
    }
}

/// A text of any kind that is not empty.
pub(crate) struct Text;

impl ValueKind for Text {
    type Value = String;

    fn read(&self, raw: &RawValue<'_>) -> Option<String> {
        let text = raw.text().filter(|text| !text.is_empty())?;
        Some(text.to_owned())
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }

    fn describe(&self) -> Description {
        Description::new("TEXT", "a string that is not empty")
    }
}

/// A name in the kernel's own list: letters, digits, `-` and `_`.
pub(crate) struct Name;

impl ValueKind for Name {
    type Value = String;

    fn read(&self, raw: &RawValue<'_>) -> Option<String> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let text = raw.text()?;
        (!text.is_empty() && text.chars().all(is_plain)).then(|| text.to_owned())
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }

    fn describe(&self) -> Description {
        Description::new("NAME", "a name such as \"cubic\"")
    }
}

/// The least level that is logged, or levels by module.
pub(crate) struct LogFilter;

impl ValueKind for LogFilter {
    type Value = String;

    fn read(&self, raw: &RawValue<'_>) -> Option<String> {
        let text = raw.text().filter(|text| !text.is_empty())?;
        // `Targets` takes a misspelt level for the name of a module.
        let is_directive = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
        let is_known = text.split(',').all(is_directive) && text.parse::<Targets>().is_ok();
        is_known.then(|| text.to_owned())
    }

    fn write(&self, value: &String) -> String {
        quoted(value)
    }

    fn describe(&self) -> Description {
        Description::new(
            "LEVEL",
            "error, warn, info, debug, trace or off, or levels by module as in \
             \"warn,mles::shard=debug\"",
        )
    }
}
