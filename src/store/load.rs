//! Reads a store, and looks for damage: the database does not find all of it itself.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::batch::{ChannelKey, LoadedChannel, StoredPublisher, StoredRun};
use super::contents::{Contents, OnDisk, RunOnDisk, start};
use super::engine::{ALL_CHANNELS, ChannelRange, Engine, EngineError, Table};
use super::record::{
    BadRecord, COMMIT, ChannelRecord, PublisherRecord, SECRET, decode_number, decode_run,
    decode_secret, read_key_in,
};
use super::secret::PublisherSecret;
use crate::channel::{Published, PublisherId};

/// So many faults are told; the others are counted.
const TOLD: usize = 20;

/// Summary of a store, without histories.
#[derive(Debug)]
pub(super) struct Survey {
    /// Number of the last commit.
    pub(super) commit: u64,
    /// The secret for the names of publishers.
    pub(super) secret: PublisherSecret,
    /// Its channels, in the order of their keys.
    pub(super) channels: Vec<ChannelRecord>,
}

/// The faults of a store.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// The first of them, in words.
    pub(super) told: Vec<String>,
    /// Number of faults.
    pub(super) count: usize,
}

impl Faults {
    /// Adds a fault.
    pub(super) fn add(&mut self, fault: impl FnOnce() -> String) {
        self.count += 1;
        if self.told.len() < TOLD {
            self.told.push(fault());
        }
    }

    /// Adds those of another part of the store.
    pub(super) fn append(&mut self, other: Self) {
        self.count += other.count;
        let room = TOLD - self.told.len();
        self.told.extend(other.told.into_iter().take(room));
    }

    /// Returns the first fault, and how many there are besides it.
    pub(super) fn in_words(&self) -> Option<String> {
        let first = self.told.first()?;
        Some(match self.count {
            1 => first.clone(),
            count => format!("{first} (and {} other faults)", count - 1),
        })
    }
}

/// Takes what is read of the channels that were asked for, in the order of their keys.
pub(super) trait Sink {
    /// Takes a run. Those of a channel come in order.
    fn run(&mut self, channel: &ChannelRecord, run: StoredRun);

    /// Takes what is remembered of a publisher.
    fn publisher(&mut self, channel: &ChannelRecord, id: PublisherId, record: PublisherRecord);
}

/// Takes nothing.
pub(super) struct Nobody;

impl Sink for Nobody {
    fn run(&mut self, _: &ChannelRecord, _: StoredRun) {}

    fn publisher(&mut self, _: &ChannelRecord, _: PublisherId, _: PublisherRecord) {}
}

/// Reads what a store has, without histories. `synced` is the number of the commit that is expected at least.
///
/// # Errors
///
/// When the store is damaged, or cannot be read.
pub(super) fn survey(engine: &dyn Engine, synced: u64) -> Result<Survey, EngineError> {
    let bad = |what: &str, error: BadRecord| EngineError::Damaged(format!("{what}: {error}"));
    let missing = |what: &str| EngineError::Damaged(format!("{what} is missing"));
    let number = engine.get(Table::Store, COMMIT)?;
    let number = number.ok_or_else(|| missing("the number of the last commit"))?;
    let commit = decode_number(COMMIT, number)
        .map_err(|error| bad("the number of the last commit", error))?;
    if commit < synced {
        let text = format!("it ends with commit {commit}, but commit {synced} was on disk");
        return Err(EngineError::Damaged(text));
    }
    let secret = engine.get(Table::Store, SECRET)?;
    let secret = secret.ok_or_else(|| missing("the secret"))?;
    let secret = decode_secret(secret).map_err(|error| bad("the secret", error))?;
    let (mut channels, mut fault) = (Vec::new(), None);
    engine.scan(
        Table::Channels,
        ALL_CHANNELS,
        &mut |key, value| match ChannelRecord::decode(key, value) {
            Ok(record) => channels.push(record),
            Err(error) => {
                fault.get_or_insert_with(|| bad("the state of a channel", error));
            }
        },
    )?;
    match fault {
        Some(fault) => Err(fault),
        None => Ok(Survey {
            commit,
            secret,
            channels,
        }),
    }
}

/// Channels that are read one after the other.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Their states, in the order of their keys.
    pub(super) channels: &'a [ChannelRecord],
    /// All keys that no other part has: a record of a channel that is not there is found, too.
    pub(super) keys: ChannelRange,
}

/// Reads all histories and publishers. Those of the channels that `wanted` returns `true` for go to `sink`; the others are
/// checked as well.
///
/// # Errors
///
/// When the store cannot be read any further. Other faults are in what is returned.
pub(super) fn read(
    engine: &dyn Engine,
    survey: &Survey,
    wanted: &dyn Fn(&ChannelRecord) -> bool,
    sink: &mut dyn Sink,
) -> Result<(Contents, Faults), EngineError> {
    let part = Part {
        channels: &survey.channels,
        keys: ALL_CHANNELS,
    };
    read_part(engine, &part, wanted, sink, &AtomicU64::new(0))
}

/// Reads a part of the channels, as [`read`] does all of them. Adds the bytes of frames to `bytes` as they come.
///
/// # Errors
///
/// See [`read`].
pub(super) fn read_part(
    engine: &dyn Engine,
    part: &Part<'_>,
    wanted: &dyn Fn(&ChannelRecord) -> bool,
    sink: &mut dyn Sink,
    bytes: &AtomicU64,
) -> Result<(Contents, Faults), EngineError> {
    let mut reader = Reader {
        contents: Contents::default(),
        faults: Faults::default(),
        wanted,
        sink,
        bytes,
    };
    for record in part.channels {
        reader.contents.insert(OnDisk::new(record.clone()));
    }
    engine.scan(Table::Runs, part.keys.clone(), &mut |key, value| {
        reader.run(key, value);
    })?;
    engine.scan(Table::Publishers, part.keys.clone(), &mut |key, value| {
        reader.publisher(key, value);
    })?;
    let Reader {
        mut contents,
        mut faults,
        ..
    } = reader;
    for channel in contents.iter_mut() {
        let forgotten = channel.forgotten.make_contiguous();
        forgotten.sort_unstable_by_key(|(end, _)| *end);
        if let Some(fault) = fault_of(channel) {
            faults.add(|| format!("channel {:?}: {fault}", channel.record.state.name));
        }
    }
    Ok((contents, faults))
}

/// Returns what is wrong with the history of a channel, all of which was read.
fn fault_of(channel: &OnDisk) -> Option<String> {
    let record = &channel.record;
    let (found, bytes) = (channel.runs.len() as u64, channel.bytes());
    let newest = record.state.newest;
    if (found, bytes) != (record.runs, record.bytes) {
        return Some(format!(
            "it has {found} runs of {bytes} bytes, but {} of {} were written",
            record.runs, record.bytes
        ));
    }
    match channel.runs.back() {
        Some(last) if last.end != newest => {
            Some(format!("it ends with message {}, not {newest}", last.end))
        }
        None if record.first <= newest => Some("its messages are missing".to_owned()),
        _ => None,
    }
}

struct Reader<'a> {
    contents: Contents,
    faults: Faults,
    wanted: &'a dyn Fn(&ChannelRecord) -> bool,
    sink: &'a mut dyn Sink,
    /// Bytes of frames that were read.
    bytes: &'a AtomicU64,
}

impl Reader<'_> {
    fn run(&mut self, key: &[u8], value: Bytes) {
        let faults = &mut self.faults;
        let Some((channel, end)) = owner(&mut self.contents, key) else {
            return faults.add(|| "there is a run of no channel".to_owned());
        };
        let name = &channel.record.state.name;
        let run = match decode_run(key, value) {
            Ok(run) => run,
            Err(error) => {
                return faults
                    .add(|| format!("channel {name:?}: the run up to message {end}: {error}"));
            }
        };
        let (begin, first) = (start(&run), channel.record.first);
        match channel.runs.back().map(|last| last.end) {
            Some(last) if last + 1 != begin => {
                faults.add(|| format!("channel {name:?}: a gap between messages {last} and {end}"));
            }
            None if begin > first.max(1) => {
                faults.add(|| {
                    format!("channel {name:?}: it begins with message {begin}, not {first}")
                });
            }
            _ => (),
        }
        let len = run.run.bytes().len() as u64;
        channel.runs.push_back(RunOnDisk { end, len });
        self.bytes.fetch_add(len, Ordering::Relaxed);
        if run.publisher.is_some() {
            channel.named = end;
        }
        if (self.wanted)(&channel.record) {
            self.sink.run(&channel.record, run);
        }
    }

    fn publisher(&mut self, key: &[u8], value: Bytes) {
        let faults = &mut self.faults;
        let Some((channel, id)) = owner(&mut self.contents, key) else {
            return faults.add(|| "there is a publisher of no channel".to_owned());
        };
        let (name, id) = (&channel.record.state.name, PublisherId(id));
        let record = match PublisherRecord::decode(key, value) {
            Ok(record) => record,
            Err(error) => {
                return faults.add(|| format!("channel {name:?}: a publisher: {error}"));
            }
        };
        if let PublisherRecord::Forgotten(end) = record {
            channel.forgotten.push_back((end, id));
        }
        if (self.wanted)(&channel.record) {
            self.sink.publisher(&channel.record, id, record);
        }
    }
}

/// Returns the channel that a key belongs to, and the number in the key.
fn owner<'a>(contents: &'a mut Contents, key: &[u8]) -> Option<(&'a mut OnDisk, u64)> {
    let (channel, number) = read_key_in(key)?;
    Some((contents.get_mut(channel)?, number))
}

/// Collects channels as shards take them.
#[derive(Default)]
pub(super) struct Collector {
    channels: HashMap<ChannelKey, Collected>,
}

#[derive(Default)]
struct Collected {
    runs: Vec<StoredRun>,
    publishers: HashMap<PublisherId, PublisherRecord>,
}

impl Sink for Collector {
    fn run(&mut self, channel: &ChannelRecord, run: StoredRun) {
        let collected = self.channels.entry(channel.state.key).or_default();
        collected.runs.push(run);
    }

    fn publisher(&mut self, channel: &ChannelRecord, id: PublisherId, record: PublisherRecord) {
        let collected = self.channels.entry(channel.state.key).or_default();
        collected.publishers.insert(id, record);
    }
}

impl Collector {
    /// Takes the channels of another one, none of which it has.
    pub(super) fn append(&mut self, other: Self) {
        self.channels.extend(other.channels);
    }

    /// Takes out a channel whose state is `record`.
    pub(super) fn take(&mut self, record: &ChannelRecord) -> LoadedChannel {
        let collected = self.channels.remove(&record.state.key);
        let Collected {
            runs,
            mut publishers,
        } = collected.unwrap_or_default();
        let mut added_to = HashSet::new();
        for run in &runs {
            if let Some(id) = run.publisher {
                let record = publishers
                    .entry(id)
                    .or_insert(PublisherRecord::Forgotten(0));
                if run.end > record.counted() {
                    count(record, run);
                    added_to.insert(id);
                }
            }
        }
        let known = publishers
            .into_iter()
            .filter_map(|(id, record)| match record {
                PublisherRecord::Known(known) => Some((id, known)),
                PublisherRecord::Forgotten(_) => None,
            });
        LoadedChannel {
            state: record.state.clone(),
            publishers: known.collect(),
            added_to: added_to.into_iter().collect(),
            runs,
        }
    }
}

/// Counts a run for its publisher. One that was forgotten before is known from then on.
fn count(record: &mut PublisherRecord, run: &StoredRun) {
    let first = run.end + 1 - u64::from(run.messages);
    let mut known = match *record {
        PublisherRecord::Known(known) => known,
        PublisherRecord::Forgotten(_) => StoredPublisher {
            published: Published {
                since: first - 1,
                ..Published::default()
            },
            at: Some(run.at),
            counted: 0,
        },
    };
    known.published.add((first, run.end));
    // One that has a session goes on to have it.
    known.at = known.at.map(|at| at.max(run.at));
    known.counted = run.end;
    *record = PublisherRecord::Known(known);
}
