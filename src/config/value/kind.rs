//! The trait of all kinds of values.

use super::raw::{RawValue, quoted};

/// The number of values that an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    /// None: naming it means `true`.
    Switch,
    /// One.
    One,
    /// One or more.
    Many,
}

/// The values that an option takes, for help texts, messages and parsers of arguments.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    /// A placeholder for help texts.
    pub(crate) value_name: String,
    /// The allowed values in words, to follow "expected".
    pub(crate) expected: String,
    pub(crate) arity: Arity,
    /// Set for values that must not be shown.
    pub(crate) is_secret: bool,
}

impl Description {
    /// Describes an option with one value.
    pub(super) fn new(value_name: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            value_name: value_name.into(),
            expected: expected.into(),
            arity: Arity::One,
            is_secret: false,
        }
    }

    pub(super) fn takes(mut self, arity: Arity) -> Self {
        self.arity = arity;
        self
    }

    pub(super) fn secret(mut self) -> Self {
        self.is_secret = true;
        self
    }
}

/// A kind of value, which reads and writes values.
pub(crate) trait ValueKind: Sync {
    /// The type in the configuration.
    type Value: Clone + PartialEq;

    /// Reads a value and checks that it is in range.
    fn read(&self, raw: &RawValue<'_>) -> Option<Self::Value>;

    /// Writes a value as TOML; [`read`](Self::read) takes it back.
    fn write(&self, value: &Self::Value) -> String;

    /// Returns what was written in the place of a value, for messages: its type only if it is secret.
    fn found(&self, raw: &RawValue<'_>) -> String {
        if self.describe().is_secret {
            raw.kind().to_owned()
        } else {
            raw.to_string()
        }
    }

    /// Describes the values of this kind.
    fn describe(&self) -> Description;
}

/// Reads each item of a list, or the one value in its place.
pub(super) fn read_list<T>(
    raw: &RawValue<'_>,
    read: impl FnMut(&RawValue<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    raw.items().iter().map(read).collect()
}

/// Writes a list as TOML.
pub(super) fn write_list(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items
        .into_iter()
        .map(|item| quoted(item.to_string()))
        .collect();
    format!("[{}]", items.join(", "))
}
