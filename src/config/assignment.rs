//! One value for one option, and the place that says so.

use super::error::{Fault, Problem};
use super::model::Config;
use super::option::Opt;
use super::origin::ValueOrigin;
use super::value::{InvalidValue, RawValue};

/// One value for one option.
pub(super) struct Assignment<'a> {
    pub(super) opt: &'static Opt,
    pub(super) raw: RawValue<'a>,
    pub(super) origin: ValueOrigin,
}

impl Assignment<'_> {
    /// Sets the option's field.
    ///
    /// # Errors
    ///
    /// When the value is not one that the option takes.
    pub(super) fn apply(&self, config: &mut Config) -> Result<(), Problem> {
        let result = self.opt.field.set(config, &self.raw);
        result.map_err(|InvalidValue { found }| Problem {
            origin: self.origin.clone(),
            fault: Fault::Value {
                key: self.opt.key(),
                found,
                expected: self.opt.field.describe().expected,
            },
        })
    }
}
