//! The file that says how far the database had been synced, which tells damage from a torn end.
//!
//! It has two slots, which are written in turn, each with a checksum: one that was being written at a crash leaves the
//! other. It is locked as long as the store is in use.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

/// Its name in the directory of a store.
pub(super) const NAME: &str = "synced";
/// What each slot begins with.
const MAGIC: &[u8; 8] = b"mles-st\n";
/// Version of the store's format.
const VERSION: u32 = 1;
/// Distance of the slots in bytes: no disk writes both at once.
const DISTANCE: usize = 4096;
/// Length of a slot in bytes.
const SLOT: usize = 8 + 4 + 8 + 8 + 1 + 1 + 8;

/// What was told of the store last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Number of the last commit that was on disk for certain.
    pub(super) commit: u64,
    /// `true` if everything that was acknowledged was synced before anybody saw it, so that orders go on after a crash.
    pub(super) syncs_first: bool,
    /// `true` if the store was closed, and nothing came after that.
    pub(super) is_clean: bool,
}

/// What is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was no file, or an empty one.
    Nothing,
    Mark(Mark),
    /// Neither slot can be read.
    Bad,
    /// The store was written by another version of the program.
    Version(u32),
}

/// The file, locked.
#[derive(Debug)]
pub(super) struct Marker {
    file: File,
    path: PathBuf,
    serial: u64,
}

impl Marker {
    /// Opens the file in `dir`, or makes it, and locks it. `None` if another process has it.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or read.
    pub(super) fn open(dir: &Path) -> io::Result<Option<(Self, Found)>> {
        let path = dir.join(NAME);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        let (found, serial) = read(&bytes);
        Ok(Some((Self { file, path, serial }, found)))
    }

    /// Reads the file in `dir` without changing anything. `None` if another process has it locked.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or read.
    #[cfg(any(feature = "cli", test))]
    pub(super) fn peek(dir: &Path) -> io::Result<Option<(File, Found)>> {
        let file = File::open(dir.join(NAME))?;
        match file.try_lock_shared() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        Ok(Some((file, read(&bytes).0)))
    }

    /// Returns where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what is to be told, into the slot that is older.
    ///
    /// # Errors
    ///
    /// When it cannot be written; what was told before then stands.
    pub(super) fn write(&mut self, mark: Mark) -> io::Result<()> {
        let serial = self.serial + 1;
        let at = if serial.is_multiple_of(2) {
            0
        } else {
            DISTANCE
        };
        self.file.seek(SeekFrom::Start(at as u64))?;
        self.file.write_all(&encode(serial, mark))?;
        self.serial = serial;
        Ok(())
    }

    /// Writes and syncs what is to be told into both slots, so that neither tells anything older.
    ///
    /// # Errors
    ///
    /// When the disk does not do it.
    pub(super) fn write_both(&mut self, mark: Mark) -> io::Result<()> {
        for _ in 0..2 {
            self.write(mark)?;
            self.sync()?;
        }
        Ok(())
    }

    /// Waits until what was written is on disk.
    ///
    /// # Errors
    ///
    /// When the disk does not do it.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn encode(serial: u64, mark: Mark) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT);
    slot.extend(MAGIC);
    slot.extend(VERSION.to_le_bytes());
    slot.extend(serial.to_le_bytes());
    slot.extend(mark.commit.to_le_bytes());
    slot.push(u8::from(mark.syncs_first));
    slot.push(u8::from(mark.is_clean));
    let sum = xxh3_64(&slot);
    slot.extend(sum.to_le_bytes());
    slot
}

/// Returns what the file says, and the serial number of the slot that says it.
fn read(bytes: &[u8]) -> (Found, u64) {
    if bytes.is_empty() {
        return (Found::Nothing, 0);
    }
    let slots = [0, DISTANCE].map(|at| bytes.get(at..).and_then(read_slot));
    let newest = slots
        .into_iter()
        .flatten()
        .max_by_key(|(serial, _)| *serial);
    match newest {
        Some((serial, found)) => (found, serial),
        None => (Found::Bad, 0),
    }
}

fn read_slot(bytes: &[u8]) -> Option<(u64, Found)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (version, rest) = rest.split_first_chunk()?;
    let version = u32::from_le_bytes(*version);
    if version != VERSION {
        // Its slots may have another form: only what tells the version must be as it is.
        let is_whole = bytes.get(SLOT - 8..SLOT)? == xxh3_64(&bytes[..SLOT - 8]).to_le_bytes();
        return is_whole.then_some((u64::MAX, Found::Version(version)));
    }
    if bytes.get(SLOT - 8..SLOT)? != xxh3_64(&bytes[..SLOT - 8]).to_le_bytes() {
        return None;
    }
    let (serial, rest) = rest.split_first_chunk()?;
    let (commit, rest) = rest.split_first_chunk()?;
    let &[syncs_first, is_clean, ..] = rest else {
        return None;
    };
    let mark = Mark {
        commit: u64::from_le_bytes(*commit),
        syncs_first: syncs_first == 1,
        is_clean: is_clean == 1,
    };
    Some((u64::from_le_bytes(*serial), Found::Mark(mark)))
}
