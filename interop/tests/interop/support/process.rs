//! A child process whose output is kept, and which never outlives its test.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::DEADLINE;

/// How often a process is asked whether it has ended: there is no portable way to wait for that
/// with a deadline.
const EXIT_POLL: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Out,
    Err,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<(Stream, String)>>,
    grown: Condvar,
}

impl Output {
    fn lines(&self) -> MutexGuard<'_, Vec<(Stream, String)>> {
        self.lines.lock().unwrap()
    }
}

/// A running program; killed when dropped, and its output shown if the test is failing.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts `command` with all three standard streams connected to this object.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let name = format!("{command:?}");
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let output = Arc::new(Output::default());
        let readers = vec![
            keep_lines(child.stdout.take().unwrap(), Stream::Out, &output),
            keep_lines(child.stderr.take().unwrap(), Stream::Err, &output),
        ];
        let stdin = child.stdin.take();
        Self {
            name,
            child,
            stdin,
            output,
            readers,
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes `line` and a newline to its standard input, in one write: a program that takes each
    /// read as one answer gets one.
    pub(crate) fn write_line(&mut self, line: &str) {
        self.write(format!("{line}\n").as_bytes());
    }

    /// Writes `bytes` to its standard input.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).unwrap();
        stdin.flush().unwrap();
    }

    /// Ends its standard input.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Waits until `find` finds something in a line of its output.
    pub(crate) fn wait_for<T>(&self, what: &str, find: impl Fn(&str) -> Option<T>) -> T {
        self.wait_for_times(1, what, find)
    }

    /// Waits until `find` finds something in `times` lines of its output, and returns the last.
    pub(crate) fn wait_for_times<T>(
        &self,
        times: usize,
        what: &str,
        find: impl Fn(&str) -> Option<T>,
    ) -> T {
        let end = Instant::now() + DEADLINE;
        let mut lines = self.output.lines();
        loop {
            let mut found = lines.iter().filter_map(|(_, line)| find(line));
            if let Some(found) = found.nth(times - 1) {
                return found;
            }
            lines = self.wait_for_more(lines, end, what);
        }
    }

    /// Waits until it has printed more than `index` lines, and returns that one.
    pub(crate) fn wait_for_line(&self, index: usize) -> String {
        self.wait_for_line_until(Instant::now() + DEADLINE, index)
    }

    /// Waits until it has printed more than `index` lines or `end` has come, and returns that one.
    pub(crate) fn wait_for_line_until(&self, end: Instant, index: usize) -> String {
        let what = format!("line {index}");
        let mut lines = self.output.lines();
        loop {
            let mut printed = lines.iter().filter(|(from, _)| *from == Stream::Out);
            if let Some((_, line)) = printed.nth(index) {
                return line.clone();
            }
            lines = self.wait_for_more(lines, end, &what);
        }
    }

    /// Waits for more output until `end`.
    fn wait_for_more<'a>(
        &self,
        lines: MutexGuard<'a, Vec<(Stream, String)>>,
        end: Instant,
        what: &str,
    ) -> MutexGuard<'a, Vec<(Stream, String)>> {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // The lock must not be held while the panic shows the output.
            drop(lines);
            panic!("{} did not print {what}", self.name);
        }
        self.output.grown.wait_timeout(lines, left).unwrap().0
    }

    /// Waits until it has ended, and returns the lines it wrote to standard output.
    pub(crate) fn wait(&mut self) -> (ExitStatus, Vec<String>) {
        let end = Instant::now() + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < end, "{} did not end", self.name);
            thread::sleep(EXIT_POLL);
        };
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status, self.stdout())
    }

    /// The whole lines written to standard output so far.
    pub(crate) fn stdout(&self) -> Vec<String> {
        let lines = self.output.lines();
        lines
            .iter()
            .filter(|(from, _)| *from == Stream::Out)
            .map(|(_, line)| line.clone())
            .collect()
    }

    /// Ends it at once, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        // Both only fail for a process that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- output of {}", self.name);
            for (_, line) in self.output.lines().iter() {
                // Some lines are megabytes of test data.
                eprintln!("{:.500}", line);
            }
        }
    }
}

fn keep_lines(
    from: impl Read + Send + 'static,
    stream: Stream,
    output: &Arc<Output>,
) -> thread::JoinHandle<()> {
    let output = Arc::clone(output);
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            output
                .lines()
                .push((stream, String::from_utf8_lossy(&line).into_owned()));
            output.grown.notify_all();
        }
    })
}
