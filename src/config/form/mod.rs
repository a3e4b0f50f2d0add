//! How values are written, and what of [`Config`] they set.
//!
//! A [`Form`] knows how one kind of value is read and written; a [`Field`] binds a form to a place
//! in the configuration. Forms hold the allowed range, so whatever reads a value has checked it.

mod given;
mod listen;
mod number;
mod server;
mod word;

use std::fmt;

use super::Config;

pub(crate) use given::Given;
pub(super) use listen::{Addresses, Kinds, Networks, WebOrigins};
pub(super) use number::{Count, Size, Time};
pub(super) use server::{ConnectionId, Servers};
pub(super) use word::{File, Filter, Hidden, Name, OneOf, Switch};

/// How many values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    /// None: naming it means `true`.
    Switch,
    /// One.
    One,
    /// One or more.
    Many,
}

/// A value was not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// What was found instead.
    pub(crate) found: String,
}

/// How one kind of value is read and written.
pub(super) trait Form: Sync {
    /// What it becomes.
    type Value;

    /// Reads a value and checks that it is in range.
    fn read(&self, given: &Given<'_>) -> Option<Self::Value>;

    /// Writes a value as TOML; [`read`](Self::read) takes it back.
    fn write(&self, value: &Self::Value) -> String;

    /// What is allowed, to follow "expected".
    fn expected(&self) -> String;

    /// A placeholder for help texts.
    fn value_name(&self) -> String;

    fn arity(&self) -> Arity {
        Arity::One
    }

    /// Whether values may be shown.
    fn is_secret(&self) -> bool {
        false
    }
}

/// A place in the configuration.
pub(super) struct Place<T> {
    pub(super) get: fn(&Config) -> &T,
    pub(super) get_mut: fn(&mut Config) -> &mut T,
}

/// Something that can be set, whatever its type.
pub(crate) trait Field: Sync {
    /// Sets it.
    fn set(&self, config: &mut Config, given: &Given<'_>) -> Result<(), Refused>;

    /// Its value as TOML; `None` while it is not set.
    fn show(&self, config: &Config) -> Option<String>;

    /// What is allowed, to follow "expected".
    fn expected(&self) -> String;

    /// A placeholder for help texts.
    fn value_name(&self) -> String;

    /// How many values the option takes.
    fn arity(&self) -> Arity;

    /// Whether values may be shown.
    fn is_secret(&self) -> bool;
}

/// A field that always has a value.
pub(super) struct Always<F: Form> {
    pub(super) place: Place<F::Value>,
    pub(super) form: F,
}

/// A field that may have no value, which a word may stand for.
pub(super) struct Optional<F: Form> {
    pub(super) place: Place<Option<F::Value>>,
    pub(super) form: F,
    pub(super) word: Option<&'static str>,
}

fn read<F: Form>(form: &F, given: &Given<'_>) -> Result<F::Value, Refused> {
    let found = || {
        if form.is_secret() {
            given.kind().to_owned()
        } else {
            given.to_string()
        }
    };
    form.read(given).ok_or_else(|| Refused { found: found() })
}

/// What all fields take over from their form.
macro_rules! as_the_form_says {
    () => {
        fn value_name(&self) -> String {
            self.form.value_name()
        }

        fn arity(&self) -> Arity {
            self.form.arity()
        }

        fn is_secret(&self) -> bool {
            self.form.is_secret()
        }
    };
}

impl<F: Form> Field for Always<F> {
    fn set(&self, config: &mut Config, given: &Given<'_>) -> Result<(), Refused> {
        *(self.place.get_mut)(config) = read(&self.form, given)?;
        Ok(())
    }

    fn show(&self, config: &Config) -> Option<String> {
        Some(self.form.write((self.place.get)(config)))
    }

    fn expected(&self) -> String {
        self.form.expected()
    }

    as_the_form_says!();
}

impl<F: Form> Field for Optional<F> {
    fn set(&self, config: &mut Config, given: &Given<'_>) -> Result<(), Refused> {
        let is_word = self.word.is_some() && given.text() == self.word;
        let value = if is_word {
            None
        } else {
            Some(read(&self.form, given)?)
        };
        *(self.place.get_mut)(config) = value;
        Ok(())
    }

    fn show(&self, config: &Config) -> Option<String> {
        let value = (self.place.get)(config).as_ref();
        let written = value.map(|value| self.form.write(value));
        written.or_else(|| self.word.map(quoted))
    }

    fn expected(&self) -> String {
        let expected = self.form.expected();
        match self.word {
            Some(word) => format!("{expected}, or \"{word}\""),
            None => expected,
        }
    }

    as_the_form_says!();
}

/// A TOML basic string.
pub(super) fn quoted(text: impl fmt::Display) -> String {
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
