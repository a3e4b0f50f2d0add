//! Lines of the standard input, as messages.

use std::io::{self, BufRead, BufReader};
use std::vec;

use tokio::sync::mpsc;

use super::failure::CommandFailure;

/// Most batches of lines that are read ahead.
const AHEAD: usize = 2;
/// Most bytes that are read at once. A batch is one line, or what one read completes.
const READ: usize = 64 << 10;

/// The lines of the standard input, each without its line end. They are read on a thread of its own.
///
/// Not tokio's stdin: a runtime waits at its end for a read that only the user can end.
pub(super) struct StdinLines {
    batches: mpsc::Receiver<LineBatch>,
    ready: vec::IntoIter<Vec<u8>>,
    failure: Option<CommandFailure>,
}

/// The lines that one read completes.
#[derive(Debug, Default)]
struct LineBatch {
    lines: Vec<Vec<u8>>,
    /// The reason why nothing follows.
    failure: Option<CommandFailure>,
}

impl StdinLines {
    /// Begins to read lines of at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        let (sender, batches) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            let input = BufReader::with_capacity(READ, io::stdin());
            let mut reader = LineReader::new(input, limit);
            while let Some(batch) = reader.next_batch() {
                let is_last = batch.failure.is_some();
                if sender.blocking_send(batch).is_err() || is_last {
                    break;
                }
            }
        });
        Self {
            batches,
            ready: Vec::new().into_iter(),
            failure: None,
        }
    }

    /// Waits for the next line; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// When the input cannot be read, or a line is too long.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future has taken nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, CommandFailure> {
        loop {
            if let Some(line) = self.try_next()? {
                return Ok(Some(line));
            }
            match self.batches.recv().await {
                Some(batch) => self.take(batch),
                None => return Ok(None),
            }
        }
    }

    /// Returns the next line if it is there already.
    ///
    /// # Errors
    ///
    /// When the input cannot be read, or a line is too long.
    pub(super) fn try_next(&mut self) -> Result<Option<Vec<u8>>, CommandFailure> {
        loop {
            if let Some(line) = self.ready.next() {
                return Ok(Some(line));
            }
            if let Some(failure) = self.failure.take() {
                return Err(failure);
            }
            match self.batches.try_recv() {
                Ok(batch) => self.take(batch),
                Err(_) => return Ok(None),
            }
        }
    }

    fn take(&mut self, batch: LineBatch) {
        self.ready = batch.lines.into_iter();
        self.failure = batch.failure;
    }
}

/// Splits what it reads into lines, and holds no more of one than is allowed.
struct LineReader<R> {
    input: R,
    limit: usize,
    /// The beginning of a line.
    partial: Vec<u8>,
    /// The number of lines that were complete.
    count: u64,
    is_over: bool,
}

impl<R: BufRead> LineReader<R> {
    const fn new(input: R, limit: usize) -> Self {
        Self {
            input,
            limit,
            partial: Vec::new(),
            count: 0,
            is_over: false,
        }
    }

    /// Waits for at least one line, or the reason why there is none; `None` at the end.
    fn next_batch(&mut self) -> Option<LineBatch> {
        let mut batch = LineBatch::default();
        while batch.lines.is_empty() && !self.is_over {
            if let Err(failure) = self.read(&mut batch.lines) {
                self.is_over = true;
                batch.failure = Some(failure);
                return Some(batch);
            }
        }
        (!batch.lines.is_empty()).then_some(batch)
    }

    /// Reads once.
    fn read(&mut self, lines: &mut Vec<Vec<u8>>) -> Result<(), CommandFailure> {
        let chunk = loop {
            match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(CommandFailure::Input)?,
            }
        };
        let len = chunk.len();
        if len == 0 {
            self.is_over = true;
            if !self.partial.is_empty() {
                lines.push(complete(&mut self.partial, self.limit, &mut self.count)?);
            }
            return Ok(());
        }
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            let (piece, is_whole) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            // One byte more, as the end of the line may be two.
            if self.partial.len() + piece.len() > self.limit + 1 {
                return Err(too_long(self.count, self.limit));
            }
            self.partial.extend_from_slice(piece);
            if is_whole {
                lines.push(complete(&mut self.partial, self.limit, &mut self.count)?);
            }
        }
        self.input.consume(len);
        Ok(())
    }
}

fn complete(
    partial: &mut Vec<u8>,
    limit: usize,
    count: &mut u64,
) -> Result<Vec<u8>, CommandFailure> {
    let mut line = std::mem::take(partial);
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    if line.len() > limit {
        return Err(too_long(*count, limit));
    }
    *count += 1;
    Ok(line)
}

fn too_long(before: u64, limit: usize) -> CommandFailure {
    CommandFailure::Usage(format!(
        "line {} of standard input is longer than the largest message, {limit} bytes",
        before + 1
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns every line, and what the reading ended with; reads pieces of at most `step` bytes.
    fn read(input: &[u8], step: usize, limit: usize) -> (Vec<String>, Option<String>) {
        let mut reader = LineReader::new(BufReader::with_capacity(step, input), limit);
        let (mut lines, mut failure) = (Vec::new(), None);
        while let Some(batch) = reader.next_batch() {
            let text = |line: Vec<u8>| String::from_utf8_lossy(&line).into_owned();
            lines.extend(batch.lines.into_iter().map(text));
            failure = batch.failure.map(|failure| failure.to_string());
        }
        (lines, failure)
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        for (input, expected) in [
            (&b""[..], &[][..]),
            (b"a\nbc\n", &["a", "bc"]),
            (b"a\r\n\n\r\nb\rc\n", &["a", "", "", "b\rc"]),
            (b"no end", &["no end"]),
            (b"binary \xff\x00\n", &["binary \u{fffd}\0"]),
        ] {
            for step in 1..=input.len().max(1) {
                assert_eq!(read(input, step, 100).0, expected, "{input:?} by {step}");
            }
        }
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_behind_what_came_before_it() {
        for step in [1, 3, 100] {
            let (lines, failure) = read(b"1234\r\n12345\n", step, 4);
            assert_eq!(lines, ["1234"]);
            let failure = failure.unwrap();
            assert!(failure.contains("line 2") && failure.contains("4 bytes"));
            assert_eq!(read(b"12345", step, 4).0, [""; 0]);
            assert_eq!(read(b"1234", step, 4).0, ["1234"]);
        }
    }

    #[test]
    fn a_line_without_an_end_is_not_kept() {
        let mut reader = LineReader::new(BufReader::new(io::repeat(b'x')), 1 << 20);
        assert!(reader.next_batch().unwrap().failure.is_some());
        assert!(reader.partial.capacity() <= 2 << 20);
        assert!(reader.next_batch().is_none());
    }
}
