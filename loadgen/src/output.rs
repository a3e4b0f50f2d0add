//! The one way out: what the user asked for to standard output, what is going on to standard error.
//!
//! Nothing in here panics when it cannot be written, as the macros of the standard library do.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes to standard output. A reader who has seen enough, like `head`, is no reason to fail.
///
/// # Errors
/// Those of writing.
pub(crate) fn print(words: &dyn Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match write!(out, "{words}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Writes one line to standard error. If that fails there is nobody left to tell.
pub(crate) fn say(line: impl Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}
