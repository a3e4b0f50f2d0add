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

/// A kind of value, which reads and writes values.
pub(crate) trait ValueKind: Sync {
    /// The type in the configuration.
    type Value;

    /// Reads a value and checks that it is in range.
    fn read(&self, raw: &RawValue<'_>) -> Option<Self::Value>;

    /// Writes a value as TOML; [`read`](Self::read) takes it back.
    fn write(&self, value: &Self::Value) -> String;

    /// Says in words what is allowed, to follow "expected".
    fn expected(&self) -> String;

    /// Returns a placeholder for help texts.
    fn value_name(&self) -> String;

    /// Returns how many values an option of this kind takes.
    fn arity(&self) -> Arity {
        Arity::One
    }

    /// Returns `true` if values must not be shown.
    fn is_secret(&self) -> bool {
        false
    }
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
