//! `loadgen diff`: two reports that were kept, beside each other.

use std::path::PathBuf;

use thiserror::Error;

use crate::report::{Diff, DiffError, ReadError, Report, Terms};

/// Which reports, and what counts as a change.
#[derive(Debug)]
pub(crate) struct DiffCommand {
    pub(crate) before: PathBuf,
    pub(crate) after: PathBuf,
    pub(crate) terms: Terms,
}

/// Two reports cannot be compared.
#[derive(Debug, Error)]
pub(crate) enum DiffCommandError {
    /// One of the reports cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// There is nothing to compare.
    #[error(transparent)]
    Diff(#[from] DiffError),
}

impl DiffCommand {
    /// Reads both and compares them.
    ///
    /// # Errors
    /// One of them cannot be read, or they have nothing in common.
    pub(crate) fn run(self) -> Result<Diff, DiffCommandError> {
        let (before, after) = (Report::read(&self.before)?, Report::read(&self.after)?);
        Ok(Diff::between(&before, &after, self.terms)?)
    }
}
