//! Failures of client commands, in words and as exit codes.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::exit;
use super::output::{cannot_write, has_reader_gone, say};
use crate::client::Error;
use crate::escape::escape_for_terminal;

/// The code with which a server closes what has shown a wrong key, or a token that is not good.
pub(super) const WRONG_PROOF: u16 = 4401;
/// The code with which a server closes what has no right to what it does.
pub(super) const NO_RIGHT: u16 = 4403;
/// The code with which a server closes what wants a place that is taken.
pub(super) const TAKEN: u16 = 4409;

/// A client command that did not end well.
#[derive(Debug)]
pub(crate) enum CommandFailure {
    /// The user's mistake, which trying again does not mend.
    Usage(String),
    /// The session failed.
    Session(Error),
    /// The server closed the session.
    ClosedByServer,
    /// The server refused the join, or a right is missing; the reason in words.
    Refused(String),
    /// The time was over before all messages had come that were asked for.
    TimedOut {
        limit: Duration,
        received: u64,
        count: u64,
    },
    /// The session ended before all messages were confirmed.
    Unconfirmed {
        cause: Box<CommandFailure>,
        confirmed: u64,
        sent: u64,
    },
    /// Reading the standard input failed.
    Input(io::Error),
    /// Reading a file failed.
    File(PathBuf, io::Error),
    /// Writing to the standard output failed.
    Output(io::Error),
}

impl CommandFailure {
    const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Session(Error::Address(_) | Error::Message(_)) => exit::USAGE,
            Self::Session(
                Error::Refused { .. }
                | Error::Denied { .. }
                | Error::Ended {
                    code: WRONG_PROOF | NO_RIGHT,
                    ..
                },
            )
            | Self::Refused(_) => exit::REFUSED,
            Self::TimedOut { .. } => exit::TIMED_OUT,
            Self::Session(_)
            | Self::ClosedByServer
            | Self::Unconfirmed { .. }
            | Self::Input(_)
            | Self::File(..)
            | Self::Output(_) => exit::FAILED,
        }
    }
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) | Self::Refused(text) => f.write_str(text),
            Self::TimedOut {
                limit,
                received,
                count,
            } => write!(
                f,
                "timed out after {} with {received} of {count} message{}",
                humantime::format_duration(*limit),
                if *count == 1 { "" } else { "s" }
            ),
            Self::Session(error) => f.write_str(&explained(error)),
            Self::ClosedByServer => f.write_str("the server closed the connection"),
            Self::Unconfirmed {
                cause,
                confirmed,
                sent,
            } => write!(
                f,
                "{cause}; {confirmed} of {sent} message{} confirmed, the rest may have been published or not",
                if *sent == 1 { " was" } else { "s were" }
            ),
            Self::Input(error) => write!(f, "cannot read standard input: {error}"),
            Self::File(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Output(error) => f.write_str(&cannot_write(error)),
        }
    }
}

impl From<Error> for CommandFailure {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

/// Returns an error of a session in words, with what to do about it where that is likely.
pub(crate) fn explained(error: &Error) -> String {
    match error {
        Error::Connect { server, source } if source.kind() == io::ErrorKind::ConnectionRefused => {
            format!(
                "cannot connect to {server}: connection refused (is `mles serve` running there?)"
            )
        }
        // What a server says is not for a terminal as it comes.
        Error::Denied { reason, .. } => {
            format!("join refused: {}", escape_for_terminal(reason.as_bytes()))
        }
        Error::Ended { reason, .. } => format!(
            "the server ended the session: {}",
            escape_for_terminal(reason.as_bytes())
        ),
        Error::Closed => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// Says on standard error what went wrong, and returns the exit code.
pub(crate) fn exit_code(result: Result<(), CommandFailure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandFailure::Output(error)) if has_reader_gone(&error) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("mles: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}
