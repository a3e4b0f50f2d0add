//! Arguments of the commands that work on reports that were kept.

use std::path::PathBuf;

use clap::Args;

use super::value::percent;
use super::{Cli, Command, invalid};
use crate::broker::Broker;
use crate::command::DiffCommand;
use crate::report::Terms;

/// Show a report that --json has kept again, and write it in the other formats
///
/// Tables go to the terminal, and --html, --csv, --hgrm and --json write what they do after a
/// measurement. The exit code is 0 whatever the runs came to, and 2 when the file is no report.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// A file that --json has written
    #[arg(value_name = "RESULTS.JSON")]
    pub(crate) results: PathBuf,
    /// Print a Markdown table for each scenario, and where mles is behind or ahead by more than rounds
    /// differ, to be put into a document
    #[arg(long)]
    pub(crate) markdown: bool,
}

/// Compare two reports that --json has kept, by scenario and broker
///
/// A figure got worse, and is a regression, when it changed for the worse by more than --threshold
/// AND the ranges of its rounds before and after do not overlap. It is noise when only the former
/// is so. With one round each, the threshold decides alone. Percentiles are those of all rounds'
/// times together, other figures medians of the rounds. Runs that do not count are left out; when
/// none counts any more, that is a regression.
///
/// Exit codes: 0 no regression, 1 at least one, 2 a file is no report or they have nothing in common.
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

impl Cli {
    /// Checks that the outputs that were given are for this command.
    ///
    /// # Errors
    /// The command has no use for one of them.
    pub(crate) fn check_outputs(&self) -> Result<(), clap::Error> {
        let interval_log = ("--interval-log", self.interval_log.is_some());
        let files = [
            ("--json", self.json.is_some()),
            ("--csv", self.csv.is_some()),
            ("--html", self.html.is_some()),
            ("--hgrm", self.hgrm.is_some()),
        ];
        let useless = match self.command {
            Command::Diff(_) => files
                .into_iter()
                .chain([interval_log])
                .find(|(_, given)| *given),
            Command::Render(_) => Some(interval_log).filter(|(_, given)| *given),
            _ => None,
        };
        match useless {
            Some((option, _)) => Err(invalid(&format!(
                "{option} has no meaning for this command"
            ))),
            None => Ok(()),
        }
    }
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
