//! Arguments of the commands that work on reports that were kept.

use std::path::PathBuf;

use clap::Args;

use super::output::TimesFileArgs;
use super::value::percent;
use crate::broker::Broker;
use crate::command::DiffCommand;
use crate::report::Terms;

/// Show the results in a file that --json wrote, and convert them to other formats
///
/// The exit code is 0 whatever the results are, and 2 if the file has no results.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// File that --json wrote
    #[arg(value_name = "RESULTS.JSON")]
    pub(crate) results: PathBuf,
    /// Print a Markdown table for each scenario, and where mles is behind or ahead by more than rounds
    /// differ, to be put into a document
    #[arg(long)]
    pub(crate) markdown: bool,
    #[command(flatten)]
    pub(super) output: TimesFileArgs,
}

/// Compare the results in two files that --json wrote, and find regressions
///
/// A figure is a regression if it got worse by more than --threshold AND the ranges of its rounds
/// before and after do not overlap. If they do overlap, it is noise. With one round each, the
/// threshold alone decides. Percentiles are those of all rounds together, other figures are medians of
/// the rounds. Runs that do not count are left out; if no run counts any more, that is a regression.
///
/// Exit codes: 0 no regression, 1 at least one regression, 2 a file has no results or the files have
/// nothing in common.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// File that --json wrote: the results to compare with
    #[arg(value_name = "BEFORE.JSON")]
    before: PathBuf,
    /// File that --json wrote: the results that should be no worse
    #[arg(value_name = "AFTER.JSON")]
    after: PathBuf,
    /// Percentage by which a figure may get worse
    #[arg(long, default_value_t = 10.0, value_parser = percent, value_name = "PERCENT")]
    threshold: f64,
    /// Scenarios to compare, by their names in the files, such as latency-1000 [default: all]
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Brokers to compare [default: all]
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<Broker>,
}

impl DiffArgs {
    pub(crate) fn resolve(self) -> DiffCommand {
        DiffCommand {
            before: self.before,
            after: self.after,
            terms: Terms {
                threshold: self.threshold,
                scenarios: self.scenario,
                brokers: self.brokers,
            },
        }
    }
}
