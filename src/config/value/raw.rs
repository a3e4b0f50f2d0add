//! A value as it was written, before anyone knows what it should be.

use std::fmt;

use toml::de::{DeInteger, DeValue};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RawValue<'a> {
    /// From an option or the environment: text that may mean a number.
    Word(&'a str),
    /// A string of the file.
    Text(&'a str),
    /// An integer that is not negative.
    Integer(u64),
    /// A boolean of the file.
    Bool(bool),
    /// A list of the file, or a repeated option.
    List(Vec<RawValue<'a>>),
    /// A value of the file that no option takes: its type in words, and how it is written.
    Other(&'static str, String),
}

impl<'a> RawValue<'a> {
    /// Creates the value of an option or a variable, from one word for each time it was given.
    pub(crate) fn words(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut words: Vec<_> = words.into_iter().map(RawValue::Word).collect();
        match words.len() {
            1 => words.swap_remove(0),
            _ => Self::List(words),
        }
    }

    /// Returns the text, of whatever source.
    pub(crate) const fn text(&self) -> Option<&'a str> {
        match self {
            Self::Word(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the integer, or what a word says as one.
    pub(super) fn integer(&self) -> Option<u64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Word(word) => word.parse().ok(),
            _ => None,
        }
    }

    /// Returns the boolean, or what a word says as one.
    pub(super) const fn boolean(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Word(word) => match word.as_bytes() {
                b"true" | b"1" => Some(true),
                b"false" | b"0" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns the items of a list, or the one value.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            one => std::slice::from_ref(one),
        }
    }

    /// Returns the type of value in words, for messages that must not show it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Word("") | Self::Text("") => "empty",
            Self::Word(_) | Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Bool(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Other(kind, _) => kind,
        }
    }
}

impl fmt::Display for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(text) | Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(value) => value.fmt(f),
            Self::Bool(value) => value.fmt(f),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", items.join(", "))
            }
            Self::Other(_, text) => f.write_str(text),
        }
    }
}

impl<'a> From<&'a DeValue<'a>> for RawValue<'a> {
    fn from(value: &'a DeValue<'a>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text),
            DeValue::Integer(number) => unsigned(number),
            DeValue::Float(number) => Self::Other("a float", number.to_string()),
            DeValue::Boolean(value) => Self::Bool(*value),
            DeValue::Datetime(when) => Self::Other("a date or time", when.to_string()),
            DeValue::Array(items) => {
                Self::List(items.iter().map(|item| item.get_ref().into()).collect())
            }
            DeValue::Table(_) => Self::Other("a table", "a table".to_owned()),
        }
    }
}

fn unsigned<'a>(number: &DeInteger<'_>) -> RawValue<'a> {
    let parsed = u64::from_str_radix(number.as_str(), number.radix());
    parsed.map_or_else(
        |_| RawValue::Other("an integer", number.to_string()),
        RawValue::Integer,
    )
}

/// Returns `text` as a TOML basic string.
pub(in crate::config) fn quoted(text: impl fmt::Display) -> String {
    let text = text.to_string();
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
