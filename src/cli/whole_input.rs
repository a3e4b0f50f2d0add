//! A file, or the standard input, as one message.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use super::failure::CommandFailure;

/// The path that stands for the standard input.
const STDIN: &str = "-";

/// Reads all of a file, or of the standard input if the path is `-`. It is read on a thread of its own, which
/// a signal need not wait for.
///
/// # Errors
///
/// When it cannot be read, or is longer than `limit` bytes; no more than that is read.
///
/// # Cancel safety
///
/// Not cancel safe: what was read is lost.
pub(super) async fn read_whole(path: PathBuf, limit: usize) -> Result<Vec<u8>, CommandFailure> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        // Nobody waits for it any more if the command was ended.
        let _ = sender.send(read(&path, limit));
    });
    let broken = |_| CommandFailure::Input(io::ErrorKind::BrokenPipe.into());
    receiver.await.map_err(broken)?
}

fn read(path: &Path, limit: usize) -> Result<Vec<u8>, CommandFailure> {
    let is_stdin = path.as_os_str() == STDIN;
    let read = if is_stdin {
        read_up_to(io::stdin().lock(), limit)
    } else {
        File::open(path).and_then(|file| read_up_to(file, limit))
    };
    let bytes = read.map_err(|error| {
        if is_stdin {
            CommandFailure::Input(error)
        } else {
            CommandFailure::File(path.to_owned(), error)
        }
    })?;
    if bytes.len() > limit {
        let name = if is_stdin {
            "standard input".to_owned()
        } else {
            path.display().to_string()
        };
        return Err(CommandFailure::Usage(format!(
            "{name} is longer than the largest message, {limit} bytes"
        )));
    }
    Ok(bytes)
}

/// Reads one byte more than `limit` at most.
fn read_up_to(input: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    input.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
