//! A report that was written earlier.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::{Report, SCHEMA};

/// A report could not be read.
#[derive(Debug, Error)]
pub(crate) enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    /// It is not what loadgen writes.
    #[error("{path} is no report of loadgen: {source}")]
    NoReport {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// It is a report of another version.
    #[error("{path} has the layout {found:?}, and this version reads {SCHEMA:?} only")]
    Schema {
        path: PathBuf,
        /// The layout it says it has.
        found: String,
    },
}

/// The field that says whether the rest can be read.
#[derive(Deserialize)]
struct SchemaField {
    schema: String,
}

impl Report {
    /// Reads a report that `--json` has written to `path`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(crate) fn read(path: &Path) -> Result<Self, ReadError> {
        let text = fs::read_to_string(path).map_err(|source| ReadError::File {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ReadError> {
        let no_report = |source| ReadError::NoReport {
            path: path.to_owned(),
            source,
        };
        let head: SchemaField = serde_json::from_str(text).map_err(no_report)?;
        if head.schema != SCHEMA {
            return Err(ReadError::Schema {
                path: path.to_owned(),
                found: head.schema,
            });
        }
        serde_json::from_str(text).map_err(no_report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn parse(text: &str) -> Result<Report, ReadError> {
        Report::parse(text, Path::new("results.json"))
    }

    #[test]
    fn what_was_written_is_read_to_the_last_bit() {
        let report = sample::report();
        let text = serde_json::to_string(&report).expect("it is plain data");
        let read = parse(&text).expect("it was written just now");
        assert_eq!(
            serde_json::to_string(&read).expect("it is plain data"),
            text
        );
        assert_eq!(read.to_text(), report.to_text());
    }

    #[test]
    fn reports_of_the_first_version_are_read() {
        let text = include_str!("../../../docs/results/fan-out-2026-11-24.json");
        let report = parse(text).expect("it has the same layout");
        assert!(report.environment.argv.is_empty());
        assert!(report.environment.repeat().starts_with("loadgen compare "));
        assert_eq!(report.failures(), 0);
    }

    #[test]
    fn another_layout_is_told_with_its_name() {
        let error = parse(r#"{"schema":"mles-loadgen/2"}"#).expect_err("it is another");
        assert!(matches!(&error, ReadError::Schema { found, .. } if found == "mles-loadgen/2"));
        assert!(error.to_string().contains("mles-loadgen/2"), "{error}");
        for bad in ["", "{}", "[1]", r#"{"schema":"mles-loadgen/1"}"#] {
            assert!(
                matches!(parse(bad), Err(ReadError::NoReport { .. })),
                "{bad}"
            );
        }
    }
}
