//! The one way out: text to standard output and to standard error.
//!
//! Writing can fail at any time, because a reader has gone or a disk is full, and the macros of the
//! standard library panic then. Nothing in here does.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use super::exit;

/// The wait between two attempts on a descriptor that does not block.
const PAUSE: Duration = Duration::from_millis(5);

/// Writes to standard output what a command was asked for, all of it.
///
/// # Errors
///
/// Those of writing.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = Patient(io::stdout().lock());
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes one line to standard error, in one go. If that fails there is nobody left to tell.
pub(super) fn say(line: impl Display) {
    let _ = Patient(io::stderr().lock()).write_all(format!("{line}\n").as_bytes());
}

/// Returns the exit code of a command that has written its output, or says why it could not.
pub(super) fn printed(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if has_reader_gone(&error) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("mles: {}", cannot_write(&error)));
            ExitCode::from(exit::FAILED)
        }
    }
}

/// Returns `true` if nobody reads the output any more, like behind `| head`: they have seen enough,
/// which is no failure.
pub(super) fn has_reader_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Returns an error of writing to standard output in words.
pub(super) fn cannot_write(error: &io::Error) -> String {
    format!("cannot write to standard output: {error}")
}

/// A writer that waits for room where the system does not: another program can have made a shared
/// terminal or pipe non-blocking.
#[derive(Debug)]
pub(super) struct Patient<W>(pub(super) W);

impl<W: Write> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        patiently(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        patiently(|| self.0.flush())
    }
}

fn patiently<T>(mut step: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match step() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(PAUSE),
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_that_does_not_block_is_waited_for() {
        struct Busy(u8);
        impl Write for Busy {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 | 3 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(bytes.len().min(2)),
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(Patient(Busy(0)).write_all(b"four").is_ok());
    }
}
