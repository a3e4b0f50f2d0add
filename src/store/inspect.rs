//! Looks into a store that no server uses.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::batch::{ChannelState, StoredRun};
use super::database::{FjallEngine, copy_content, disk_space, is_journal, system};
use super::engine::{Engine, EngineError};
use super::journal;
use super::load::{Nobody, Sink, Survey, read, survey};
use super::marker::{LastMark, Mark, Marker};
use super::open::{DATABASE, OpenStoreError, SET_ASIDE, StorePlace};
use super::record::{ChannelRecord, PublisherRecord};
use crate::channel::PublisherId;

/// A store that is looked into. It is not changed: what a database writes when it is opened goes into a copy.
pub(crate) struct StoreInspection {
    place: StorePlace,
    engine: FjallEngine,
    survey: Survey,
    last: LastMark,
    /// Damage that was seen when the store was opened.
    faults: Vec<String>,
    /// The copy of what a database changes in place.
    _copy: TempDir,
    /// Keeps servers away.
    _lock: File,
}

/// Summary of a store.
#[derive(Debug)]
pub(crate) struct StoreSummary {
    pub(crate) channels: Vec<ChannelSummary>,
    /// Bytes that it takes on disk, without what was set aside.
    pub(crate) disk_space: u64,
    /// Number of the last commit.
    pub(crate) commit: u64,
    /// `true` if the server that used it last has stopped in order.
    pub(crate) is_clean: bool,
    /// `true` if that server synced everything before anybody saw it.
    pub(crate) syncs_first: bool,
    /// `true` if it was copied or restored since then, or is to count as that.
    pub(crate) is_copy: bool,
    /// Damaged stores that were set aside in its directory.
    pub(crate) set_aside: Vec<SetAside>,
}

/// A damaged store that was set aside.
#[derive(Debug)]
pub(crate) struct SetAside {
    pub(crate) dir: PathBuf,
    /// Bytes that it takes on disk.
    pub(crate) disk_space: u64,
}

/// Summary of one channel in a store.
#[derive(Debug)]
pub(crate) struct ChannelSummary {
    pub(crate) state: ChannelState,
    /// Offset of the oldest message that is kept.
    pub(crate) first: u64,
    pub(crate) runs: u64,
    /// Bytes of frames.
    pub(crate) bytes: u64,
}

impl StoreInspection {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    ///
    /// When there is none, when it is in use, or when it is damaged so that nothing of it can be read.
    pub(crate) fn open(dir: &Path) -> Result<Self, OpenStoreError> {
        let place = StorePlace(dir.to_owned());
        let peeked = Marker::peek(dir).map_err(|error| place.none(&error))?;
        let (lock, found) = peeked.ok_or_else(|| OpenStoreError::InUse(dir.to_owned()))?;
        let last = place.mark(found)?;
        let last = last.ok_or_else(|| place.none(&io::ErrorKind::NotFound.into()))?;
        let copy = tempfile::tempdir().map_err(|error| place.system(&error))?;
        let database = copy.path().join(DATABASE);
        copy_database(&dir.join(DATABASE), &database).map_err(|error| place.system(&error))?;
        let mut faults = Vec::new();
        let opened = open_copy(&database, last.mark, &mut faults);
        let (engine, survey) = opened.map_err(|error| place.engine(error))?;
        Ok(Self {
            place,
            engine,
            survey,
            last,
            faults,
            _copy: copy,
            _lock: lock,
        })
    }

    /// Reads everything. Returns what is wrong, in words, and how many faults there are.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn check(&self) -> Result<(Vec<String>, usize), OpenStoreError> {
        self.read(&|_| false, &mut Nobody)
    }

    /// Returns what the store has, without reading histories.
    ///
    /// # Errors
    ///
    /// When its directory cannot be read.
    pub(crate) fn summary(&self) -> Result<StoreSummary, OpenStoreError> {
        let StorePlace(dir) = &self.place;
        let mut channels: Vec<_> = self.survey.channels.iter().map(summary).collect();
        channels.sort_by(|a, b| a.state.name.cmp(&b.state.name));
        Ok(StoreSummary {
            channels,
            disk_space: disk_space(&dir.join(DATABASE))
                .map_err(|error| self.place.system(&error))?,
            commit: self.survey.commit,
            is_clean: self.last.mark.is_clean,
            syncs_first: self.last.mark.syncs_first,
            is_copy: self.last.is_copy,
            set_aside: set_aside_in(dir).map_err(|error| self.place.system(&error))?,
        })
    }

    /// Hands out the runs of the channels whose names `is_wanted` returns `true` for, oldest first. Returns the first faults
    /// of the store, and how many there are.
    ///
    /// # Errors
    ///
    /// When it cannot be read any further.
    pub(crate) fn export(
        &self,
        is_wanted: &dyn Fn(&str) -> bool,
        take: &mut dyn FnMut(&ChannelState, StoredRun),
    ) -> Result<(Vec<String>, usize), OpenStoreError> {
        let is_wanted = |record: &ChannelRecord| is_wanted(&record.state.name);
        self.read(&is_wanted, &mut Exporter(take))
    }

    fn read(
        &self,
        is_wanted: &dyn Fn(&ChannelRecord) -> bool,
        sink: &mut dyn Sink,
    ) -> Result<(Vec<String>, usize), OpenStoreError> {
        let read = read(&self.engine, &self.survey, is_wanted, sink);
        let (_, found) = match read {
            Err(EngineError::Damaged(reason)) => {
                let mut faults = self.faults.clone();
                faults.push(reason);
                let count = faults.len();
                return Ok((faults, count));
            }
            read => read.map_err(|error| self.place.engine(error))?,
        };
        let count = self.faults.len() + found.count;
        Ok(([self.faults.clone(), found.told].concat(), count))
    }
}

/// Opens the copy of a database. What is wrong goes to `faults` if something can be read all the same.
fn open_copy(
    database: &Path,
    mark: Mark,
    faults: &mut Vec<String>,
) -> Result<(FjallEngine, Survey), EngineError> {
    match journal::repair(database, mark.commit) {
        Err(EngineError::Damaged(reason)) => faults.push(reason),
        repaired => repaired?.keep().map_err(system)?,
    }
    let engine = FjallEngine::open(database)?;
    let survey = match survey(&engine, mark.commit) {
        Err(EngineError::Damaged(reason)) => {
            faults.push(reason);
            survey(&engine, 0)?
        }
        surveyed => surveyed?,
    };
    Ok((engine, survey))
}

fn summary(record: &ChannelRecord) -> ChannelSummary {
    ChannelSummary {
        state: record.state.clone(),
        first: record.first,
        runs: record.runs,
        bytes: record.bytes,
    }
}

struct Exporter<'a>(&'a mut dyn FnMut(&ChannelState, StoredRun));

impl Sink for Exporter<'_> {
    fn run(&mut self, channel: &ChannelRecord, run: StoredRun) {
        (self.0)(&channel.state, run);
    }

    fn publisher(&mut self, _: &ChannelRecord, _: PublisherId, _: PublisherRecord) {}
}

/// Writes the files of a store anew, without what was deleted. Returns the bytes that it took before and takes now.
///
/// # Errors
///
/// When it is in use or damaged, or when there is no space for that.
pub(crate) fn compact(dir: &Path) -> Result<(u64, u64), OpenStoreError> {
    let place = StorePlace(dir.to_owned());
    let (_marker, last) = lock(&place)?;
    let database = dir.join(DATABASE);
    let before = disk_space(&database).map_err(|error| place.system(&error))?;
    compact_database(&database, last.mark).map_err(|error| place.engine(error))?;
    let after = disk_space(&database).map_err(|error| place.system(&error))?;
    Ok((before, after))
}

/// Has the next server that uses a store begin new orders in its channels, as it does with a copy of a store.
///
/// # Errors
///
/// When it is in use, not there, or the disk does not do it.
pub(crate) fn renew(dir: &Path) -> Result<(), OpenStoreError> {
    let place = StorePlace(dir.to_owned());
    let (mut marker, last) = lock(&place)?;
    let written = marker.write_as_copy(last.mark);
    written.map_err(|error| place.system(&error))
}

/// Keeps servers away from a store that is there. Returns what is told of it, too.
fn lock(place: &StorePlace) -> Result<(Marker, LastMark), OpenStoreError> {
    let StorePlace(dir) = place;
    // Nothing is made where there is none.
    Marker::peek(dir).map_err(|error| place.none(&error))?;
    let opened = Marker::open(dir).map_err(|error| place.system(&error))?;
    let (marker, found) = opened.ok_or_else(|| OpenStoreError::InUse(dir.clone()))?;
    let last = place.mark(found)?;
    let last = last.ok_or_else(|| place.none(&io::ErrorKind::NotFound.into()))?;
    Ok((marker, last))
}

/// Returns the damaged stores that were set aside in the directory of a store, the oldest first.
fn set_aside_in(dir: &Path) -> io::Result<Vec<SetAside>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(SET_ASIDE.as_bytes())
        {
            let dir = entry.path();
            let disk_space = disk_space(&dir)?;
            found.push(SetAside { dir, disk_space });
        }
    }
    found.sort_by(|a, b| a.dir.cmp(&b.dir));
    Ok(found)
}

fn compact_database(database: &Path, mark: Mark) -> Result<(), EngineError> {
    let (mut engine, survey) = journal::open_repaired(database, mark.commit)?;
    let (_, faults) = read(&engine, &survey, &|_| false, &mut Nobody)?;
    match faults.in_words() {
        Some(fault) => Err(EngineError::Damaged(fault)),
        None => engine.compact(),
    }
}

/// Makes a copy of a database. Files that never change are only linked to.
fn copy_database(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let copy = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_database(&path, &copy)?;
        } else if is_constant(&path) {
            std::os::unix::fs::symlink(path.canonicalize()?, &copy)?;
        } else if is_journal(&path) {
            copy_content(&path, &copy)?;
        } else {
            fs::copy(&path, &copy)?;
        }
    }
    Ok(())
}

/// Returns `true` for tables and files of values: they are only written anew and deleted.
fn is_constant(path: &Path) -> bool {
    let parent = path.parent().and_then(Path::file_name);
    parent.is_some_and(|parent| parent == "tables" || parent == "blobs")
}
