//! Why a client's command did not end well, in words and as an exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use super::output::{cannot_write, has_reader_gone, say};
use crate::client::Error;

/// Shown at the end of the help of every client command.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0         done, or nobody reads the output any more
  1         the server cannot be reached, was stopped or lost, or reading or writing failed
  2         wrong arguments, or a message too large
  3         the server refused the join
  130, 143  ended by SIGINT (Ctrl-C) or SIGTERM";

/// Shown above the exit codes in the long help.
pub(crate) const REFUSALS: &str = "\
The log of the server says why it refuses a join. Likely causes: a wrong or missing key; another live
session on the channel with the same connection id (the same --uid joined twice: see --random-cid); an
address key while the server sees another address than this host has (NAT, proxy, container); a limit
of the server on connections, channels or lengths of names.";

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
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

impl Failure {
    const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Session(Error::Address(_) | Error::Message(_)) => 2,
            Self::Session(Error::Refused { .. }) => 3,
            Self::Session(_) | Self::ClosedByServer | Self::Input(_) | Self::Output(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
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

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Session(error)
    }
}

/// An error of a session, with what to do about it where that is likely.
pub(crate) fn explained(error: &Error) -> String {
    match error {
        Error::Connect { source, .. } if source.kind() == io::ErrorKind::ConnectionRefused => {
            format!("{error} (is `mles serve` running there?)")
        }
        Error::Closed => "the server closed the connection".to_owned(),
        _ => error.to_string(),
    }
}

/// Says on stderr what went wrong, and gives the exit code.
pub(crate) fn exit_code(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(error)) if has_reader_gone(&error) => ExitCode::SUCCESS,
        Err(failure) => {
            say(format_args!("mles: {failure}"));
            ExitCode::from(failure.code())
        }
    }
}
