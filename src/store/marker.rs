//! The file that says how far the database had been synced, which tells damage from a torn end.
//!
//! It has two slots, which are written in turn, each with a checksum: one that was being written at a crash leaves the
//! other. It is locked as long as the store is in use.
//!
//! Each slot names the file that it was written to, which no copy of the file does: so a store that was copied, or
//! restored from a backup, is known as one. Clients may have seen more of its orders than is in it.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use xxhash_rust::xxh3::xxh3_64;

/// Its name in the directory of a store.
pub(super) const NAME: &str = "synced";
/// First bytes of each slot.
const MAGIC: &[u8; 8] = b"mles-st\n";
/// Version of the store's format.
const VERSION: u32 = 1;
/// Distance of the slots in bytes: no disk writes both at once.
const DISTANCE: usize = 4096;
/// Length in bytes of a slot without what follows it: the name of its file, with a checksum of its own.
const SLOT: usize = 8 + 4 + 8 + 8 + 1 + 1 + 8;
/// Length in bytes of the name of a file.
const FILE_ID: usize = 8 + 8;

/// Last state of the store that was noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Number of the last commit that was on disk for certain.
    pub(super) commit: u64,
    /// `true` if everything that was acknowledged was synced before anybody saw it, so that orders go on after a crash.
    pub(super) syncs_first: bool,
    /// `true` if the store was closed, and nothing came after that.
    pub(super) is_clean: bool,
}

/// Last mark of a store, and the file that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LastMark {
    pub(super) mark: Mark,
    /// `true` if it was told of a store of which this one is a copy.
    pub(super) is_copy: bool,
}

impl LastMark {
    /// Returns `true` if nothing is missing that anybody has seen, so that orders go on.
    pub(super) fn goes_on(self) -> bool {
        !self.is_copy && (self.mark.is_clean || self.mark.syncs_first)
    }
}

/// What tells a file from its copies: whoever copies or restores one makes another, at another time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    inode: u64,
    /// When the file was made, in nanoseconds since 1970; 0 where the file system does not tell.
    made_at: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        let made_at = metadata.created().ok();
        let since = made_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let nanos = since.map_or(0, |since| since.as_nanos());
        Self {
            inode: inode(metadata),
            made_at: u64::try_from(nanos).unwrap_or(u64::MAX),
        }
    }

    fn encode(self) -> [u8; FILE_ID] {
        let mut bytes = [0; FILE_ID];
        bytes[..8].copy_from_slice(&self.inode.to_le_bytes());
        bytes[8..].copy_from_slice(&self.made_at.to_le_bytes());
        bytes
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.ino()
}

#[cfg(not(unix))]
fn inode(_: &Metadata) -> u64 {
    1
}

/// Contents of the marker file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There was no file, or an empty one.
    Nothing,
    Mark(LastMark),
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
    /// The file that slots are written for.
    id: FileId,
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
        let Some(id) = locked(&path, &file, file.try_lock())? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        let (found, serial) = read(&bytes, id);
        let marker = Self {
            file,
            path,
            serial,
            id,
        };
        Ok(Some((marker, found)))
    }

    /// Reads the file in `dir` without changing anything. `None` if another process has it locked.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or read.
    #[cfg(any(feature = "cli", test))]
    pub(super) fn peek(dir: &Path) -> io::Result<Option<(File, Found)>> {
        let path = dir.join(NAME);
        let file = File::open(&path)?;
        let Some(id) = locked(&path, &file, file.try_lock_shared())? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        (&file).read_to_end(&mut bytes)?;
        Ok(Some((file, read(&bytes, id).0)))
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
        self.file.write_all(&encode(serial, mark, self.id))?;
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

    /// Puts a new file in the place of this one, which tells `mark`: so a copy of this one that is written over it later is
    /// known as that.
    ///
    /// # Errors
    ///
    /// When the disk does not do it; the file is as it was then.
    pub(super) fn replace(&mut self, mark: Mark) -> io::Result<()> {
        let path = self.path.with_extension("new");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        let file = options.open(&path)?;
        // Whoever opens it once it is in its place finds it in use.
        file.try_lock()?;
        let id = FileId::of(&file.metadata()?);
        let mut new = Self {
            file,
            path,
            serial: self.serial,
            id,
        };
        new.write_both(mark)?;
        fs::rename(&new.path, &self.path)?;
        new.path.clone_from(&self.path);
        *self = new;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir)?.sync_all()
    }

    /// Has the store taken for a copy when it is used next, though it may be none. `mark` is what was told before.
    ///
    /// # Errors
    ///
    /// When the disk does not do it.
    #[cfg(feature = "cli")]
    pub(super) fn write_as_copy(&mut self, mark: Mark) -> io::Result<()> {
        // No file has this name.
        self.id = FileId {
            inode: 0,
            made_at: 0,
        };
        self.write_both(mark)
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

/// Returns the name of the file at `path` that was opened as `file` and locked; `None` if another process has it, or has put
/// its own in its place meanwhile.
fn locked(path: &Path, file: &File, lock: Result<(), TryLockError>) -> io::Result<Option<FileId>> {
    match lock {
        Ok(()) => (),
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let id = FileId::of(&file.metadata()?);
    let is_there = FileId::of(&fs::metadata(path)?) == id;
    Ok(is_there.then_some(id))
}

fn encode(serial: u64, mark: Mark, id: FileId) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT + FILE_ID + 8);
    slot.extend(MAGIC);
    slot.extend(VERSION.to_le_bytes());
    slot.extend(serial.to_le_bytes());
    slot.extend(mark.commit.to_le_bytes());
    slot.push(u8::from(mark.syncs_first));
    slot.push(u8::from(mark.is_clean));
    let sum = xxh3_64(&slot);
    slot.extend(sum.to_le_bytes());
    slot.extend(id.encode());
    let sum = xxh3_64(&slot);
    slot.extend(sum.to_le_bytes());
    slot
}

/// Returns what the file called `id` says, and the serial number of the slot that says it.
fn read(bytes: &[u8], id: FileId) -> (Found, u64) {
    if bytes.is_empty() {
        return (Found::Nothing, 0);
    }
    let slots = [0, DISTANCE].map(|at| bytes.get(at..).and_then(|slot| read_slot(slot, id)));
    let newest = slots
        .into_iter()
        .flatten()
        .max_by_key(|(serial, _)| *serial);
    match newest {
        Some((serial, found)) => (found, serial),
        None => (Found::Bad, 0),
    }
}

/// Returns `true` if a slot was written to another file than the one called `id`, or it cannot be read what that was.
fn is_copy(slot: &[u8], id: FileId) -> bool {
    let end = slot.len().min(SLOT + FILE_ID + 8);
    let rest = &slot[SLOT..end];
    // The first stores did not name their files.
    let is_named = rest.iter().any(|&byte| byte != 0);
    is_named && (rest.get(..FILE_ID) != Some(&id.encode()) || rest[FILE_ID..] != sum_of(slot))
}

fn sum_of(slot: &[u8]) -> [u8; 8] {
    xxh3_64(&slot[..SLOT + FILE_ID]).to_le_bytes()
}

fn read_slot(bytes: &[u8], id: FileId) -> Option<(u64, Found)> {
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
    let is_copy = is_copy(bytes, id);
    Some((
        u64::from_le_bytes(*serial),
        Found::Mark(LastMark { mark, is_copy }),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_opened_a_file_that_was_replaced_finds_it_in_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let opened = Marker::open(dir.path()).expect("it opens");
        let (mut marker, _) = opened.expect("nobody has it");
        let path = dir.path().join(NAME);
        let older = File::open(&path).expect("it is there");
        let mark = Mark {
            commit: 1,
            syncs_first: false,
            is_clean: false,
        };
        marker.replace(mark).expect("it is replaced");
        let id = locked(&path, &older, older.try_lock());
        assert_eq!(id.expect("nobody has the older one"), None);
        assert!(Marker::open(dir.path()).expect("it opens").is_none());
        drop(marker);
        let opened = Marker::open(dir.path()).expect("it opens");
        let is_copy = false;
        let last = LastMark { mark, is_copy };
        assert_eq!(opened.expect("nobody has it").1, Found::Mark(last));
    }
}
