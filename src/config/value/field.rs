//! A kind of value at a place in the configuration.

use super::kind::{Description, ValueKind};
use super::raw::{RawValue, quoted};
use crate::config::model::Config;

/// A value that is not what its option takes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidValue {
    /// The value as it was written; its kind only if it is a secret.
    pub(crate) found: String,
}

/// The way to one field of the configuration.
pub(in crate::config) struct Accessor<T> {
    pub(in crate::config) get: fn(&Config) -> &T,
    pub(in crate::config) get_mut: fn(&mut Config) -> &mut T,
}

/// Something that can be set, whatever its type.
pub(crate) trait Field: Sync {
    /// Sets it.
    ///
    /// # Errors
    ///
    /// When the value is not understood or out of range.
    fn set(&self, config: &mut Config, raw: &RawValue<'_>) -> Result<(), InvalidValue>;

    /// Returns its value as TOML; `None` while it is not set.
    fn show(&self, config: &Config) -> Option<String>;

    /// Returns `true` if two configurations have the same value here.
    fn is_same(&self, a: &Config, b: &Config) -> bool;

    /// Gives one configuration the value of another.
    fn copy(&self, from: &Config, to: &mut Config);

    /// Describes the values that it takes.
    fn describe(&self) -> Description;
}

/// A field that always has a value.
pub(in crate::config) struct Always<K: ValueKind> {
    pub(in crate::config) place: Accessor<K::Value>,
    pub(in crate::config) kind: K,
}

/// A field that may have no value, which a word may stand for.
pub(in crate::config) struct Optional<K: ValueKind> {
    pub(in crate::config) place: Accessor<Option<K::Value>>,
    pub(in crate::config) kind: K,
    pub(in crate::config) word: Option<&'static str>,
}

fn read<K: ValueKind>(kind: &K, raw: &RawValue<'_>) -> Result<K::Value, InvalidValue> {
    kind.read(raw).ok_or_else(|| InvalidValue {
        found: kind.found(raw),
    })
}

impl<K: ValueKind> Field for Always<K> {
    fn set(&self, config: &mut Config, raw: &RawValue<'_>) -> Result<(), InvalidValue> {
        *(self.place.get_mut)(config) = read(&self.kind, raw)?;
        Ok(())
    }

    fn show(&self, config: &Config) -> Option<String> {
        Some(self.kind.write((self.place.get)(config)))
    }

    fn is_same(&self, a: &Config, b: &Config) -> bool {
        (self.place.get)(a) == (self.place.get)(b)
    }

    fn copy(&self, from: &Config, to: &mut Config) {
        (self.place.get_mut)(to).clone_from((self.place.get)(from));
    }

    fn describe(&self) -> Description {
        self.kind.describe()
    }
}

impl<K: ValueKind> Field for Optional<K> {
    fn set(&self, config: &mut Config, raw: &RawValue<'_>) -> Result<(), InvalidValue> {
        let is_word = self.word.is_some() && raw.text() == self.word;
        let value = if is_word {
            None
        } else {
            Some(read(&self.kind, raw)?)
        };
        *(self.place.get_mut)(config) = value;
        Ok(())
    }

    fn show(&self, config: &Config) -> Option<String> {
        let value = (self.place.get)(config).as_ref();
        let written = value.map(|value| self.kind.write(value));
        written.or_else(|| self.word.map(quoted))
    }

    fn is_same(&self, a: &Config, b: &Config) -> bool {
        (self.place.get)(a) == (self.place.get)(b)
    }

    fn copy(&self, from: &Config, to: &mut Config) {
        (self.place.get_mut)(to).clone_from((self.place.get)(from));
    }

    fn describe(&self) -> Description {
        let mut description = self.kind.describe();
        if let Some(word) = self.word {
            description.expected += &format!(", or \"{word}\"");
        }
        description
    }
}
