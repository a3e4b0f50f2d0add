//! Failures of client commands, in words and as exit codes.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::exit;
use super::output::{cannot_write, has_reader_gone, say};
use crate::client::Error;

/// Shown above the exit codes in the long help.
pub(crate) const REFUSALS: &str = "\
The log of the server says why it refuses a join. Likely causes: a wrong or missing key; another live
session on the channel with the same connection id (the same --uid joined twice: see --random-cid); an
address key while the server sees another address than this host has (NAT, proxy, container); a limit
of the server on connections, channels or lengths of names.";

/// A client command that did not end well.
#[derive(Debug)]
pub(crate) enum CommandFailure {
    /// The user's mistake, which trying again does not mend.
    Usage(String),
    /// The session failed.
    Session(Error),
    /// The server closed the session.
    ClosedByServer,
    /// Reading the standard input failed.
    Input(io::Error),
    /// Writing to the standard output failed.
    Output(io::Error),
}

impl CommandFailure {
    const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Session(Error::Address(_) | Error::Message(_)) => exit::USAGE,
            Self::Session(Error::Refused { .. }) => exit::REFUSED,
            Self::Session(_) | Self::ClosedByServer | Self::Input(_) | Self::Output(_) => {
                exit::FAILED
            }
        }
    }
}

impl fmt::Display for CommandFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(text) => f.write_str(text),
            Self::Session(error) => f.write_str(&explained(error)),
            Self::ClosedByServer => f.write_str("the server closed the connection"),
            Self::Input(error) => write!(f, "cannot read standard input: {error}"),
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
        Error::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
            format!("{error} (is `mles serve` running there?)")
        }
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
