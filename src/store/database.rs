//! The database of a store, in fjall.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fjall::{
    Database, Iter, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, LsmError, PersistMode,
};

use super::engine::{ChannelRange, Engine, EngineError, Table, Visitor, Write};

/// Most bytes of a table that are only in memory and in the journal.
const MEMTABLE: u64 = 32 << 20;
/// Bytes of journals from which on tables are written, so that the oldest journal can go.
const JOURNALS: u64 = 64 << 20;
/// Memory in bytes for what was read. Nothing is read twice, and to keep it costs a third of the time that reading takes.
const CACHE: u64 = 0;
/// Values from this length in bytes on are not moved when tables are merged, and each is read into a buffer of its own. A
/// database keeps what it was made with: this may become larger, but never smaller.
pub(super) const SEPARATED: u32 = 1 << 10;
/// Length in bytes of the files that these values are in.
const VALUE_FILE: u64 = 16 << 20;
/// The writer waits while so many parts of a table wait to be written to disk. At twice as many the database itself
/// would wait, without an end if what writes them has failed.
const WAITING: usize = 2;
/// The writer waits while so many parts of a table wait to be merged. The database itself would wait at 20.
const UNMERGED: usize = 16;
/// Longest time that the writer waits for the database to keep up.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time between two looks at that.
const LOOK: Duration = Duration::from_millis(5);
/// Threads that write and merge tables.
const WORKERS: usize = 2;

/// An open database.
pub(super) struct FjallEngine {
    database: Database,
    /// In the order of [`Table::ALL`].
    tables: [Keyspace; 4],
    dir: PathBuf,
}

impl FjallEngine {
    /// Opens the database in `dir`, or makes it. What was being written when it was last in use, and was not whole, is
    /// cut off.
    pub(super) fn open(dir: &Path) -> Result<Self, EngineError> {
        guarded(EngineError::Damaged, || {
            let database = Database::builder(dir)
                .cache_size(CACHE)
                .max_journaling_size(JOURNALS)
                .worker_threads(WORKERS)
                .open()
                .map_err(opening)?;
            let [channels, runs, publishers, store] =
                Table::ALL.map(|table| database.keyspace(table.name(), || options(table)));
            let (channels, runs) = (channels.map_err(opening)?, runs.map_err(opening)?);
            let (publishers, store) = (publishers.map_err(opening)?, store.map_err(opening)?);
            Ok(Self {
                database,
                tables: [channels, runs, publishers, store],
                dir: dir.to_owned(),
            })
        })
    }

    /// Returns `true` if there is a whole database in `dir`.
    pub(super) fn is_there(dir: &Path) -> io::Result<bool> {
        // Written last when a database is made.
        dir.join("version").try_exists()
    }

    fn table(&self, table: Table) -> &Keyspace {
        let [channels, runs, publishers, store] = &self.tables;
        match table {
            Table::Channels => channels,
            Table::Runs => runs,
            Table::Publishers => publishers,
            Table::Store => store,
        }
    }

    /// Waits until the database can take a commit without waiting itself.
    fn wait_for_room(&self) -> Result<(), EngineError> {
        let begun = Instant::now();
        let is_full = |table: &Keyspace| {
            table.sealed_memtable_count() >= WAITING || table.l0_table_count() >= UNMERGED
        };
        while self.tables.iter().any(is_full) {
            // Fails if a worker has.
            self.database
                .persist(PersistMode::Buffer)
                .map_err(writing)?;
            if begun.elapsed() > PATIENCE {
                let text = "the database does not keep up with merging its tables";
                return Err(EngineError::System(text.to_owned()));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Writes what is only in memory and in the journal into tables.
    fn flush(&self, table: &Keyspace) -> Result<(), EngineError> {
        table.rotate_memtable().map_err(writing)?;
        while table.sealed_memtable_count() > 0 {
            self.database
                .persist(PersistMode::Buffer)
                .map_err(writing)?;
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    fn iter(&self, table: Table, channels: &ChannelRange) -> Iter {
        let (first, last) = (channels.start().0, channels.end().0);
        // Keys that are none of a channel are visited with those of all channels.
        let start = match first {
            0 => Bound::Unbounded,
            first => Bound::Included(first.to_be_bytes()),
        };
        let end = match last {
            u64::MAX => Bound::Unbounded,
            last => Bound::Excluded((last + 1).to_be_bytes()),
        };
        self.table(table).range((start, end))
    }
}

impl Engine for FjallEngine {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        guarded(EngineError::System, || {
            self.wait_for_room()?;
            let mut batch = self.database.batch();
            for Write { table, key, value } in writes {
                match value {
                    Some(value) => batch.insert(self.table(table), key, value),
                    None => batch.remove(self.table(table), key),
                }
            }
            batch.commit().map_err(writing)
        })
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        guarded(EngineError::System, || {
            self.database
                .persist(PersistMode::SyncData)
                .map_err(writing)
        })
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        guarded(EngineError::Damaged, || {
            let value = self.table(table).get(key).map_err(opening)?;
            Ok(value.map(Into::into))
        })
    }

    fn scan(
        &self,
        table: Table,
        channels: ChannelRange,
        visit: Visitor<'_>,
    ) -> Result<(), EngineError> {
        guarded(EngineError::Damaged, || {
            for record in self.iter(table, &channels) {
                let (key, value) = record.into_inner().map_err(opening)?;
                visit(&key, value.into());
            }
            Ok(())
        })
    }

    fn scan_keys(
        &self,
        table: Table,
        channels: ChannelRange,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), EngineError> {
        guarded(EngineError::Damaged, || {
            for record in self.iter(table, &channels) {
                visit(&record.key().map_err(opening)?);
            }
            Ok(())
        })
    }

    fn disk_space(&self) -> Result<u64, EngineError> {
        disk_space(&self.dir).map_err(system)
    }

    fn free_space(&self) -> Result<u64, EngineError> {
        let disk = rustix::fs::statvfs(&self.dir).map_err(|error| system(error.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        guarded(EngineError::System, || {
            for table in &self.tables {
                self.flush(table)?;
                table.major_compact().map_err(writing)?;
            }
            Ok(())
        })
    }
}

/// Returns the bytes that the files below `dir` take on disk.
pub(super) fn disk_space(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // Merging removes files all the time.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        sum += if metadata.is_dir() {
            disk_space(&entry.path())?
        } else {
            allocated(&metadata)
        };
    }
    Ok(sum)
}

/// Journals are longer than what is in them, with nothing on disk behind it.
#[cfg(unix)]
fn allocated(metadata: &fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    metadata.blocks() * 512
}

#[cfg(not(unix))]
fn allocated(metadata: &fs::Metadata) -> u64 {
    metadata.len()
}

/// Copies the journals of the closed database in `dir`, and puts the copies in their place.
///
/// After a sync has failed, the system may hold for written what is not on disk, and never write it: what is in the copies
/// was written after that.
pub(super) fn renew_journals(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !is_journal(&path) {
            continue;
        }
        let copy = path.with_extension("renewed");
        copy_content(&path, &copy)?;
        fs::rename(&copy, &path)?;
    }
    File::open(dir)?.sync_all()
}

/// Returns `true` if that is the path of a journal.
pub(super) fn is_journal(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension == "jnl")
}

/// Copies a journal without the zeros at its end, which are many megabytes, and syncs the copy.
pub(super) fn copy_content(from: &Path, to: &Path) -> io::Result<()> {
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; 1 << 16];
    // Zeros that are not written yet.
    let mut zeros = 0;
    loop {
        let len = from.read(&mut buffer)?;
        if len == 0 {
            return to.sync_all();
        }
        let end = buffer[..len].iter().rposition(|&byte| byte != 0);
        let content = end.map_or(0, |end| end + 1);
        if content > 0 {
            io::copy(&mut io::repeat(0).take(zeros), &mut to)?;
            to.write_all(&buffer[..content])?;
            zeros = 0;
        }
        zeros += (len - content) as u64;
    }
}

/// Returns how a table is kept.
fn options(table: Table) -> KeyspaceCreateOptions {
    let options = KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE);
    if table != Table::Runs {
        return options;
    }
    let separation = KvSeparationOptions::default()
        .separation_threshold(SEPARATED)
        .file_target_size(VALUE_FILE);
    options.with_kv_separation(Some(separation))
}

/// Does something with the database. It does not panic on what is on disk, as far as its authors know.
fn guarded<T>(
    error: impl FnOnce(String) -> EngineError,
    act: impl FnOnce() -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(error(text.unwrap_or("no reason").to_owned()))
    })
}

/// Returns the error of a system call.
pub(super) fn system(error: io::Error) -> EngineError {
    EngineError::System(error.to_string())
}

/// Tells damage from what the system does not let us do.
fn opening(error: fjall::Error) -> EngineError {
    match error {
        fjall::Error::Locked => EngineError::Locked,
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => {
            opening_file(&error)
        }
        fjall::Error::Poisoned => EngineError::System("a write has failed".to_owned()),
        error => EngineError::Damaged(without_brand(&error)),
    }
}

/// Returns the error of a file that could not be opened. One that has another length than it should, or is not there, is
/// damage.
fn opening_file(error: &io::Error) -> EngineError {
    let is_damage = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::NotFound
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::Other
    );
    let text = error.to_string();
    if is_damage {
        EngineError::Damaged(text)
    } else {
        EngineError::System(text)
    }
}

fn writing(error: fjall::Error) -> EngineError {
    EngineError::System(match error {
        fjall::Error::Io(error) | fjall::Error::Storage(LsmError::Io(error)) => error.to_string(),
        fjall::Error::Poisoned => "an earlier write has failed".to_owned(),
        error => without_brand(&error),
    })
}

/// Returns the text of an error without the name of its type.
fn without_brand(error: &fjall::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("FjallError: ").unwrap_or(&text);
    text.to_owned()
}
