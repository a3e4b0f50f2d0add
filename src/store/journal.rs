//! A look into the journals of a closed database, before it is opened: that cuts off whatever follows the first batch that
//! it cannot read, and it cannot know whether that was on disk before.
//!
//! A journal is a row of batches. A batch is a start (tag, number of entries, sequence number), entries (an item with
//! table, key and value, or the clearing of a table), and an end (tag, checksum of the entries, trailer). Behind the last
//! one are zeros.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use super::database::{FjallEngine, system};
use super::engine::EngineError;
use super::load::{Survey, survey};
use super::record::{COMMIT, decode_number};

/// Extension of a journal that was cut, as it was before.
const WHOLE: &str = "whole";
/// Marker at the end of each batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Tags of what a batch consists of.
mod tag {
    pub(super) const START: u8 = 1;
    pub(super) const ITEM: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const CLEAR: u8 = 4;
}

/// Opens the database in `dir` with its journals repaired, and reads what is in it. `synced` is the number of the commit
/// that was on disk at least.
///
/// # Errors
///
/// When it is damaged, with the journals as they were; or when it cannot be opened.
pub(super) fn open_repaired(dir: &Path, synced: u64) -> Result<(FjallEngine, Survey), EngineError> {
    let repaired = repair(dir, synced)?;
    let opened = FjallEngine::open(dir).and_then(|engine| {
        let survey = survey(&engine, synced)?;
        Ok((engine, survey))
    });
    let settled = match &opened {
        Ok(_) => repaired.keep(),
        Err(_) => repaired.undo(),
    };
    settled.map_err(system)?;
    opened
}

/// A database whose journals were repaired.
#[must_use]
pub(super) struct Repaired {
    /// Where the journal is that was cut, and where it is as it was, if it is not known yet whether that was right.
    doubtful: Option<(PathBuf, PathBuf)>,
}

impl Repaired {
    /// Says that the database has everything.
    pub(super) fn keep(self) -> io::Result<()> {
        let Some((journal, whole)) = self.doubtful else {
            return Ok(());
        };
        fs::remove_file(whole)?;
        // It must not come back once more has been written to the journal.
        sync_parent(&journal)
    }

    /// Puts the journal back as it was. The database must be closed.
    fn undo(self) -> io::Result<()> {
        let Some((journal, whole)) = self.doubtful else {
            return Ok(());
        };
        fs::rename(whole, &journal)?;
        sync_parent(&journal)
    }
}

/// Checks the journals in `dir`, and cuts off what was being written at a crash. `synced` is the number of the commit that
/// was on disk at least. Where the journals do not tell whether that commit is there, as the tables may have it, they are
/// kept as they were until the database has been looked into.
///
/// # Errors
///
/// When a batch cannot be read that was on disk, before anything is changed; or when a file cannot be read.
pub(super) fn repair(dir: &Path, synced: u64) -> Result<Repaired, EngineError> {
    put_back(dir).map_err(system)?;
    let mut journals = journals(dir).map_err(system)?;
    let Some((_, active)) = journals.pop() else {
        // They hold what is not in tables yet, and one is there from the beginning.
        return Err(EngineError::Damaged("its journal is missing".to_owned()));
    };
    let mut last = None;
    for (_, path) in &journals {
        let read = read(path).map_err(system)?;
        if !read.is_whole {
            return Err(damaged(path, read.end));
        }
        last = read.commit.or(last);
    }
    let read = read(&active).map_err(system)?;
    if read.is_whole {
        return Ok(Repaired { doubtful: None });
    }
    let doubtful = match read.commit.or(last) {
        Some(commit) if commit < synced => return Err(damaged(&active, read.end)),
        Some(_) => {
            cut(&active, read.end).map_err(system)?;
            None
        }
        None => {
            let whole = cut_copy(&active, read.end).map_err(system)?;
            Some((active, whole))
        }
    };
    Ok(Repaired { doubtful })
}

/// Ends a journal at `end`.
fn cut(journal: &Path, end: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(journal)?;
    file.set_len(end)?;
    file.sync_all()
}

/// Puts a copy that ends at `end` in the place of a journal. Returns where the journal is now.
fn cut_copy(journal: &Path, end: u64) -> io::Result<PathBuf> {
    let (whole, copied) = (journal.with_extension(WHOLE), journal.with_extension("cut"));
    let mut copy = File::create(&copied)?;
    io::copy(&mut File::open(journal)?.take(end), &mut copy)?;
    copy.sync_all()?;
    fs::rename(journal, &whole)?;
    fs::rename(copied, journal)?;
    sync_parent(journal)?;
    Ok(whole)
}

/// Puts journals back as they were that somebody has cut who was killed before it was known whether that was right.
fn put_back(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == WHOLE) {
            let journal = path.with_extension("jnl");
            fs::rename(path, &journal)?;
            sync_parent(&journal)?;
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn damaged(path: &Path, at: u64) -> EngineError {
    let name = path.file_name().unwrap_or_default().display();
    EngineError::Damaged(format!(
        "the journal {name} cannot be read from byte {at} on"
    ))
}

/// Returns the journals in the order in which they were written.
fn journals(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let number = name.and_then(|name| name.strip_suffix(".jnl"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Extent of a journal.
struct Found {
    /// Offset at which its last whole batch ends.
    end: u64,
    /// `true` if only zeros follow.
    is_whole: bool,
    /// Number of the last commit of the store in it.
    commit: Option<u64>,
}

fn read(path: &Path) -> io::Result<Found> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut reader = BatchReader {
        file: BufReader::with_capacity(1 << 16, file),
        left: len,
        value: Vec::new(),
    };
    let (mut end, mut commit) = (0, None);
    loop {
        match reader.batch() {
            Ok(found) => commit = found.or(commit),
            Err(Stop::Bad) => break,
            Err(Stop::Failed(error)) => return Err(error),
        }
        end = len - reader.left;
    }
    let mut file = reader.file;
    file.seek(SeekFrom::Start(end))?;
    let is_whole = is_zero(file)?;
    Ok(Found {
        end,
        is_whole,
        commit,
    })
}

/// Returns `true` if there is nothing but zeros in what is left.
fn is_zero(mut file: impl Read) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let len = file.read(&mut buffer)?;
        if len == 0 {
            return Ok(true);
        }
        if buffer[..len].iter().any(|&byte| byte != 0) {
            return Ok(false);
        }
    }
}

/// Reason for which there is no further batch.
enum Stop {
    /// What follows is none.
    Bad,
    /// The file cannot be read.
    Failed(io::Error),
}

struct BatchReader {
    file: BufReader<File>,
    /// Bytes that follow.
    left: u64,
    /// The value that was read last.
    value: Vec<u8>,
}

impl BatchReader {
    /// Reads a batch. Returns the number of the commit that it is.
    fn batch(&mut self) -> Result<Option<u64>, Stop> {
        let mut entries = Xxh3::new();
        let [start] = self.array()?;
        let count = u32::from_le_bytes(self.array()?);
        let _sequence: [u8; 8] = self.array()?;
        if start != tag::START {
            return Err(Stop::Bad);
        }
        let mut commit = None;
        for _ in 0..count {
            commit = self.entry(&mut entries)?.or(commit);
        }
        let [end] = self.array()?;
        let sum = u64::from_le_bytes(self.array()?);
        let trailer: [u8; 4] = self.array()?;
        if end != tag::END || trailer != TRAILER || sum != entries.digest() {
            return Err(Stop::Bad);
        }
        Ok(commit)
    }

    /// Reads an entry. Returns its value if it is the number of a commit.
    fn entry(&mut self, entries: &mut Xxh3) -> Result<Option<u64>, Stop> {
        let [tag] = self.array()?;
        entries.update(&[tag]);
        if tag == tag::CLEAR {
            entries.update(&self.array::<8>()?);
            return Ok(None);
        }
        let kind: [u8; 2] = self.array()?;
        let table: [u8; 8] = self.array()?;
        let key_len: [u8; 2] = self.array()?;
        let value_len: [u8; 4] = self.array()?;
        let stored_len: [u8; 4] = self.array()?;
        if tag != tag::ITEM || value_len != stored_len {
            return Err(Stop::Bad);
        }
        for part in [&kind[..], &table, &key_len, &value_len, &stored_len] {
            entries.update(part);
        }
        let key_len = u16::from_le_bytes(key_len).into();
        self.bytes(key_len)?;
        entries.update(&self.value);
        let is_commit = self.value == COMMIT;
        self.bytes(u32::from_le_bytes(value_len).into())?;
        entries.update(&self.value);
        if !is_commit {
            return Ok(None);
        }
        let value = Bytes::copy_from_slice(&self.value);
        Ok(decode_number(COMMIT, value).ok())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        self.count(N as u64)?;
        self.file.read_exact(&mut array).map_err(Stop::Failed)?;
        Ok(array)
    }

    /// Reads so many bytes into `value`. A length that is wrong costs no memory beyond that of the file.
    fn bytes(&mut self, len: u64) -> Result<(), Stop> {
        self.count(len)?;
        self.value.clear();
        let taken = (&mut self.file).take(len).read_to_end(&mut self.value);
        taken.map_err(Stop::Failed)?;
        Ok(())
    }

    fn count(&mut self, len: u64) -> Result<(), Stop> {
        self.left = self.left.checked_sub(len).ok_or(Stop::Bad)?;
        Ok(())
    }
}
