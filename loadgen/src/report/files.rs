//! The files that a report is written to, all opened before anything is measured, so that a path
//! that cannot be written is told at once. If nothing is measured, those that are new are removed again.

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
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths {
    pub(crate) json: Option<PathBuf>,
    pub(crate) csv: Option<PathBuf>,
    pub(crate) html: Option<PathBuf>,
    /// A directory.
    pub(crate) hgrm: Option<PathBuf>,
}

/// Open files for the report.
#[derive(Debug)]
pub(crate) struct Outputs {
    json: Option<OutputFile>,
    csv: Option<OutputFile>,
    html: Option<OutputFile>,
    hgrm: Option<PathBuf>,
    /// Removes what is new unless the report is written.
    new: NewFiles,
}

impl Outputs {
    /// Opens what is given: files for JSON, CSV and HTML, a directory for percentiles. What a file
    /// holds is kept until the new report is written.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub(crate) fn open(paths: &Paths) -> Result<Self, ReportError> {
        let mut new = NewFiles::default();
        let mut open = |path: &Option<PathBuf>| {
            let path = path.as_deref();
            path.map(|path| OutputFile::open(path, &mut new))
                .transpose()
        };
        let (json, csv, html) = (open(&paths.json)?, open(&paths.csv)?, open(&paths.html)?);
        let hgrm = paths.hgrm.clone();
        if let Some(dir) = &hgrm {
            writable(dir).map_err(|source| ReportError {
                path: dir.clone(),
                source,
            })?;
        }
        Ok(Self {
            json,
            csv,
            html,
            hgrm,
            new,
        })
    }

    /// Writes `report` to all of them.
    ///
    /// # Errors
    /// One of them cannot be written.
    pub(crate) fn write(mut self, report: &Report) -> Result<(), ReportError> {
        self.new.0.clear();
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

/// Files that were not there before; what is left in the list is removed.
#[derive(Debug, Default)]
struct NewFiles(Vec<PathBuf>);

impl Drop for NewFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            // An empty file that stays does no harm.
            let _ = std::fs::remove_file(path);
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
    fn open(path: &Path, new: &mut NewFiles) -> Result<Self, ReportError> {
        let path = path.to_owned();
        let file = match File::create_new(&path) {
            Ok(file) => {
                new.0.push(path.clone());
                Ok(file)
            }
            // It is there already, or cannot be made: the second attempt says which.
            Err(_) => OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path),
        };
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
