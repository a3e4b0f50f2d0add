//! The files that a report is written to, all opened before anything is measured, so that a path
//! that cannot be written is told at once.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Report, csv, hgrm, html};

/// A report could not be written.
#[derive(Debug, Error)]
#[error("cannot write the report to {path}: {source}")]
pub(crate) struct ReportError {
    path: PathBuf,
    source: io::Error,
}

/// Where the report is to go besides the terminal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paths<'a> {
    pub(crate) json: Option<&'a Path>,
    pub(crate) csv: Option<&'a Path>,
    pub(crate) html: Option<&'a Path>,
    /// A directory.
    pub(crate) hgrm: Option<&'a Path>,
}

/// Open files for the report.
#[derive(Debug)]
pub(crate) struct Outputs {
    json: Option<OutputFile>,
    csv: Option<OutputFile>,
    html: Option<OutputFile>,
    hgrm: Option<PathBuf>,
}

impl Outputs {
    /// Opens what is given: files for JSON, CSV and HTML, a directory for percentiles. What a file
    /// holds is kept until the new report is written.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub(crate) fn open(paths: Paths<'_>) -> Result<Self, ReportError> {
        let hgrm = paths.hgrm.map(|dir| match writable(dir) {
            Ok(()) => Ok(dir.to_owned()),
            Err(source) => Err(ReportError {
                path: dir.to_owned(),
                source,
            }),
        });
        Ok(Self {
            json: paths.json.map(OutputFile::open).transpose()?,
            csv: paths.csv.map(OutputFile::open).transpose()?,
            html: paths.html.map(OutputFile::open).transpose()?,
            hgrm: hgrm.transpose()?,
        })
    }

    /// Writes `report` to all of them.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub(crate) fn write(self, report: &Report) -> Result<(), ReportError> {
        if let Some(file) = self.json {
            file.replace(|out| {
                serde_json::to_writer(&mut *out, report)?;
                out.write_all(b"\n")
            })?;
        }
        if let Some(file) = self.csv {
            file.replace(|out| csv::write(report, out))?;
        }
        if let Some(file) = self.html {
            file.replace(|out| html::write(report, out))?;
        }
        match self.hgrm {
            Some(path) => hgrm::write(report, &path).map_err(|source| ReportError { path, source }),
            None => Ok(()),
        }
    }
}

/// A file that is written at the end.
#[derive(Debug)]
struct OutputFile {
    path: PathBuf,
    file: File,
}

impl OutputFile {
    fn open(path: &Path) -> Result<Self, ReportError> {
        let path = path.to_owned();
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        match file {
            Ok(file) => Ok(Self { path, file }),
            Err(source) => Err(ReportError { path, source }),
        }
    }

    /// Puts what `write` writes in place of what was there.
    fn replace(
        self,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> Result<(), ReportError> {
        let Self { path, file } = self;
        let replace = || {
            file.set_len(0)?;
            let mut out = BufWriter::new(&file);
            write(&mut out)?;
            out.flush()
        };
        replace().map_err(|source| ReportError { path, source })
    }
}

/// Makes `dir` if it is not there, and finds out whether files can be made in it.
fn writable(dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    tempfile::tempfile_in(dir).map(drop)
}
