//! Configuration: a TOML file, the environment and options become checked [`Settings`].
//!
//! [`OPTIONS`] is the one list of what can be set. Key in the file, environment variable and option
//! are all made from an option's name (`max_frame` in `[limits]`, `MLES_MAX_FRAME`,
//! `--max-frame`), and all three are read by the same code, so they cannot differ in what they
//! accept.
//!
//! Invariants: a later layer wins (file, then environment, then options); a value that is not
//! understood, and a key that is not known, is an error wherever it stands, even if a later layer
//! would replace it; what leaves this module as [`Resolved`] has been checked as a whole. All
//! errors of one start are reported together, each with its place.
//!
//! This module must not start anything, write anything, or show a secret.

mod access;
mod assignment;
mod changes;
mod check;
mod env;
mod error;
mod file;
mod fleet;
mod key;
mod listeners;
mod model;
mod option;
mod origin;
mod print;
mod report;
mod resolve;
mod table;
#[cfg(test)]
mod tests;
mod token_keys;
mod value;

pub(crate) use changes::compare;
pub(crate) use env::Environment;
pub(crate) use error::Problem;
pub(crate) use key::KeySources;
pub(crate) use model::{Config, LogFormat, LogSettings, Secret};
#[cfg(test)]
pub(crate) use option::Applies;
pub(crate) use option::Opt;
#[cfg(test)]
pub(crate) use option::Section;
pub(crate) use origin::{ValueOrigin, ValueOrigins};
pub(crate) use print::AsToml;
pub(crate) use resolve::{Resolved, Sources, resolve};
pub(crate) use table::OPTIONS;
pub(crate) use value::{Arity, RawValue};

pub(crate) use crate::protocol::DEFAULT_PORT;
