//! A store that is two maps in memory.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::channel::{Published, PublisherId};
use crate::protocol::{HEADER_LEN, Message, frames};
use crate::store::{
    Batch, Change, ChannelKey, ChannelState, LoadedChannel, StoredPublisher, StoredRun,
};

#[derive(Debug)]
struct Saved {
    state: ChannelState,
    first: u64,
    runs: BTreeMap<u64, StoredRun>,
    publishers: HashMap<PublisherId, StoredPublisher>,
    /// Number of its last change.
    changed: usize,
}

impl Saved {
    /// Returns what a start would load.
    fn loaded(&self) -> LoadedChannel {
        let mut publishers = self.publishers.clone();
        let mut added_to = HashSet::new();
        for run in self.runs.values() {
            let Some(id) = run.publisher else {
                continue;
            };
            let known = publishers.entry(id).or_insert(StoredPublisher {
                published: Published::default(),
                at: Some(run.at),
                counted: 0,
            });
            if run.end > known.counted {
                let first = run.end + 1 - u64::from(run.messages);
                known.published.add((first, run.end));
                known.counted = run.end;
                added_to.insert(id);
            }
        }
        LoadedChannel {
            state: self.state.clone(),
            runs: self.runs.values().cloned().collect(),
            publishers: publishers.into_iter().collect(),
            added_to: added_to.into_iter().collect(),
        }
    }
}

/// What a writer would have on disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    channels: BTreeMap<ChannelKey, Saved>,
    changes: usize,
}

impl Disk {
    /// Writes a batch, and says so.
    pub(super) fn write(&mut self, batch: Batch) {
        for change in batch.changes {
            self.changes += 1;
            match change {
                Change::Save(saved) => self.save(*saved),
                Change::Forget(channel) => _ = self.channels.remove(&channel),
            }
        }
        let _ = batch.done.send(Ok(()));
    }

    fn save(&mut self, saved: crate::store::SavedChannel) {
        let channel = self
            .channels
            .entry(saved.state.key)
            .or_insert_with(|| Saved {
                state: saved.state.clone(),
                first: saved.first,
                runs: BTreeMap::new(),
                publishers: HashMap::new(),
                changed: 0,
            });
        channel.changed = self.changes;
        (channel.state, channel.first) = (saved.state, saved.first);
        channel.runs.retain(|&end, _| end >= saved.first);
        for run in saved.runs {
            let last = channel.runs.last_key_value().map(|(&end, _)| end);
            let start = run.end + 1 - u64::from(run.messages);
            assert!(last.is_none_or(|last| last + 1 == start), "a gap: {run:?}");
            channel.runs.insert(run.end, run);
        }
        let last = channel.runs.last_key_value().map(|(&end, _)| end);
        let newest = channel.state.newest;
        assert!(last.map_or(saved.first > newest, |last| last == newest));
        for (id, publisher) in saved.publishers {
            match publisher {
                Some(publisher) => _ = channel.publishers.insert(id, publisher),
                None => _ = channel.publishers.remove(&id),
            }
        }
    }

    /// Returns the names of all channels, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        let names = self.channels.values();
        let mut names: Vec<_> = names.map(|saved| saved.state.name.to_string()).collect();
        names.sort();
        names
    }

    /// Returns the messages of a channel, as `first: text text`.
    pub(super) fn texts(&self, name: &str) -> String {
        let saved = self.find(name);
        saved.map_or_else(String::new, |saved| {
            let texts = saved.runs.values().flat_map(texts);
            let texts: String = texts.map(|text| format!(" {text}")).collect();
            format!("{}:{texts}", saved.first)
        })
    }

    /// Returns the publishers that are remembered.
    pub(super) fn publishers(&self, name: &str) -> Vec<u64> {
        let saved = self.find(name).unwrap();
        saved.publishers.keys().map(|id| id.0).collect()
    }

    fn find(&self, name: &str) -> Option<&Saved> {
        let mut saved = self.channels.values();
        saved.find(|saved| &*saved.state.name == name)
    }

    /// Returns what a start would load.
    pub(super) fn loaded(&self) -> Vec<LoadedChannel> {
        let mut channels: Vec<_> = self.channels.values().collect();
        channels.sort_by_key(|saved| std::cmp::Reverse(saved.changed));
        channels.into_iter().map(Saved::loaded).collect()
    }
}

/// Returns the texts of the messages of a run.
pub(super) fn texts(run: &StoredRun) -> Vec<String> {
    let texts = frames(run.run.bytes()).map(|frame| {
        let message = Message::decode(&frame[HEADER_LEN..]).unwrap().message;
        String::from_utf8(message.to_vec()).unwrap()
    });
    texts.collect()
}
