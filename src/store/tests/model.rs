//! What a store has to have, kept in plain lists: the model that its contents are compared with.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::channel::PastEpoch;

/// Names of channels. Each has one channel at a time.
const NAMES: [&str; 2] = ["a", "b"];

/// What a shard hands over in one batch: what happens to some channels, each of them at most once.
#[derive(Clone, Debug)]
pub(super) struct Step(BTreeMap<usize, Act>);

/// What happens to a channel.
#[derive(Clone, Debug)]
enum Act {
    /// It has new runs, and keeps so many of its messages.
    Publish {
        runs: Vec<NewRun>,
        kept: Option<u64>,
    },
    /// Its newest runs are handed over once more, as the history has cut them now, with some messages more.
    CutAnew { runs: usize, run: NewRun },
    /// So many messages have come and gone before they were handed over.
    Skip { messages: u32, run: Option<NewRun> },
    /// Something else is known of a publisher; `None` if it is forgotten.
    Remember {
        publisher: u64,
        known: Option<u64>,
        run: Option<NewRun>,
    },
    /// It has been without members since then.
    Idle(Option<u64>),
    /// It is closed.
    Close,
    /// The shard errs: a message is missing. Nothing of the batch is taken.
    Err,
}

#[derive(Clone, Debug)]
struct NewRun {
    messages: u32,
    len: usize,
    publisher: Option<u64>,
    origin: Origin,
}

/// Makes steps at random.
pub(super) fn step() -> impl Strategy<Value = Step> {
    proptest::collection::btree_map(0..NAMES.len(), act(), 1..=NAMES.len()).prop_map(Step)
}

fn act() -> impl Strategy<Value = Act> {
    let maybe_run = || proptest::option::of(run());
    prop_oneof![
        8 => (vec(run(), 0..4), proptest::option::of(0..12_u64))
            .prop_map(|(runs, kept)| Act::Publish { runs, kept }),
        2 => (1..4_usize, run()).prop_map(|(runs, run)| Act::CutAnew { runs, run }),
        1 => (1..5_u32, maybe_run()).prop_map(|(messages, run)| Act::Skip { messages, run }),
        4 => (0..2_u64, proptest::option::of(0..9_u64), maybe_run())
            .prop_map(|(publisher, known, run)| Act::Remember { publisher, known, run }),
        1 => proptest::option::of(0..9_u64).prop_map(Act::Idle),
        1 => Just(Act::Close),
        1 => Just(Act::Err),
    ]
}

fn run() -> impl Strategy<Value = NewRun> {
    let len = prop_oneof![3 => 1..30_usize, 1 => 900..3000_usize];
    let origin = prop_oneof![Just(Origin::Member), any::<u8>().prop_map(Origin::Upstream)];
    let publisher = proptest::option::of(0..2_u64);
    let parts = (1..4_u32, len, publisher, origin);
    parts.prop_map(|(messages, len, publisher, origin)| NewRun {
        messages,
        len,
        publisher,
        origin,
    })
}

/// What a store has to have of a channel.
#[derive(Clone, Debug)]
struct Channel {
    state: ChannelState,
    first: u64,
    runs: Vec<StoredRun>,
    /// With the offset up to which runs add nothing. Those that were forgotten stay here.
    publishers: BTreeMap<u64, (Option<StoredPublisher>, u64)>,
}

/// What a store has to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    channels: BTreeMap<&'static str, Channel>,
    /// Number of runs and states so far: each is different from all before.
    serial: u64,
}

impl Model {
    /// Takes a step. Returns what is handed over for it, and `true` if the store has to take that.
    pub(super) fn take(&mut self, step: &Step, store: &StoreHandle) -> (Vec<Change>, bool) {
        let mut next = self.clone();
        let acts = step.0.iter();
        let changes = acts.map(|(&at, act)| next.act(NAMES[at], act, store));
        let changes: Vec<_> = changes.collect();
        let is_right = !step.0.values().any(|act| matches!(act, Act::Err));
        if is_right {
            *self = next;
        }
        (changes, is_right)
    }

    fn act(&mut self, name: &'static str, act: &Act, store: &StoreHandle) -> Change {
        self.serial += 1;
        if matches!(act, Act::Close) {
            let closed = self.channels.remove(name);
            // One that it has never had may be closed, too.
            let key = closed.map_or_else(|| store.next_key(), |closed| closed.state.key);
            return Change::Forget(key);
        }
        let channel = self.channels.entry(name).or_insert_with(|| Channel {
            state: TestChannel::new(store, name).state,
            first: 1,
            runs: Vec::new(),
            publishers: BTreeMap::new(),
        });
        Change::Save(Box::new(channel.act(act, self.serial)))
    }

    /// Compares this with what a start has loaded, which must have begun new orders unless they go on. Returns this with
    /// those. The error says what is different.
    pub(super) fn compare(&self, loaded: &Loaded, goes_on: bool) -> Result<Self, String> {
        let mut model = self.clone();
        let mut left: Vec<_> = model.channels.keys().copied().collect();
        for channel in &loaded.channels {
            let name = &*channel.state.name;
            let expected = model.channels.get_mut(name);
            let expected = expected.ok_or_else(|| format!("{name} was closed"))?;
            expected.take_over_order(&channel.state, goes_on)?;
            let (is, has_to_be) = (Content::of(channel), expected.content());
            if is != has_to_be {
                return Err(format!("{is:#?} where {has_to_be:#?} is due"));
            }
            left.retain(|other| *other != name);
        }
        if left.is_empty() {
            Ok(model)
        } else {
            Err(format!("{left:?} are missing"))
        }
    }
}

/// What can be compared of a channel.
#[derive(Debug, PartialEq)]
struct Content {
    state: ChannelState,
    runs: Vec<(u64, u32, SystemTime, Origin, Option<PublisherId>, Bytes)>,
    publishers: BTreeMap<u64, StoredPublisher>,
    /// Publishers whose runs are not counted in what is on disk of them.
    added_to: BTreeSet<u64>,
}

impl Content {
    fn of(channel: &LoadedChannel) -> Self {
        let publishers = channel.publishers.iter();
        Self {
            state: channel.state.clone(),
            runs: runs(&channel.runs),
            publishers: publishers.map(|(id, known)| (id.0, *known)).collect(),
            added_to: channel.added_to.iter().map(|id| id.0).collect(),
        }
    }
}

fn runs(runs: &[StoredRun]) -> Vec<(u64, u32, SystemTime, Origin, Option<PublisherId>, Bytes)> {
    let told = |run: &StoredRun| {
        let bytes = run.run.bytes().clone();
        (
            run.end,
            run.messages,
            run.at,
            run.origin,
            run.publisher,
            bytes,
        )
    };
    runs.iter().map(told).collect()
}

impl Channel {
    fn act(&mut self, act: &Act, serial: u64) -> SavedChannel {
        let mut saved = Vec::new();
        let mut publishers = Vec::new();
        match act {
            Act::Publish { runs, kept } => {
                saved.extend(runs.iter().map(|run| self.publish(run, serial)));
                if let Some(kept) = kept {
                    self.first = self
                        .first
                        .max((self.state.newest + 1).saturating_sub(*kept));
                }
            }
            Act::CutAnew { runs, run } => {
                let stay = self.runs.len().saturating_sub(*runs);
                let cut = self.runs.get(stay);
                let begin = cut.map_or(self.state.newest, |run| run.end - u64::from(run.messages));
                let again = u32::try_from(self.state.newest - begin).unwrap();
                self.state.newest = begin;
                self.runs.truncate(stay);
                let run = NewRun {
                    messages: again + run.messages,
                    ..run.clone()
                };
                saved.push(self.publish(&run, serial));
            }
            Act::Skip { messages, run } => {
                self.state.newest += u64::from(*messages);
                self.first = self.state.newest + 1;
                saved.extend(run.iter().map(|run| self.publish(run, serial)));
            }
            Act::Remember {
                publisher,
                known,
                run,
            } => {
                let counted = self.state.newest;
                saved.extend(run.iter().map(|run| self.publish(run, serial)));
                let known = known.map(|count| StoredPublisher {
                    published: Published {
                        count,
                        first: count,
                        first_end: 2 * count,
                        since: 3 * count,
                    },
                    at: (count % 2 == 0).then(|| time(serial)),
                    counted,
                });
                // One that is forgotten is so with all that it has published.
                let up_to = known.map_or(self.state.newest, |_| counted);
                self.publishers.insert(*publisher, (known, up_to));
                publishers.push((PublisherId(*publisher), known));
            }
            Act::Idle(since) => self.state.idle_since = since.map(time),
            Act::Err => self.state.newest += 1,
            Act::Close => unreachable!("that is of no channel"),
        }
        // What has gone already is not handed over.
        saved.retain(|run| run.end >= self.first);
        self.runs.retain(|run| run.end >= self.first);
        SavedChannel {
            state: self.state.clone(),
            first: self.first,
            runs: saved,
            publishers,
        }
    }

    /// Adds a run, and returns it.
    fn publish(&mut self, run: &NewRun, serial: u64) -> StoredRun {
        let first = self.state.newest + 1;
        self.state.newest += u64::from(run.messages);
        let stored = StoredRun {
            run: frames(first, self.state.newest, run.len),
            end: self.state.newest,
            messages: run.messages,
            at: time(serial),
            origin: run.origin,
            publisher: run.publisher.map(PublisherId),
        };
        self.runs.push(stored.clone());
        stored
    }

    /// Takes over the order of a channel that was loaded.
    fn take_over_order(&mut self, loaded: &ChannelState, goes_on: bool) -> Result<(), String> {
        let state = &mut self.state;
        if goes_on {
            return Ok(());
        }
        if loaded.epoch == state.epoch {
            return Err(format!(
                "{loaded:?} goes on, where a new order has to begin"
            ));
        }
        let (epoch, end) = (state.epoch, state.newest);
        state.past.push(PastEpoch { epoch, end });
        let too_many = state.past.len().saturating_sub(16);
        state.past.drain(..too_many);
        state.epoch = loaded.epoch;
        Ok(())
    }

    fn content(&self) -> Content {
        let added_to = (0..2).filter(|&id| !self.uncounted(id).is_empty());
        let publishers = (0..2).filter_map(|id| Some((id, self.publisher(id)?)));
        Content {
            state: self.state.clone(),
            runs: runs(&self.runs),
            publishers: publishers.collect(),
            added_to: added_to.collect(),
        }
    }

    /// Returns the runs of a publisher that are not counted in what is known of it.
    fn uncounted(&self, id: u64) -> Vec<&StoredRun> {
        let counted = self.publishers.get(&id).map_or(0, |(_, counted)| *counted);
        let own = self
            .runs
            .iter()
            .filter(|run| run.publisher == Some(PublisherId(id)));
        own.filter(|run| run.end > counted).collect()
    }

    /// Returns what is known of a publisher, with its runs that are not counted yet.
    fn publisher(&self, id: u64) -> Option<StoredPublisher> {
        let known = self.publishers.get(&id).and_then(|(known, _)| *known);
        let own = self.uncounted(id);
        let Some(last) = own.last() else {
            return known;
        };
        let begin = |run: &StoredRun| run.end + 1 - u64::from(run.messages);
        let mut known = known.unwrap_or(StoredPublisher {
            published: Published {
                since: begin(own[0]) - 1,
                ..Published::default()
            },
            at: Some(last.at),
            counted: 0,
        });
        let published = &mut known.published;
        if published.count == 0 {
            (published.first, published.first_end) = (begin(own[0]), own[0].end);
        }
        published.count += own.iter().map(|run| u64::from(run.messages)).sum::<u64>();
        let newest_at = own.iter().map(|run| run.at).max();
        known.at = known.at.max(newest_at.filter(|_| known.at.is_some()));
        known.counted = last.end;
        Some(known)
    }
}

/// Returns a time that a store can keep to the millisecond.
fn time(serial: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(1_000_000_000 + 7 * serial)
}
