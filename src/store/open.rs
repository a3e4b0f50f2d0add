//! Opens a store at the start of a server.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tracing::warn;

use super::batch::{Change, ChannelKey, ChannelState};
use super::contents::Contents;
use super::database::{FjallEngine, renew_journals};
use super::engine::{Engine, EngineError, Table, Write};
use super::handle::{Loaded, StoreHandle};
use super::journal;
use super::load::{Collector, Survey};
use super::marker::{self, Found, LastMark, Mark, Marker};
use super::parallel::{Loading, load};
use super::record::{COMMIT, ChannelRecord, SECRET, encode_number, encode_secret};
use super::secret::PublisherSecret;
use super::writer::{DiskLimits, Schedule, Writer};
use crate::channel::PastEpoch;
use crate::protocol::Epoch;
use crate::settings::{OnDamage, StoreSettings, StoreSync};

/// Name of the database in the directory of a store.
pub(super) const DATABASE: &str = "db";
/// Prefix of the directories that damaged stores are moved to.
pub(super) const SET_ASIDE: &str = "damaged-";
/// Most orders that a channel remembers to be the continuation of.
const PAST_EPOCHS: usize = 16;
/// Memory in bytes that a run costs besides its frames.
pub(super) const RUN_COST: u64 = 192;

/// Reason for which a store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenStoreError {
    /// The system does not let us, or the disk does not do it.
    #[error("cannot open the store in {}: {reason}", dir.display())]
    System {
        /// The directory of the store.
        dir: PathBuf,
        /// Why, in words.
        reason: String,
    },
    /// Another process has it open.
    #[error("the store in {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// What is on disk is not what was written.
    #[error(
        "the store in {dir} is damaged: {reason}; see `mles store check {dir}`, or start with --store-on-damage set-aside \
         to begin anew",
        dir = dir.display()
    )]
    Damaged {
        /// The directory of the store.
        dir: PathBuf,
        /// The damage, in words.
        reason: String,
    },
    /// It was written by another version of the program.
    #[error("the store in {} has format {version}, which this version of mles cannot read", dir.display())]
    Version {
        /// The directory of the store.
        dir: PathBuf,
        /// The version of its format.
        version: u32,
    },
    /// The thread that writes could not be started.
    #[error("cannot start a thread for the store: {0}")]
    Thread(#[source] io::Error),
}

/// Opens the store in `dir`, or makes it. Loads the channels whose names `keep` returns `true` for, newest first, as far as
/// their histories fit into `budget` bytes of memory; the others are forgotten. Blocks until all is read.
///
/// # Errors
///
/// When there is no store to go on with afterwards. Nothing is changed then, but what was being written when a server was
/// killed is cut off.
pub(crate) fn open(
    dir: &Path,
    settings: &StoreSettings,
    budget: u64,
    keep: &dyn Fn(&str) -> bool,
) -> Result<(StoreHandle, Loaded), OpenStoreError> {
    let place = StorePlace(dir.to_owned());
    let opening = Opening {
        place,
        budget,
        keep,
    };
    let system = |error: io::Error| opening.place.system(&error);
    fs::create_dir_all(dir).map_err(system)?;
    let opened = Marker::open(dir).map_err(system)?;
    let (mut marker, found) = opened.ok_or_else(|| OpenStoreError::InUse(dir.to_owned()))?;
    let opened = match opening.existing(found) {
        Err(OpenStoreError::Damaged { reason, .. }) if settings.on_damage == OnDamage::SetAside => {
            opening.set_aside(&mut marker, &reason).map_err(system)?;
            None
        }
        opened => opened?,
    };
    let mut opened = match opened {
        Some(opened) => opened,
        None => opening.create(&mut marker)?,
    };
    let loaded = opened
        .bring_up_to_date()
        .map_err(|error| opening.place.engine(error))?;
    let mark = Mark {
        commit: opened.commit,
        syncs_first: settings.sync == StoreSync::Batch,
        is_clean: false,
    };
    marker.replace(mark).map_err(system)?;
    let handle = start(opened, marker, dir, settings).map_err(OpenStoreError::Thread)?;
    Ok((handle, loaded))
}

/// Starts the writer.
fn start(
    opened: Opened,
    marker: Marker,
    dir: &Path,
    settings: &StoreSettings,
) -> io::Result<StoreHandle> {
    let (mut handle, commands) = StoreHandle::new(opened.contents.highest_key());
    let database = dir.join(DATABASE);
    let writer = Writer {
        engine: Some(opened.engine),
        reopen: Box::new(move |commit| {
            let renewed = renew_journals(&database);
            renewed.map_err(|error| EngineError::System(error.to_string()))?;
            let (engine, _) = journal::open_repaired(&database, commit)?;
            Ok(Box::new(engine))
        }),
        contents: opened.contents,
        unfit: HashSet::new(),
        marker,
        commit: opened.commit,
        sync: settings.sync,
        limits: DiskLimits::of(settings),
        status: handle.status().clone(),
        schedule: Schedule::default(),
    };
    let thread = thread::Builder::new().name("mles-store".to_owned());
    handle.attach(thread.spawn(move || writer.run(&commands))?);
    Ok(handle)
}

/// Settings with which a store is opened.
struct Opening<'a> {
    place: StorePlace,
    budget: u64,
    keep: &'a dyn Fn(&str) -> bool,
}

impl Opening<'_> {
    /// Opens the store that is there; `None` if there is none yet.
    fn existing(&self, found: Found) -> Result<Option<Opened>, OpenStoreError> {
        let Some(last) = self.place.mark(found)? else {
            return Ok(None);
        };
        if last.is_copy {
            warn!(
                dir = %self.dir().display(),
                "the store was copied or restored since it was used last: its channels begin new epochs, and clients that \
                 have seen more are told"
            );
        }
        let opened = self.load(&self.dir().join(DATABASE), last);
        opened.map(Some).map_err(|error| self.place.engine(error))
    }

    fn dir(&self) -> &Path {
        &self.place.0
    }

    fn load(&self, database: &Path, last: LastMark) -> Result<Opened, EngineError> {
        let mark = last.mark;
        let (engine, survey) = journal::open_repaired(database, mark.commit)?;
        let choice = Choice::of(&survey, self.budget, self.keep);
        let is_wanted = |record: &ChannelRecord| choice.wanted.contains(&record.state.key);
        let Loading {
            contents,
            faults,
            collector,
        } = load(&engine, &survey.channels, &is_wanted)?;
        if let Some(fault) = faults.in_words() {
            return Err(EngineError::Damaged(fault));
        }
        Ok(Opened {
            engine: Box::new(engine),
            commit: survey.commit,
            secret: survey.secret,
            contents,
            collector,
            choice,
            goes_on: last.goes_on(),
        })
    }

    /// Makes a new store in place of what is there, which was never finished.
    fn create(&self, marker: &mut Marker) -> Result<Opened, OpenStoreError> {
        let database = self.dir().join(DATABASE);
        let mut prepare = || {
            if database.try_exists()? {
                fs::remove_dir_all(&database)?;
            }
            marker.write_both(Mark {
                commit: 0,
                syncs_first: false,
                is_clean: false,
            })?;
            File::open(self.dir())?.sync_all()
        };
        prepare().map_err(|error| self.place.system(&error))?;
        let (commit, secret) = (1, PublisherSecret::random());
        let create = || -> Result<Box<dyn Engine>, EngineError> {
            let mut engine = FjallEngine::open(&database)?;
            let record = |key: &'static [u8], value| Write {
                table: Table::Store,
                key: key.into(),
                value: Some(value),
            };
            engine.commit(vec![
                record(SECRET, encode_secret(secret)),
                record(COMMIT, encode_number(COMMIT, commit)),
            ])?;
            engine.sync()?;
            Ok(Box::new(engine))
        };
        Ok(Opened {
            engine: create().map_err(|error| self.place.engine(error))?,
            commit,
            secret,
            contents: Contents::default(),
            collector: Collector::default(),
            choice: Choice::default(),
            goes_on: true,
        })
    }

    /// Moves a damaged store into a directory of its own within that of the store: only that one is ours for certain.
    fn set_aside(&self, marker: &mut Marker, reason: &str) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.unwrap_or_default().as_secs();
        let aside = self.dir().join(format!("{SET_ASIDE}{seconds}"));
        fs::create_dir(&aside)?;
        fs::copy(marker.path(), aside.join(marker::NAME))?;
        let database = self.dir().join(DATABASE);
        if database.try_exists()? {
            fs::rename(&database, aside.join(DATABASE))?;
        }
        // Once the marker says that there is no store, what is in its place is deleted.
        File::open(&aside)?.sync_all()?;
        File::open(self.dir())?.sync_all()?;
        marker.write_both(Mark {
            commit: 0,
            syncs_first: false,
            is_clean: false,
        })?;
        warn!(
            aside = %aside.display(),
            reason,
            "the store is damaged: it was set aside, and a new one begins"
        );
        Ok(())
    }
}

/// Directory of a store; errors name it.
#[derive(Debug)]
pub(super) struct StorePlace(pub(super) PathBuf);

impl StorePlace {
    /// Returns what the marker says of a database that is there; `None` if there is none, or it was never finished.
    pub(super) fn mark(&self, found: Found) -> Result<Option<LastMark>, OpenStoreError> {
        let database = self.0.join(DATABASE);
        let is_there = database.try_exists().map_err(|error| self.system(&error))?;
        let last = match found {
            Found::Version(version) => {
                let dir = self.0.clone();
                return Err(OpenStoreError::Version { dir, version });
            }
            Found::Nothing if is_there => {
                return Err(self.damaged("the file `synced` is empty or missing"));
            }
            Found::Bad if is_there => return Err(self.damaged("the file `synced` cannot be read")),
            Found::Nothing | Found::Bad => return Ok(None),
            Found::Mark(last) if last.mark.commit == 0 => return Ok(None),
            Found::Mark(last) => last,
        };
        if !FjallEngine::is_there(&database).map_err(|error| self.system(&error))? {
            return Err(self.damaged("its database is missing"));
        }
        Ok(Some(last))
    }

    fn damaged(&self, reason: &str) -> OpenStoreError {
        OpenStoreError::Damaged {
            dir: self.0.clone(),
            reason: reason.to_owned(),
        }
    }

    /// Returns the error of a directory without a store.
    #[cfg(feature = "cli")]
    pub(super) fn none(&self, error: &io::Error) -> OpenStoreError {
        if error.kind() == io::ErrorKind::NotFound {
            return OpenStoreError::System {
                dir: self.0.clone(),
                reason: "there is none".to_owned(),
            };
        }
        self.system(error)
    }

    pub(super) fn system(&self, error: &io::Error) -> OpenStoreError {
        OpenStoreError::System {
            dir: self.0.clone(),
            reason: error.to_string(),
        }
    }

    pub(super) fn engine(&self, error: EngineError) -> OpenStoreError {
        let dir = self.0.clone();
        match error {
            EngineError::Locked => OpenStoreError::InUse(dir),
            EngineError::System(reason) => OpenStoreError::System { dir, reason },
            EngineError::Damaged(reason) => OpenStoreError::Damaged { dir, reason },
        }
    }
}

/// The channels that are loaded, and those that are forgotten.
#[derive(Debug, Default)]
struct Choice {
    /// Those with the newest messages first.
    order: Vec<ChannelKey>,
    wanted: HashSet<ChannelKey>,
    forgotten: Vec<ChannelKey>,
    unwanted: usize,
    too_many: usize,
}

impl Choice {
    /// Chooses the channels that `keep` returns `true` for, newest first, until `budget` bytes are used up.
    fn of(survey: &Survey, budget: u64, keep: &dyn Fn(&str) -> bool) -> Self {
        // Of two with one name the later one goes on: the other was closed before. They come in the order of their keys.
        let channels = survey.channels.iter();
        let latest: HashMap<_, _> = channels
            .map(|record| (&record.state.name, record.state.key))
            .collect();
        let mut records: Vec<_> = survey.channels.iter().collect();
        records.sort_by_key(|record| Reverse((record.newest_at, record.state.key)));
        let mut choice = Self::default();
        let mut left = budget;
        for record in records {
            let (key, name) = (record.state.key, &record.state.name);
            let cost = record.bytes + record.runs * RUN_COST;
            if !keep(name) || latest.get(name) != Some(&key) {
                choice.unwanted += 1;
                choice.forgotten.push(key);
            } else if cost > left {
                // None that is older takes its place.
                left = 0;
                choice.too_many += 1;
                choice.forgotten.push(key);
            } else {
                left -= cost;
                choice.wanted.insert(key);
                choice.order.push(key);
            }
        }
        choice
    }
}

/// A store that was read.
struct Opened {
    engine: Box<dyn Engine>,
    commit: u64,
    secret: PublisherSecret,
    contents: Contents,
    collector: Collector,
    choice: Choice,
    /// `true` if nothing is missing that anybody has seen.
    goes_on: bool,
}

impl Opened {
    /// Has channels that were not chosen forgotten, begins new orders where something may be missing, and returns what
    /// was loaded once that is on disk.
    fn bring_up_to_date(&mut self) -> Result<Loaded, EngineError> {
        let mut writes = Vec::new();
        for &channel in &self.choice.forgotten {
            let forget = Change::Forget(channel);
            self.contents.apply(forget, &*self.engine, &mut writes)?;
        }
        if !self.goes_on {
            for channel in self.contents.iter_mut() {
                begin_epoch(&mut channel.record.state);
                writes.push(channel.record_write());
            }
        }
        if !writes.is_empty() {
            self.commit += 1;
            writes.push(Write {
                table: Table::Store,
                key: COMMIT.into(),
                value: Some(encode_number(COMMIT, self.commit)),
            });
            self.engine.commit(writes)?;
            self.engine.sync()?;
        }
        let mut channels = Vec::with_capacity(self.choice.order.len());
        for &key in &self.choice.order {
            if let Some(channel) = self.contents.get_mut(key) {
                channels.push(self.collector.take(&channel.record));
            }
        }
        let loaded = Loaded {
            channels,
            secret: self.secret,
            unwanted: self.choice.unwanted,
            too_many: self.choice.too_many,
        };
        Ok(loaded)
    }
}

/// Begins a new order that is the continuation of the old one.
fn begin_epoch(state: &mut ChannelState) {
    state.past.push(PastEpoch {
        epoch: state.epoch,
        end: state.newest,
    });
    let too_many = state.past.len().saturating_sub(PAST_EPOCHS);
    state.past.drain(..too_many);
    state.epoch = Epoch(rand::random());
}
