//! The environment as a layer of the configuration.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::assignment::Assignment;
use super::error::{Fault, Problem};
use super::option::Opt;
use super::origin::ValueOrigin;
use super::table::OPTIONS;
use super::value::{Arity, RawValue};

const PREFIX: &str = "MLES_";

/// The variable in which systemd names the directories for the state of a service, one for each name in its unit.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// A name that differs from a known one by at most one edit for this many characters is taken for
/// a slip of the finger. Short names differ by less from each other (`UID` and `PIN`).
const CHARS_PER_SLIP: usize = 4;

/// The variables whose names begin with `MLES_`, and that of the state directory. An empty one counts as not set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// Reads the environment of this process.
    pub(crate) fn of_process() -> Self {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Self::new(std::env::vars_os().filter_map(text))
    }

    pub(crate) fn new(variables: impl IntoIterator<Item = (String, OsString)>) -> Self {
        let is_known = |name: &str| name.starts_with(PREFIX) || name == STATE_DIRECTORY;
        let is_ours = |(name, value): &(String, OsString)| is_known(name) && !value.is_empty();
        Self(variables.into_iter().filter(is_ours).collect())
    }

    /// Returns the value of the variable `name`, whatever it is.
    pub(crate) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(name)
    }

    /// Returns the directory that a service manager has made for the state of this service, if it has.
    pub(super) fn state_directory(&self) -> Option<PathBuf> {
        std::env::split_paths(self.get(STATE_DIRECTORY)?).next()
    }

    /// Returns the text of the variable `name`, and the place to name in messages about it.
    ///
    /// # Errors
    ///
    /// When it is not UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<Option<(&str, ValueOrigin)>, Problem> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let origin = ValueOrigin::Env(name.to_owned());
        match value.to_str() {
            Some(text) => Ok(Some((text, origin))),
            None => Err(Problem {
                origin,
                fault: Fault::NotText,
            }),
        }
    }

    /// Returns what it sets; adds what cannot be read to `problems`.
    pub(super) fn assignments(&self, problems: &mut Vec<Problem>) -> Vec<Assignment<'_>> {
        let mut assignments = Vec::new();
        for opt in OPTIONS {
            match self.text(&opt.env()) {
                Ok(Some((text, origin))) => assignments.push(Assignment {
                    opt,
                    raw: raw_value(opt, text),
                    origin,
                }),
                Ok(None) => {}
                Err(problem) => problems.push(problem),
            }
        }
        assignments
    }

    /// Returns a warning for each variable that looks misspelt. Unknown ones are not errors: other programs
    /// and other commands may use the prefix.
    pub(super) fn warnings(&self) -> Vec<String> {
        let known: Vec<_> = OPTIONS.iter().map(Opt::env).collect();
        let slip = |name: &String| {
            let slips = (name.len() - PREFIX.len()) / CHARS_PER_SLIP;
            let meant = known
                .iter()
                .find(|known| strsim::damerau_levenshtein(known, name) <= slips)?;
            Some(format!("{name} is not read; did you mean {meant}?"))
        };
        let ours = self.0.keys().filter(|name| name.starts_with(PREFIX));
        let unknown = ours.filter(|name| !known.contains(name));
        unknown.filter_map(slip).collect()
    }
}

/// Takes the text of a variable apart: lists are written with commas.
fn raw_value<'a>(opt: &Opt, text: &'a str) -> RawValue<'a> {
    match opt.field.describe().arity {
        Arity::Many => RawValue::words(text.split(',').map(str::trim)),
        Arity::Switch | Arity::One => RawValue::Word(text),
    }
}
