//! Options that say where the figures go besides the terminal, and which losses are no failure. Each
//! command takes those that it can fill.

use std::path::PathBuf;

use clap::Args;

use super::{Command, invalid};
use crate::report::Paths;
use crate::scenario::Load;

/// Files for what every measurement has.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct FileArgs {
    /// Write every run and a description of the machine to this file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the figures to this file, as CSV with one line per run
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a report to this file: one HTML page with a summary, plots and tables
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Files of commands that measure times.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct TimesFileArgs {
    #[command(flatten)]
    files: FileArgs,
    /// Write the percentiles of all times to this directory, as HdrHistogram files
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

/// Files of commands that record latencies second by second.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(super) struct CourseFileArgs {
    #[command(flatten)]
    times: TimesFileArgs,
    /// Write the latencies of each second to this file, as a HdrHistogram interval log
    #[arg(long, value_name = "FILE")]
    interval_log: Option<PathBuf>,
}

/// What happens when messages are lost.
#[derive(Debug, Args)]
#[command(next_help_heading = "Validity")]
pub(super) struct LossArgs {
    /// Count lost, duplicated and reordered messages without failing because of them
    #[arg(long)]
    allow_loss: bool,
}

/// Where the results of a command go besides the terminal.
#[derive(Clone, Debug, Default)]
pub(crate) struct OutputPaths {
    pub(crate) report: Paths,
    pub(crate) interval_log: Option<PathBuf>,
}

impl FileArgs {
    fn paths(&self) -> OutputPaths {
        OutputPaths {
            report: Paths {
                json: self.json.clone(),
                csv: self.csv.clone(),
                html: self.html.clone(),
                hgrm: None,
            },
            interval_log: None,
        }
    }
}

impl TimesFileArgs {
    fn paths(&self) -> OutputPaths {
        let mut paths = self.files.paths();
        paths.report.hgrm = self.hgrm.clone();
        paths
    }
}

impl CourseFileArgs {
    pub(super) fn paths(&self) -> OutputPaths {
        OutputPaths {
            interval_log: self.interval_log.clone(),
            ..self.times.paths()
        }
    }
}

impl CourseFileArgs {
    /// Checks that some of `scenarios` fill the files.
    ///
    /// # Errors
    /// None of them measures what a file is about.
    pub(super) fn check(&self, scenarios: &[(String, Load)]) -> Result<(), clap::Error> {
        let loads = || scenarios.iter().map(|(_, load)| load);
        if self.interval_log.is_some() && !loads().any(|it| matches!(it, Load::Latency(_))) {
            return Err(invalid("--interval-log needs --scenario latency"));
        }
        let has_times = |load: &Load| !matches!(load, Load::Fanout(_) | Load::Idle(_));
        if self.times.hgrm.is_some() && !loads().any(has_times) {
            return Err(invalid(
                "--hgrm needs a scenario that measures times, such as latency",
            ));
        }
        Ok(())
    }
}

impl Command {
    /// Returns where the results of the command go besides the terminal.
    pub(crate) fn output_paths(&self) -> OutputPaths {
        match self {
            Self::Throughput(args) => args.output.paths(),
            Self::Idle(args) => args.output.paths(),
            Self::Seed(args) => args.output.paths(),
            Self::Publish(args) => args.output.paths(),
            Self::ReconnectStorm(args) => args.output.paths(),
            Self::ConnectStorm(args) => args.output.paths(),
            Self::HistoryJoin(args) => args.output.paths(),
            Self::SlowReader(args) => args.output.paths(),
            Self::Render(args) => args.output.paths(),
            Self::Compare(args) => args.output.paths(),
            Self::Latency(args) => args.output.paths(),
            Self::Sweep(args) => args.output.paths(),
            Self::Drain(_) | Self::Diff(_) | Self::Start(_) | Self::NullRelay(_) => {
                OutputPaths::default()
            }
        }
    }

    /// Returns `true` if lost, duplicated and reordered messages are no failure.
    pub(crate) fn allows_loss(&self) -> bool {
        let loss = match self {
            Self::Throughput(args) => &args.loss,
            Self::Seed(args) => &args.loss,
            Self::Publish(args) => &args.loss,
            Self::ReconnectStorm(args) => &args.loss,
            Self::ConnectStorm(args) => &args.loss,
            Self::HistoryJoin(args) => &args.loss,
            Self::SlowReader(args) => &args.loss,
            Self::Compare(args) => &args.loss,
            Self::Latency(args) => &args.loss,
            Self::Sweep(args) => &args.loss,
            Self::Idle(_) | Self::Drain(_) | Self::Render(_) | Self::Diff(_) => return false,
            Self::Start(_) | Self::NullRelay(_) => return false,
        };
        loss.allow_loss
    }
}
