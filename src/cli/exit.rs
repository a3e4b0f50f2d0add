//! Exit codes of the program. The help of each command lists its own.

use tokio::signal::unix::SignalKind;

/// It could not start, or failed: configuration, address, files, output, a server that is gone.
pub(super) const FAILED: u8 = 1;
/// The arguments or the input were wrong, which trying again does not mend.
pub(super) const USAGE: u8 = 2;
/// The server refused the join, or a right is missing or lost.
pub(super) const REFUSED: u8 = 3;
/// The time of `--timeout` was over, as `timeout` of GNU tells it.
pub(super) const TIMED_OUT: u8 = 124;
/// A part of the broker failed while it ran (`EX_SOFTWARE` of sysexits).
pub(super) const BROKEN: u8 = 70;
/// The broker stopped before the store had all histories (`EX_IOERR`).
pub(super) const UNSAVED: u8 = 74;
/// Added to the number of a signal, as shells do.
const SIGNAL: u8 = 128;

/// Returns the exit code of what a signal ended.
pub(super) fn by_signal(signal: SignalKind) -> u8 {
    SIGNAL + u8::try_from(signal.as_raw_value()).unwrap_or_default()
}

/// Shown at the end of the help of `pub` and `chat`.
pub(super) const CLIENT_EXIT_CODES: &str = "\
Exit codes:
  0         done, or nobody reads the output any more
  1         no connection, connection lost, or input or output failed
  2         wrong arguments, or a message that is too large or empty
  3         the server refused the join, or a right is missing
  130, 143  ended by SIGINT (Ctrl-C) or SIGTERM";

/// Shown at the end of the help of `sub`.
pub(super) const SUB_EXIT_CODES: &str = "\
Exit codes:
  0         done, or nobody reads the output any more
  1         no connection, connection lost, or input or output failed
  2         wrong arguments
  3         the server refused the join, or a right is missing
  124       --timeout was over before --count messages had come
  130, 143  ended by SIGINT (Ctrl-C) or SIGTERM";
