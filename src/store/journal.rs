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

use super::engine::EngineError;
use super::record::{COMMIT, decode_number};

/// Marker at the end of each batch.
const TRAILER: [u8; 4] = *b"FJL\x03";
/// Tags of what a batch consists of.
mod tag {
    pub(super) const START: u8 = 1;
    pub(super) const ITEM: u8 = 2;
    pub(super) const END: u8 = 3;
    pub(super) const CLEAR: u8 = 4;
}

/// Checks the journals in `dir`, and cuts off what was being written at a crash. `synced` is the number of the commit that
/// was on disk at least.
///
/// # Errors
///
/// When a batch cannot be read that was on disk, before anything is changed; or when a file cannot be read.
pub(super) fn repair(dir: &Path, synced: u64) -> Result<(), EngineError> {
    let system = |error: io::Error| EngineError::System(error.to_string());
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
        return Ok(());
    }
    if read.commit.or(last).is_some_and(|commit| commit < synced) {
        return Err(damaged(&active, read.end));
    }
    let cut = || {
        let file = OpenOptions::new().write(true).open(&active)?;
        file.set_len(read.end)?;
        file.sync_all()
    };
    cut().map_err(system)
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
