//! HdrHistogram's interval log: one line a second with the histogram of that second, as other tools
//! of that family read it. Runs are told apart by their tag.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use thiserror::Error;

use super::Interval;

/// The log could not be written.
#[derive(Debug, Error)]
#[error("cannot write the interval log to {path}: {source}")]
pub(crate) struct IntervalLogError {
    path: PathBuf,
    source: io::Error,
}

/// The file, with its header written.
pub(crate) struct IntervalLog {
    path: PathBuf,
    out: BufWriter<File>,
    serializer: V2DeflateSerializer,
    /// The moment that timestamps count from.
    opened: Instant,
    /// The first failure: nothing is written after it.
    failed: Option<io::Error>,
}

impl IntervalLog {
    /// Creates a log in place of what was at `path`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn create(path: &Path) -> Result<Self, IntervalLogError> {
        let failed = |source| IntervalLogError {
            path: path.to_owned(),
            source,
        };
        let mut log = Self {
            path: path.to_owned(),
            out: BufWriter::new(File::create(path).map_err(failed)?),
            serializer: V2DeflateSerializer::new(),
            opened: Instant::now(),
            failed: None,
        };
        log.header().map_err(failed)?;
        Ok(log)
    }

    fn header(&mut self) -> io::Result<()> {
        let now = SystemTime::now();
        IntervalLogWriterBuilder::new()
            .add_comment("[Latencies in nanoseconds, by loadgen]")
            .add_comment("[Histogram log format version 1.3]")
            .with_base_time(now)
            .with_start_time(now)
            .begin_log_with(&mut self.out, &mut self.serializer)?;
        self.out.write_all(
            b"\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
              \"Interval_Compressed_Histogram\"\n",
        )?;
        self.out.flush()
    }

    /// Appends `interval` of the run `label`. A failure is told by [`IntervalLog::finish`].
    pub(super) fn write(&mut self, label: &str, interval: &Interval) {
        if self.failed.is_none()
            && let Err(error) = self.try_write(label, interval)
        {
            self.failed = Some(error);
        }
    }

    fn try_write(&mut self, label: &str, interval: &Interval) -> io::Result<()> {
        let start = interval.began.saturating_duration_since(self.opened);
        let tag: String = label.chars().map(tag_char).collect();
        IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.out, &mut self.serializer)?
            .write_histogram(
                interval.latency.histogram(),
                start,
                interval.length,
                Tag::new(&tag),
            )
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
        // Whoever follows the file sees each second.
        self.out.flush()
    }

    /// Ends the log.
    ///
    /// # Errors
    /// It could not be written, now or earlier.
    pub(crate) fn finish(mut self) -> Result<(), IntervalLogError> {
        let outcome = match self.failed.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        };
        let path = self.path;
        outcome.map_err(|source| IntervalLogError { path, source })
    }
}

/// Tags have no commas and no white space.
fn tag_char(letter: char) -> char {
    if letter == ',' || letter.is_whitespace() {
        '_'
    } else {
        letter
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::distribution::Distribution;

    #[test]
    fn what_is_logged_can_be_read_with_its_tag() {
        use base64::Engine as _;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log.hlog");
        let mut log = IntervalLog::create(&path).expect("it can be written");
        let mut latency = Distribution::new();
        latency.record(77_000);
        let interval = Interval {
            began: Instant::now(),
            length: Duration::from_secs(1),
            latency,
        };
        log.write("latency, nats 2", &interval);
        log.finish().expect("it was written");
        let text = std::fs::read(&path).expect("it is there");
        let legend_left_out: Vec<u8> = text
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| !line.starts_with(b"\""))
            .flatten()
            .copied()
            .collect();
        let intervals: Vec<_> = IntervalLogIterator::new(&legend_left_out)
            .filter_map(|entry| match entry.expect("well formed") {
                LogEntry::Interval(interval) => Some(interval),
                _ => None,
            })
            .collect();
        assert_eq!(intervals.len(), 1);
        assert_eq!(
            intervals[0].tag().map(|tag| tag.as_str().to_owned()),
            Some("latency__nats_2".to_owned())
        );
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(intervals[0].encoded_histogram())
            .expect("base64");
        let read: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .expect("a histogram");
        assert_eq!(&read, interval.latency.histogram());
    }
}
