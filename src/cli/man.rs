//! `mles man`: the manual pages, made from the help texts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::Man;
use thiserror::Error;

use super::exit;
use super::output::{print, printed, say};

/// Print a manual page, or write all of them to a directory
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  mles man | man -l -
  mles man sub | man -l -
  mles man --out /usr/local/share/man/man1

Exit codes:
  0  done
  1  a page cannot be written
  2  wrong arguments")]
pub(super) struct ManArgs {
    /// Command whose page to print [default: the page of mles itself]
    #[arg(value_name = "COMMAND")]
    page: Option<String>,

    /// Write all pages (mles.1, mles-pub.1, ...) to this directory, which is created if missing
    #[arg(long, value_name = "DIR", conflicts_with = "page")]
    out: Option<PathBuf>,
}

#[derive(Debug, Error)]
enum ManError {
    #[error("there is no command `{name}`; the commands are {known}")]
    UnknownCommand { name: String, known: String },
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Runs `mles man` for the program that `command` describes.
pub(super) fn run(args: &ManArgs, command: Command) -> ExitCode {
    let mut command = command.disable_help_subcommand(true);
    // Gives each subcommand its full name.
    command.build();
    let done = match &args.out {
        Some(folder) => write_all(&command, folder).map(|()| String::new()),
        None => page_of(&command, args.page.as_deref()).map(rendered),
    };
    match done {
        Ok(page) => printed(print(&page)),
        Err(error) => {
            say(format_args!("mles: {error}"));
            ExitCode::from(match error {
                ManError::UnknownCommand { .. } => exit::USAGE,
                ManError::Write { .. } => exit::FAILED,
            })
        }
    }
}

/// Returns the command that a page is asked of.
fn page_of<'a>(command: &'a Command, name: Option<&str>) -> Result<&'a Command, ManError> {
    let Some(name) = name else {
        return Ok(command);
    };
    command.find_subcommand(name).ok_or_else(|| {
        let known: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        ManError::UnknownCommand {
            name: name.to_owned(),
            known: known.join(", "),
        }
    })
}

/// Returns a page. What stands after the options in the help becomes sections of their own: clap_mangen
/// would run the lines of examples and tables together.
fn rendered(command: &Command) -> String {
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
        .map(ToString::to_string);
    let man = Man::new(command.clone().after_help("").after_long_help(""));
    let mut page = Vec::new();
    // Writing to a Vec does not fail.
    let _ = man.render(&mut page);
    let mut page = String::from_utf8_lossy(&page).into_owned();
    page.push_str(&sections(&after.unwrap_or_default()));
    page
}

fn sections(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter(|text| !text.is_empty());
    paragraphs.map(section).collect()
}

/// Returns a paragraph of the help in the form of a manual page. One whose first line ends with a colon is
/// a list of lines under a heading.
fn section(text: &str) -> String {
    let lines = |text: &str| {
        let line = |line: &str| format!("{}\n", escaped(line.strip_prefix("  ").unwrap_or(line)));
        text.lines().map(line).collect::<String>()
    };
    match text.split_once(":\n") {
        Some((heading, list)) if !heading.contains('\n') => format!(
            ".SH {}\n.nf\n{}.fi\n",
            escaped(&heading.to_uppercase()),
            lines(list)
        ),
        _ => format!(".SH NOTES\n{}", lines(text)),
    }
}

/// Returns a line that roff shows as it is.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) {
        format!("\\&{line}")
    } else {
        line
    }
}

fn write_all(command: &Command, folder: &Path) -> Result<(), ManError> {
    let failed = |path: &Path, source| ManError::Write {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
    let inner = command.get_subcommands();
    let inner = inner.flat_map(|command| command.get_subcommands().chain([command]));
    for command in inner.chain([command]) {
        let name = command
            .get_display_name()
            .unwrap_or_else(|| command.get_name());
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, rendered(command)).map_err(|source| failed(&path, source))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_help_stay_lines_and_mean_nothing_to_roff() {
        assert_eq!(
            section("Exit codes:\n  0  done\n  .x\\n"),
            ".SH EXIT CODES\n.nf\n0  done\n\\&.x\\en\n.fi\n"
        );
        assert_eq!(
            section("With --json: an object.\n"),
            ".SH NOTES\nWith \\-\\-json: an object.\n"
        );
        assert_eq!(sections(""), "");
    }
}
