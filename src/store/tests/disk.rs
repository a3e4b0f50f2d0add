//! A disk that is watched at each commit and each sync of a store, so that its power can be cut.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _};

use super::*;
use crate::store::database::{FjallEngine, is_journal};
use crate::store::engine::{ChannelRange, Engine, EngineError, Table, Visitor, Write};
use crate::store::load::{Nobody, read, survey};
use crate::store::marker::{Marker, NAME};
use crate::store::open::DATABASE;
use crate::store::writer::{DiskLimits, Schedule, Writer};

/// What a disk writes as a whole, or not at all.
const SECTOR: usize = 512;
/// Length in bytes of a journal that is new.
const NEW_JOURNAL: u64 = 64 << 20;
/// Where the second slot of the marker begins.
const SECOND_SLOT: usize = 4096;

/// Files with what is in them, without the zeros at the ends of journals. Directories have nothing in them.
pub(super) type Files = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What has become of the disk of a store since the store was opened.
#[derive(Debug)]
pub(super) struct Disk {
    /// What is on disk for certain.
    synced: Files,
    /// What was so before the last sync.
    before: Files,
    /// The files as the last commit has left them to the system.
    written: Files,
    /// All that the marker was until then: nobody waits until that is on disk.
    marks: Vec<Vec<u8>>,
    /// Number of commits.
    pub(super) commits: usize,
}

/// When the power fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cut {
    /// After the last commit, before its sync has come to an end.
    BeforeSync,
    /// After the last sync.
    AfterSync,
}

impl Disk {
    fn of(dir: &Path) -> Self {
        let written = files(dir);
        Self {
            synced: written.clone(),
            before: written.clone(),
            marks: written[Path::new(NAME)].iter().cloned().collect(),
            written,
            commits: 0,
        }
    }

    /// Leaves in `dir`, where the store was, what its disk has when the power was cut: what was synced, and any part of the
    /// rest.
    pub(super) fn cut(&self, cut: Cut, dir: &Path, rng: &mut StdRng) {
        let synced = match cut {
            Cut::BeforeSync => &self.before,
            Cut::AfterSync => &self.synced,
        };
        for (path, written) in &self.written {
            let (to, synced) = (dir.join(path), synced.get(path));
            let Some(written) = written else {
                assert!(to.is_dir(), "{}", to.display());
                continue;
            };
            if path == Path::new(NAME) {
                fs::write(to, self.some_mark(rng)).unwrap();
            } else if is_journal(path) {
                let synced = synced.and_then(Option::as_deref).unwrap_or_default();
                write_torn(&to, synced, written, rng);
            } else {
                let synced = synced.and_then(Option::as_ref);
                assert_eq!(synced, Some(written), "{}", path.display());
                fs::write(to, written).unwrap();
            }
        }
    }

    /// Returns a marker each of whose slots is on disk as it was at any time.
    fn some_mark(&self, rng: &mut StdRng) -> Vec<u8> {
        let some = |rng: &mut StdRng| &self.marks[rng.random_range(0..self.marks.len())];
        let first = &some(rng)[..SECOND_SLOT];
        let second = &some(rng)[SECOND_SLOT..];
        [first, second].concat()
    }
}

/// Writes a journal that has any of the sectors that were written behind what was synced, and has any length.
fn write_torn(path: &Path, synced: &[u8], written: &[u8], rng: &mut StdRng) {
    assert!(written.starts_with(synced), "{}", path.display());
    let mut bytes = written.to_vec();
    let first = synced.len() / SECTOR * SECTOR;
    for at in (first..written.len()).step_by(SECTOR) {
        let unsynced = at.max(synced.len())..written.len().min(at + SECTOR);
        match rng.random_range(0..4) {
            0 => bytes[unsynced].fill(0),
            // What was there before belongs to others.
            1 if at >= synced.len() => rng.fill_bytes(&mut bytes[unsynced]),
            _ => {}
        }
    }
    if rng.random_range(0..3) == 0 {
        bytes.truncate(rng.random_range(synced.len()..=written.len()));
    }
    fs::write(path, bytes).unwrap();
    if rng.random_range(0..8) == 0 {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(NEW_JOURNAL).unwrap();
    }
}

/// Returns the files below `dir`.
pub(super) fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(below) = dirs.pop() {
        for entry in fs::read_dir(below).unwrap() {
            let path = entry.unwrap().path();
            let content = if path.is_dir() {
                dirs.push(path.clone());
                None
            } else if is_journal(&path) {
                Some(content_of(&path))
            } else {
                Some(fs::read(&path).unwrap())
            };
            found.insert(path.strip_prefix(dir).unwrap().to_owned(), content);
        }
    }
    found
}

/// Returns what a journal has before the zeros at its end. What a test writes has no zeros for so long.
fn content_of(journal: &Path) -> Vec<u8> {
    let (mut file, mut bytes) = (File::open(journal).unwrap(), Vec::new());
    loop {
        let before = bytes.len();
        (&mut file).take(1 << 16).read_to_end(&mut bytes).unwrap();
        let zeros = bytes[before..].iter().rev().take_while(|&&byte| byte == 0);
        let zeros = zeros.count();
        if before + zeros == bytes.len() {
            let end = bytes.iter().rposition(|&byte| byte != 0);
            bytes.truncate(end.map_or(0, |end| end + 1));
            return bytes;
        }
    }
}

/// A database whose disk is watched.
struct Watched {
    inner: FjallEngine,
    dir: PathBuf,
    disk: Arc<Mutex<Disk>>,
}

impl Engine for Watched {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.inner.commit(writes)?;
        let mut disk = self.disk.lock().unwrap();
        disk.commits += 1;
        disk.written = files(&self.dir);
        let mark = disk.written[Path::new(NAME)].clone();
        disk.marks.extend(mark);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        self.inner.sync()?;
        let mut disk = self.disk.lock().unwrap();
        let synced = files(&self.dir);
        disk.before = std::mem::replace(&mut disk.synced, synced);
        Ok(())
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.inner.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        channels: ChannelRange,
        visit: Visitor<'_>,
    ) -> Result<(), EngineError> {
        self.inner.scan(table, channels, visit)
    }

    fn scan_keys(
        &self,
        table: Table,
        channels: ChannelRange,
        visit: &mut dyn FnMut(&[u8]),
    ) -> Result<(), EngineError> {
        self.inner.scan_keys(table, channels, visit)
    }

    fn disk_space(&self) -> Result<u64, EngineError> {
        self.inner.disk_space()
    }

    fn free_space(&self) -> Result<u64, EngineError> {
        self.inner.free_space()
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        self.inner.compact()
    }
}

/// Starts a writer on the store in `dir`, whose disk is watched from now on.
pub(super) fn start_watched(dir: &Path, sync: StoreSync) -> (StoreHandle, Arc<Mutex<Disk>>) {
    let (marker, _) = Marker::open(dir).unwrap().expect("nobody has it");
    let inner = FjallEngine::open(&dir.join(DATABASE)).unwrap();
    let survey = survey(&inner, 0).unwrap();
    let (contents, faults) = read(&inner, &survey, &|_| false, &mut Nobody).unwrap();
    assert_eq!(faults.count, 0, "{faults:?}");
    let disk = Arc::new(Mutex::new(Disk::of(dir)));
    let engine = Watched {
        inner,
        dir: dir.to_owned(),
        disk: disk.clone(),
    };
    let (mut handle, commands) = StoreHandle::new(contents.highest_key());
    let settings = settings(sync);
    let writer = Writer {
        engine: Some(Box::new(engine)),
        reopen: Box::new(|_| Err(EngineError::System("nothing fails".to_owned()))),
        contents,
        unfit: HashSet::new(),
        marker,
        commit: survey.commit,
        sync,
        limits: DiskLimits::of(&settings),
        status: handle.status().clone(),
        schedule: Schedule::default(),
    };
    handle.attach(std::thread::spawn(move || writer.run(&commands)));
    (handle, disk)
}
