//! The report of what does not fit together in a configuration.

use super::error::{Fault, Problem};
use super::origin::ValueOrigins;

/// Collects faults, each with the place where it could be mended.
pub(super) struct Report<'a> {
    pub(super) origins: &'a ValueOrigins,
    pub(super) problems: &'a mut Vec<Problem>,
}

impl Report<'_> {
    /// Adds a fault that one of the options `names` could mend.
    pub(super) fn add(&mut self, names: &[&str], fault: Fault) {
        self.problems.push(Problem {
            origin: self.origins.last_of(names),
            fault,
        });
    }

    /// Adds a fault if one of a certificate and its private key is set, and the other is not. Each
    /// stands beside its key in `section`.
    pub(super) fn check_pair<T>(
        &mut self,
        section: &'static str,
        [cert, key]: [(&'static str, &Option<T>); 2],
    ) {
        let (set, missing) = match (cert.1, key.1) {
            (Some(_), None) => (cert.0, key.0),
            (None, Some(_)) => (key.0, cert.0),
            _ => return,
        };
        let fault = Fault::HalfAPair {
            section,
            set,
            missing,
        };
        self.add(&[&format!("{section}_{set}")], fault);
    }
}
