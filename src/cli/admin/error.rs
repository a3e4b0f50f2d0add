//! Why a running server could not be asked, in one line.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use http::StatusCode;
use thiserror::Error;

use crate::cli::exit;
use crate::cli::output::say;
use crate::escape::escape_for_terminal;

/// Shown at the end of the help of the commands that ask a running server.
pub(in crate::cli) const ADMIN_EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the server cannot be asked, or says no
  2  wrong arguments";

/// A question to an admin listener that has no answer.
#[derive(Debug, Error)]
pub(in crate::cli) enum AdminError {
    /// The place of the listener is not written as one.
    #[error("{value:?} is not an admin listener: {reason}")]
    Address { value: String, reason: &'static str },
    /// The environment says something that is not text.
    #[error("{0}")]
    Environment(String),
    /// The file with the token cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    TokenFile { path: PathBuf, source: io::Error },
    /// The file with the token has none.
    #[error("{} does not hold a token: one line of printable characters is expected", .0.display())]
    NoToken(PathBuf),
    /// The command itself cannot go on.
    #[error("cannot start: {0}")]
    Start(#[source] io::Error),
    /// Nobody takes the connection.
    #[error(
        "cannot connect to the admin listener at {place}: {}",
        connect_reason(source)
    )]
    Connect { place: String, source: io::Error },
    /// The answer does not come.
    #[error("the admin listener at {0} does not answer")]
    TimedOut(String),
    /// Somebody else listens there.
    #[error("{0} is not the admin listener of an mles server")]
    Foreign(String),
    /// The answer is JSON, but not what this version of the program asks for.
    #[error("the server at {place} answers what this version of mles does not know: {source}")]
    Unknown {
        place: String,
        source: serde_json::Error,
    },
    /// No token was shown, or a wrong one.
    #[error("the admin listener at {place} wants a token: {}", token_reason(*is_shown))]
    Token { place: String, is_shown: bool },
    /// The server says no.
    #[error("{}", escape_for_terminal(detail.as_bytes()))]
    Refused { status: StatusCode, detail: String },
}

impl AdminError {
    const fn code(&self) -> u8 {
        match self {
            Self::Address { .. } | Self::Environment(_) => exit::USAGE,
            _ => exit::FAILED,
        }
    }
}

fn connect_reason(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::ConnectionRefused => {
            "connection refused (is `mles serve --admin` running there?)".to_owned()
        }
        _ => source.to_string(),
    }
}

const fn token_reason(is_shown: bool) -> &'static str {
    if is_shown {
        "the one that was shown is wrong"
    } else {
        "use --admin-token-file"
    }
}

/// Says on standard error what went wrong, and returns the exit code.
pub(in crate::cli) fn admin_exit_code(error: &AdminError) -> ExitCode {
    say(format_args!("mles: {error}"));
    ExitCode::from(error.code())
}
