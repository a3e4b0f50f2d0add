//! A store that an earlier version has written opens, and has what was in it.
//!
//! It is in `tests/data/store-1.json`, with the version of its format in its name. Where a new version of the format comes,
//! that file stays, and one of the new version comes beside it: `UPDATE_STORE=1 cargo test --lib store::tests::format`
//! writes it.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::disk::files;
use super::*;
use crate::channel::PastEpoch;
use crate::store::database::FjallEngine;
use crate::store::engine::Engine as _;
use crate::store::open::DATABASE;

/// The store that the format of this version is shown by.
const STORE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store-1.json");

/// The channel in it whose state has everything that a state can have.
fn room() -> ChannelState {
    ChannelState {
        key: ChannelKey(1),
        name: "room".into(),
        epoch: Epoch(0xE0),
        past: vec![PastEpoch {
            epoch: Epoch(0xDF),
            end: 2,
        }],
        newest: 9,
        idle_since: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
    }
}

/// Its runs.
fn runs() -> Vec<StoredRun> {
    let run = |end, messages: u32, len, publisher: Option<u64>, origin| StoredRun {
        run: frames(end + 1 - u64::from(messages), end, len),
        end,
        messages,
        at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_600_000_000_000 + end),
        origin,
        publisher: publisher.map(PublisherId),
    };
    vec![
        run(3, 2, 10, None, Origin::Member),
        // A value that is kept apart from its key.
        run(4, 1, 1500, Some(7), Origin::Upstream(0)),
        run(6, 2, 10, Some(8), Origin::Upstream(255)),
        run(9, 3, 20, Some(7), Origin::Member),
    ]
}

/// A publisher with all that can be known of one.
const KNOWN: StoredPublisher = StoredPublisher {
    published: Published {
        count: 4,
        first: 1,
        first_end: 3,
        since: 0,
    },
    at: Some(SystemTime::UNIX_EPOCH),
    counted: 6,
};

/// Writes the store. One part of it is in the tables of the database, and the other in its journal.
fn write_store(dir: &Path) {
    let settings = settings(StoreSync::Batch);
    let saved = |state: ChannelState, runs: &[StoredRun], publishers| {
        Change::Save(Box::new(SavedChannel {
            state,
            first: 2,
            runs: runs.to_vec(),
            publishers,
        }))
    };
    let (store, _) = open_all(dir, &settings);
    let before = ChannelState {
        newest: 6,
        ..room()
    };
    let publishers = vec![(PublisherId(7), Some(KNOWN)), (PublisherId(8), None)];
    write(&store, vec![saved(before, &runs()[..3], publishers)]).unwrap();
    store.close();
    drop(store);
    FjallEngine::open(&dir.join(DATABASE))
        .unwrap()
        .compact()
        .unwrap();
    let (store, _) = open_all(dir, &settings);
    let publishers = vec![(PublisherId(9), Some(StoredPublisher { at: None, ..KNOWN }))];
    write(&store, vec![saved(room(), &runs()[3..], publishers)]).unwrap();
}

/// Writes the files of a store into one.
fn pack(dir: &Path) -> String {
    let files = files(dir).into_iter().map(|(path, content)| {
        let content = content.map(|content| STANDARD.encode(content));
        (path, content)
    });
    let files: BTreeMap<_, _> = files.collect();
    serde_json::to_string_pretty(&files).unwrap() + "\n"
}

fn unpack(packed: &str, dir: &Path) {
    let files: BTreeMap<PathBuf, Option<String>> = serde_json::from_str(packed).unwrap();
    for (path, content) in files {
        let path = dir.join(path);
        match content {
            Some(content) => fs::write(path, STANDARD.decode(content).unwrap()).unwrap(),
            None => fs::create_dir(path).unwrap(),
        }
    }
}

#[test]
fn a_store_of_the_first_format_opens() {
    if std::env::var_os("UPDATE_STORE").is_some() {
        let dir = memory_dir();
        write_store(dir.path());
        fs::write(STORE, pack(dir.path())).unwrap();
    }
    let dir = memory_dir();
    unpack(&fs::read_to_string(STORE).unwrap(), dir.path());
    let (store, loaded) = open_all(dir.path(), &settings(StoreSync::Batch));
    let [channel] = &loaded.channels[..] else {
        panic!("{loaded:?}");
    };
    // It is a copy, so clients may have seen more.
    let mut state = room();
    let (epoch, end) = (state.epoch, state.newest);
    state.past.push(PastEpoch { epoch, end });
    state.epoch = channel.state.epoch;
    assert_ne!(state.epoch, epoch);
    assert_eq!(channel.state, state);
    assert_eq!(content(channel), content_of(&runs()));
    for (found, run) in channel.runs.iter().zip(runs()) {
        assert_eq!((found.messages, found.at), (run.messages, run.at));
        assert_eq!((found.origin, found.publisher), (run.origin, run.publisher));
    }
    let mut publishers = channel.publishers.clone();
    publishers.sort_by_key(|(id, _)| id.0);
    let mut with_run = KNOWN;
    (with_run.published.count, with_run.counted) = (7, 9);
    with_run.at = Some(runs()[3].at);
    let without_session = StoredPublisher { at: None, ..KNOWN };
    let expected = [(7, with_run), (9, without_session)];
    assert_eq!(
        publishers,
        expected.map(|(id, known)| (PublisherId(id), known))
    );
    assert!(store.next_key() > room().key);
}
