//! Lines of the standard input.

use std::io::{self, BufRead as _};

use tokio::sync::mpsc;

/// How many lines are read ahead.
const AHEAD: usize = 1024;

/// Reads stdin line by line, each without its line end, on a thread of its own.
///
/// Not tokio's stdin: a runtime waits at its end for a read that only the user can end.
pub(crate) fn stdin_lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            let line = line.map(|mut line| {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                line
            });
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                break;
            }
        }
    });
    receiver
}
