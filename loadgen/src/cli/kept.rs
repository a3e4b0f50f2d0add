//! Arguments of the commands that work on reports that were kept.

use std::path::PathBuf;

use clap::Args;

use super::value::percent;
use crate::adapter::Broker;
use crate::command::Compared;
use crate::report::Terms;

#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// A file that --json has written
    #[arg(value_name = "RESULTS.JSON")]
    pub(crate) results: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// What it is compared with, a file that --json has written
    #[arg(value_name = "BEFORE.JSON")]
    before: PathBuf,
    /// What is to be no worse, likewise
    #[arg(value_name = "AFTER.JSON")]
    after: PathBuf,
    /// By how much a figure may get worse
    #[arg(long, default_value_t = 10.0, value_parser = percent, value_name = "PERCENT")]
    threshold: f64,
    /// Only these scenarios, by their names in the reports, like latency-1000 [default: all]
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Only these brokers [default: all]
    #[arg(long, value_delimiter = ',')]
    brokers: Vec<Broker>,
}

impl DiffArgs {
    /// The command's settings.
    pub(crate) fn resolve(self) -> Compared {
        Compared {
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
