//! Logs of `mles serve`: lines for people or JSON on standard error, all over one queue.
//!
//! Everything that the server says goes this way, its greeting, errors and panics included: a standard error
//! that is full or gone holds nobody up, and with JSON every line is an object.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::reload::{self, Handle};

use super::log_queue::LogQueue;
use super::output::{Patient, say};
use crate::config::{LogFormat, LogSettings};

/// Longest time that the end of the program waits for log lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Crates whose lines at level `info` tell what the store, or the log of a fleet, tells in fewer words.
const ENGINES: [&str; 3] = ["fjall", "lsm_tree", "async_nats"];

/// The way out for everything that the server says.
#[derive(Clone, Debug)]
pub(super) struct Log {
    queue: Arc<LogQueue>,
    format: LogFormat,
    /// Changes the level, once it is the log of this process.
    filter: Arc<OnceLock<Handle<Targets, Registry>>>,
}

/// A guard that waits for the log when it is dropped, however the program ends.
#[derive(Debug)]
pub(super) struct FlushAtEnd(Log);

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        self.0.queue.flush(LAST_WORDS);
    }
}

/// Takes the lines of `tracing`, each in one write.
struct LogWriter(Arc<LogQueue>);

impl Log {
    /// Starts writing to standard error.
    ///
    /// # Errors
    ///
    /// When there is no thread for it.
    pub(super) fn start(format: LogFormat) -> io::Result<Self> {
        let notice = match format {
            LogFormat::Human => |lines| human("WARN", dropped(lines)),
            LogFormat::Json => |lines| json("WARN", dropped(lines), &[]),
        };
        let queue = LogQueue::start(Patient(io::stderr()), notice)?;
        Ok(Self {
            queue,
            format,
            filter: Arc::default(),
        })
    }

    /// Makes it the log of this process, for panics too. Call it once.
    ///
    /// # Errors
    ///
    /// When the level cannot be parsed; settings that come out of the configuration can be.
    pub(super) fn install(&self, settings: &LogSettings) -> Result<(), ParseError> {
        let (filter, handle) = reload::Layer::new(Self::filter(settings)?);
        let _ = self.filter.set(handle);
        let queue = self.queue.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || LogWriter(queue.clone()));
        let lines = match settings.format {
            LogFormat::Human => lines.with_ansi(io::stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .init();
        let log = self.clone();
        std::panic::set_hook(Box::new(move |panic| log.panicked(panic)));
        Ok(())
    }

    /// Returns what the level of some settings lets through.
    ///
    /// # Errors
    ///
    /// When the level cannot be parsed.
    pub(super) fn filter(settings: &LogSettings) -> Result<Targets, ParseError> {
        let mut filter: Targets = settings.level.parse()?;
        for target in ENGINES {
            if filter.would_enable(target, &Level::INFO)
                && !filter.would_enable(target, &Level::DEBUG)
            {
                filter = filter.with_target(target, Level::WARN);
            }
        }
        Ok(filter)
    }

    /// Changes what is let through.
    pub(super) fn set_filter(&self, filter: Targets) {
        if let Some(handle) = self.filter.get() {
            // It fails only when there is no log any more.
            let _ = handle.reload(filter);
        }
    }

    /// Returns the form of its lines.
    pub(super) const fn format(&self) -> LogFormat {
        self.format
    }

    /// Writes a line as it is.
    pub(super) fn line(&self, line: impl Display) {
        self.queue.push(format!("{line}\n").as_bytes());
    }

    /// Says why the program ends, whatever the level.
    pub(super) fn error(&self, error: impl Display) {
        self.queue.push(last_words(self.format, error).as_bytes());
    }

    /// Returns a guard that waits, when it is dropped, until everything is written, within bounds.
    pub(super) fn flush_at_end(&self) -> FlushAtEnd {
        FlushAtEnd(self.clone())
    }

    fn panicked(&self, panic: &PanicHookInfo<'_>) {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let location = panic.location().map(ToString::to_string);
        let line = panic_line(
            self.format,
            text.unwrap_or("no message"),
            location.as_deref().unwrap_or("an unknown place"),
        );
        self.queue.push(line.as_bytes());
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Says why the program ends where there is no log yet.
pub(super) fn say_error(format: LogFormat, error: impl Display) {
    say(last_words(format, error).trim_end());
}

fn dropped(lines: u64) -> String {
    let (s, was) = if lines == 1 {
        ("", "was")
    } else {
        ("s", "were")
    };
    format!("{lines} log line{s} {was} dropped: standard error did not take them fast enough")
}

fn panic_line(format: LogFormat, text: &str, location: &str) -> String {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    match format {
        LogFormat::Human => {
            let trace = trace.map_or_else(
                || "RUST_BACKTRACE=1 in the environment adds a backtrace".to_owned(),
                |trace| trace.trim_end().to_owned(),
            );
            format!("thread '{thread}' panicked at {location}:\n{text}\n{trace}\n")
        }
        LogFormat::Json => {
            let mut fields = vec![("thread", thread), ("location", location)];
            fields.extend(trace.as_deref().map(|trace| ("backtrace", trace)));
            json("ERROR", format_args!("panicked: {text}"), &fields)
        }
    }
}

fn last_words(format: LogFormat, error: impl Display) -> String {
    match format {
        LogFormat::Human => format!("mles: {error}\n"),
        LogFormat::Json => json("ERROR", error, &[]),
    }
}

/// Returns a line as `tracing` would write it.
fn human(level: &str, message: impl Display) -> String {
    format!("{}  {level} mles: {message}\n", now())
}

/// Returns an object as `tracing` would write it, on one line.
fn json(level: &str, message: impl Display, fields: &[(&str, &str)]) -> String {
    let message = message.to_string();
    let timestamp = now();
    let usual = [
        ("timestamp", timestamp.as_str()),
        ("level", level),
        ("message", &message),
    ];
    let all = usual
        .iter()
        .chain(fields)
        .chain(&[("target", "mles")])
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)));
    format!("{}\n", Value::Object(all.collect::<Map<_, _>>()))
}

fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_database_says_of_itself_is_left_out_unless_it_is_asked_for() {
        for (level, info, warn) in [
            ("info", false, true),
            ("error", false, false),
            ("debug", true, true),
            ("warn,fjall=debug", true, true),
        ] {
            let settings = LogSettings {
                level: level.to_owned(),
                ..LogSettings::default()
            };
            let filter = Log::filter(&settings).unwrap();
            let shown =
                [Level::INFO, Level::WARN].map(|level| filter.would_enable("fjall::db", &level));
            assert_eq!(shown, [info, warn], "{level}");
        }
    }

    #[test]
    fn in_json_every_line_is_an_object_whatever_is_in_it() {
        let text = "a \"quoted\"\nline \u{1b}[2J";
        for line in [
            last_words(LogFormat::Json, text),
            panic_line(LogFormat::Json, text, "src/x.rs:1:2"),
            json("WARN", dropped(3), &[]),
        ] {
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            let object: Value = serde_json::from_str(&line).unwrap();
            for key in ["timestamp", "level", "message", "target"] {
                assert!(object[key].is_string(), "{key} in {line}");
            }
        }
    }
}
