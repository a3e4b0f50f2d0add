//! What is on disk of each channel, as far as the writer must know it to go on.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use super::batch::{Change, ChannelKey, SavedChannel, StoredPublisher, StoredRun};
use super::engine::{Engine, EngineError, Table, Write};
use super::record::{ChannelRecord, PublisherRecord, channel_key, encode_run, key_in, read_key_in};
use crate::channel::PublisherId;

/// The channels of a store.
#[derive(Debug, Default)]
pub(super) struct Contents(HashMap<ChannelKey, OnDisk>);

/// State of a channel on disk.
#[derive(Debug)]
pub(super) struct OnDisk {
    pub(super) record: ChannelRecord,
    /// Its runs, oldest first.
    pub(super) runs: VecDeque<RunOnDisk>,
    /// Records of forgotten publishers, each with the offset up to which runs may name it. Those offsets never fall.
    pub(super) forgotten: VecDeque<(u64, PublisherId)>,
    /// Offset of the last message that is in a run with a publisher; 0 if there was none.
    pub(super) named: u64,
}

/// A run on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunOnDisk {
    /// Offset of its last message.
    pub(super) end: u64,
    /// Bytes of its frames.
    pub(super) len: u64,
}

impl OnDisk {
    /// Creates that of a channel without runs.
    pub(super) fn new(record: ChannelRecord) -> Self {
        Self {
            record,
            runs: VecDeque::new(),
            forgotten: VecDeque::new(),
            named: 0,
        }
    }

    /// Returns the bytes of frames in its runs.
    pub(super) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.len).sum()
    }
}

/// Returns the offset of the first message of a run.
pub(super) fn start(run: &StoredRun) -> u64 {
    (run.end + 1).saturating_sub(run.messages.into())
}

impl Contents {
    /// Adds a channel.
    pub(super) fn insert(&mut self, channel: OnDisk) {
        self.0.insert(channel.record.state.key, channel);
    }

    /// Returns a channel.
    pub(super) fn get_mut(&mut self, channel: ChannelKey) -> Option<&mut OnDisk> {
        self.0.get_mut(&channel)
    }

    /// Returns all channels, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut OnDisk> {
        self.0.values_mut()
    }

    /// Takes the channels of another store's part, none of which it has.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Returns the highest key that a channel has; 0 if there is none.
    pub(super) fn highest_key(&self) -> u64 {
        self.0.keys().map(|key| key.0).max().unwrap_or_default()
    }

    /// Checks that a change leaves a history without gaps: what is written is expected to be so when it is loaded.
    pub(super) fn check(&self, change: &Change) -> Result<(), &'static str> {
        let Change::Save(saved) = change else {
            return Ok(());
        };
        let mut runs = saved.runs.iter().filter(|run| run.messages > 0).peekable();
        let begin = runs.peek().map_or(u64::MAX, |run| start(run));
        let on_disk = self.0.get(&saved.state.key);
        let stays = |run: &&RunOnDisk| run.end < begin && run.end >= saved.first;
        let mut last = on_disk.and_then(|known| known.runs.iter().rev().find(stays).map(|r| r.end));
        for run in runs {
            match last {
                Some(last) if last + 1 != start(run) => return Err("its offsets have a gap"),
                None if start(run) > saved.first.max(1) => {
                    return Err("its first messages are missing");
                }
                _ => last = Some(run.end),
            }
        }
        match last {
            Some(last) if last != saved.state.newest => {
                Err("it does not end with its newest message")
            }
            None if saved.first <= saved.state.newest => Err("messages are missing"),
            _ => Ok(()),
        }
    }

    /// Applies a change that was checked, and appends what is to be written for it.
    pub(super) fn apply(
        &mut self,
        change: Change,
        engine: &dyn Engine,
        writes: &mut Vec<Write>,
    ) -> Result<(), EngineError> {
        match change {
            Change::Save(saved) => {
                self.save(*saved, writes);
                Ok(())
            }
            Change::Forget(channel) => self.forget(channel, engine, writes),
        }
    }

    /// Appends what is to be written for what a change deletes, and leaves what it adds for later.
    pub(super) fn shrink(
        &mut self,
        change: &Change,
        engine: &dyn Engine,
        writes: &mut Vec<Write>,
    ) -> Result<(), EngineError> {
        let saved = match change {
            Change::Save(saved) => saved,
            Change::Forget(channel) => return self.forget(*channel, engine, writes),
        };
        let channel = saved.state.key;
        let Some(on_disk) = self.0.get_mut(&channel) else {
            return Ok(());
        };
        let newest = on_disk.record.state.newest;
        let first = saved.first.min(newest + 1);
        if first > on_disk.record.first {
            on_disk.record.first = first;
            on_disk.delete_until(channel, first, writes);
            // What goes may be all that tells of them. What counts messages that are not on disk would tell of too many.
            let publishers = saved.publishers.iter().copied();
            let publishers =
                publishers.filter(|(_, known)| known.is_none_or(|known| known.counted <= newest));
            on_disk.write_publishers(channel, newest, publishers, writes);
            writes.push(on_disk.record_write());
        }
        Ok(())
    }

    fn save(&mut self, saved: SavedChannel, writes: &mut Vec<Write>) {
        let SavedChannel {
            state,
            first,
            runs,
            publishers,
        } = saved;
        let (channel, newest) = (state.key, state.newest);
        let on_disk = self.0.entry(channel).or_insert_with(|| {
            OnDisk::new(ChannelRecord {
                state: state.clone(),
                first,
                runs: 0,
                bytes: 0,
                newest_at: SystemTime::UNIX_EPOCH,
            })
        });
        on_disk.record.state = state;
        on_disk.record.first = first;
        let runs = runs.into_iter().filter(|run| run.messages > 0);
        let mut runs = runs.peekable();
        let begin = runs.peek().map_or(u64::MAX, start);
        while let Some(&run) = on_disk.runs.back()
            && run.end >= begin
        {
            on_disk.runs.pop_back();
            on_disk.delete_run(channel, run, writes);
        }
        on_disk.delete_until(channel, first, writes);
        for run in runs {
            on_disk.add_run(channel, &run, writes);
        }
        on_disk.write_publishers(channel, newest, publishers, writes);
        writes.push(on_disk.record_write());
    }

    fn forget(
        &mut self,
        channel: ChannelKey,
        engine: &dyn Engine,
        writes: &mut Vec<Write>,
    ) -> Result<(), EngineError> {
        let Some(on_disk) = self.0.remove(&channel) else {
            return Ok(());
        };
        let runs = on_disk.runs.iter().map(|run| key_in(channel, run.end));
        writes.extend(runs.map(|key| Write {
            table: Table::Runs,
            key,
            value: None,
        }));
        engine.scan_keys(Table::Publishers, channel..=channel, &mut |key| {
            if let Some((channel, publisher)) = read_key_in(key) {
                writes.push(publisher_write(channel, PublisherId(publisher), None));
            }
        })?;
        writes.push(Write {
            table: Table::Channels,
            key: channel_key(channel),
            value: None,
        });
        Ok(())
    }
}

impl OnDisk {
    fn add_run(&mut self, channel: ChannelKey, run: &StoredRun, writes: &mut Vec<Write>) {
        let len = run.run.bytes().len() as u64;
        self.runs.push_back(RunOnDisk { end: run.end, len });
        self.record.runs += 1;
        self.record.bytes += len;
        self.record.newest_at = run.at;
        if run.publisher.is_some() {
            self.named = run.end;
        }
        let (key, value) = encode_run(channel, run);
        writes.push(Write {
            table: Table::Runs,
            key,
            value: Some(value),
        });
    }

    /// Appends what is to be written for publishers, of which no run behind `newest` is there, and removes records that
    /// nobody needs any more.
    fn write_publishers(
        &mut self,
        channel: ChannelKey,
        newest: u64,
        publishers: impl IntoIterator<Item = (PublisherId, Option<StoredPublisher>)>,
        writes: &mut Vec<Write>,
    ) {
        let first = self.record.first;
        for (publisher, known) in publishers {
            // A record that is written anew stays for as long as that needs.
            self.forgotten.retain(|&(_, other)| other != publisher);
            let record = match known {
                Some(known) => Some(PublisherRecord::Known(known)),
                None if self.named >= first => {
                    self.forgotten.push_back((newest, publisher));
                    Some(PublisherRecord::Forgotten(newest))
                }
                None => None,
            };
            writes.push(publisher_write(channel, publisher, record));
        }
        while let Some(&(end, publisher)) = self.forgotten.front()
            && end < first
        {
            self.forgotten.pop_front();
            writes.push(publisher_write(channel, publisher, None));
        }
    }

    /// Deletes the runs that end before message `first`.
    fn delete_until(&mut self, channel: ChannelKey, first: u64, writes: &mut Vec<Write>) {
        while let Some(&run) = self.runs.front()
            && run.end < first
        {
            self.runs.pop_front();
            self.delete_run(channel, run, writes);
        }
    }

    /// Counts a run that was taken out.
    fn delete_run(&mut self, channel: ChannelKey, run: RunOnDisk, writes: &mut Vec<Write>) {
        self.record.runs -= 1;
        self.record.bytes -= run.len;
        writes.push(Write {
            table: Table::Runs,
            key: key_in(channel, run.end),
            value: None,
        });
    }

    /// Returns what is to be written for its state.
    pub(super) fn record_write(&self) -> Write {
        let (key, value) = self.record.encode();
        Write {
            table: Table::Channels,
            key,
            value: Some(value),
        }
    }
}

fn publisher_write(
    channel: ChannelKey,
    publisher: PublisherId,
    record: Option<PublisherRecord>,
) -> Write {
    Write {
        table: Table::Publishers,
        key: key_in(channel, publisher.0),
        value: record.map(|record| record.encode(channel, publisher).1),
    }
}
