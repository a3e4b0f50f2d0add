//! Log lines on their way to standard error, so that nobody who logs waits for it.
//!
//! Invariants: at most [`ROOM`] bytes wait; a line that finds no room is dropped and counted, and the
//! number is logged in its place as soon as there is room again; lines are written whole and in
//! order.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes of lines that wait to be written: about two thousand lines.
const ROOM: usize = 256 << 10;

/// Makes the line that tells how many lines were dropped.
pub(super) type DropNotice = fn(u64) -> String;

/// Takes log lines, and writes them on a thread of its own.
#[derive(Debug)]
pub(super) struct LogQueue {
    state: Mutex<QueueState>,
    /// Signals that something is to be written, or that everything has been.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Whole lines, oldest first.
    waiting: Vec<u8>,
    /// The number of lines in `waiting`.
    lines: u64,
    /// The number of lines that were dropped behind those that wait.
    dropped: u64,
    is_writing: bool,
    /// The program ends: what was dropped is to be told even if no line follows.
    is_ending: bool,
}

/// Lines that are written in one go.
struct LogBatch {
    bytes: Vec<u8>,
    /// The number of lines that are lost if it cannot be written.
    lines: u64,
}

impl LogQueue {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    ///
    /// When the system has no thread to give.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        notice: DropNotice,
    ) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let queued = queue.clone();
        thread::Builder::new()
            .name("mles-log".to_owned())
            .spawn(move || queued.write(out, notice))?;
        Ok(queue)
    }

    /// Queues one whole line, its end included; never waits for the writing.
    pub(super) fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > ROOM {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        state.lines += 1;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until everything is written, for at most `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        state.is_ending = true;
        self.changed.notify_all();
        while state.is_writing || state.has_more() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let waited = self.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes lines as they come, for as long as the process lives.
    fn write(&self, mut out: impl Write, notice: DropNotice) {
        loop {
            let batch = self.next(notice);
            let written = out.write_all(&batch.bytes).and_then(|()| out.flush());
            let mut state = self.lock();
            state.is_writing = false;
            // At the end nobody can be told any more.
            if written.is_err() && !state.is_ending {
                state.dropped += batch.lines;
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// Waits for lines, and takes all that there are.
    fn next(&self, notice: DropNotice) -> LogBatch {
        let mut state = self.lock();
        while !state.has_more() {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = LogBatch {
            bytes: std::mem::take(&mut state.waiting),
            lines: state.lines + state.dropped,
        };
        if state.dropped > 0 {
            batch
                .bytes
                .extend_from_slice(notice(state.dropped).as_bytes());
        }
        (state.lines, state.dropped) = (0, 0);
        state.is_writing = true;
        batch
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Returns `true` if there is something to write. After a failed write, what was lost is told with
    /// the next line, or at the end.
    const fn has_more(&self) -> bool {
        !self.waiting.is_empty() || (self.is_ending && self.dropped > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Longer than any test needs on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Writes only when it is told whether that works.
    struct GatedWriter {
        may: mpsc::Receiver<bool>,
        written: Arc<Mutex<String>>,
    }

    impl Write for GatedWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.may.recv().unwrap_or(true) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let text = std::str::from_utf8(bytes).unwrap();
            self.written.lock().unwrap().push_str(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (Arc<LogQueue>, mpsc::Sender<bool>, Arc<Mutex<String>>) {
        let written = Arc::<Mutex<String>>::default();
        let (open, may) = mpsc::channel();
        let writer = GatedWriter {
            may,
            written: written.clone(),
        };
        let notice = |lines| format!("{lines} dropped\n");
        (LogQueue::start(writer, notice).unwrap(), open, written)
    }

    fn wait_until(mut is_so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }

    #[test]
    fn who_logs_does_not_wait_and_what_is_dropped_is_counted_in_its_place() {
        let (queue, open, written) = queue();
        let line = format!("{}\n", "x".repeat(1023));
        queue.push(b"first\n");
        wait_until(|| queue.lock().is_writing);
        // Nothing is written now, and yet this returns.
        for _ in 0..256 + 7 {
            queue.push(line.as_bytes());
        }
        open.send(true).unwrap();
        wait_until(|| queue.lock().lines == 0);
        queue.push(b"last\n");
        drop(open);
        queue.flush(PATIENCE);
        let expected = format!("first\n{}7 dropped\nlast\n", line.repeat(256));
        assert!(*written.lock().unwrap() == expected);
    }

    #[test]
    fn what_could_not_be_written_is_counted_too() {
        let (queue, open, written) = queue();
        queue.push(b"lost\n");
        open.send(false).unwrap();
        wait_until(|| queue.lock().dropped == 1);
        queue.push(b"next\n");
        open.send(false).unwrap();
        wait_until(|| queue.lock().dropped == 2);
        drop(open);
        queue.flush(PATIENCE);
        assert_eq!(*written.lock().unwrap(), "2 dropped\n");
    }

    #[test]
    fn the_end_waits_for_a_stalled_reader_within_bounds() {
        let (queue, _open, written) = queue();
        queue.push(b"never\n");
        queue.flush(Duration::from_millis(20));
        assert_eq!(*written.lock().unwrap(), "");
    }
}
