//! Whatever is changed or missing on disk: what is loaded is right, or the store does not open.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::settings::OnDamage;
use crate::store::database::{copy_content, is_journal};

/// So many faults are tried in each file of a store; the small ones have no more bytes.
const TRIED: u64 = 24;

/// A channel with the offset of its newest message and its runs.
type Content = (String, u64, Vec<(u64, Bytes)>);

/// A store that a server has left that was killed, and what is in it.
struct Left {
    dir: tempfile::TempDir,
    content: Vec<Content>,
}

fn left() -> Left {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(StoreSync::Batch);
    let (store, _) = open_all(dir.path(), &settings);
    let mut a = TestChannel::new(&store, "a");
    let mut b = TestChannel::new(&store, "b");
    for len in [5, 2000, 20] {
        let (of_a, of_b) = (a.publish(2, len), b.publish(1, len));
        write(&store, vec![a.save(vec![of_a]), b.save(vec![of_b])]).expect("it is written");
    }
    drop(store);
    let (store, loaded) = open_all(dir.path(), &settings);
    drop(store);
    let content = all(&loaded);
    Left { dir, content }
}

fn all(loaded: &Loaded) -> Vec<Content> {
    let channels = loaded.channels.iter();
    let mut all: Vec<_> = channels
        .map(|channel| {
            let state = &channel.state;
            (state.name.to_string(), state.newest, content(channel))
        })
        .collect();
    all.sort();
    all
}

/// Copies a directory, without the zeros at the ends of journals.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else if is_journal(&path) {
            copy_content(&path, &copied).unwrap();
        } else {
            fs::copy(&path, &copied).unwrap();
        }
    }
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
    found.sort();
}

/// Does something to a copy of each file of a store, at many places in it, and looks what becomes of the store. Returns
/// how often it did not open.
fn try_all(fault: impl Fn(&mut Vec<u8>, usize)) -> usize {
    let left = left();
    let place = tempfile::tempdir().unwrap();
    copy(left.dir.path(), place.path());
    let (store, loaded) = open_all(place.path(), &settings(StoreSync::Batch));
    assert_eq!(all(&loaded), left.content, "a copy without a fault is fine");
    drop(store);
    let mut all_files = Vec::new();
    files(left.dir.path(), &mut all_files);
    let mut refused = 0;
    for file in all_files {
        let name = file.strip_prefix(left.dir.path()).unwrap();
        let place = tempfile::tempdir().unwrap();
        copy(left.dir.path(), place.path());
        let len = fs::metadata(place.path().join(name)).unwrap().len();
        drop(place);
        let step = usize::try_from(len.div_ceil(TRIED).max(1)).unwrap();
        for at in (0..usize::try_from(len).unwrap()).step_by(step) {
            let place = tempfile::tempdir().unwrap();
            copy(left.dir.path(), place.path());
            let path = place.path().join(name);
            let mut bytes = fs::read(&path).unwrap();
            fault(&mut bytes, at);
            fs::write(&path, bytes).unwrap();
            let settings = settings(StoreSync::Batch);
            match open(place.path(), &settings, BUDGET, &|_| true) {
                Ok((_store, loaded)) => {
                    assert_eq!(all(&loaded), left.content, "{} at {at}", name.display());
                }
                Err(OpenStoreError::Damaged { .. } | OpenStoreError::Version { .. }) => {
                    refused += 1;
                }
                Err(error) => panic!("{} at {at}: {error}", name.display()),
            }
        }
    }
    refused
}

#[test]
fn a_flipped_byte_is_found_or_harmless() {
    let refused = try_all(|bytes, at| bytes[at] ^= 0xFF);
    assert!(refused > 30, "{refused}");
}

#[test]
fn a_file_that_is_cut_is_found_or_harmless() {
    let refused = try_all(|bytes, at| bytes.truncate(at));
    assert!(refused > 30, "{refused}");
}

#[test]
fn what_was_written_last_and_never_synced_may_be_torn() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = settings(StoreSync::Batch);
    let (store, _) = open_all(dir.path(), &settings);
    let mut room = TestChannel::new(&store, "room");
    let run = room.publish(2, 10);
    write(&store, vec![room.save(vec![run])]).expect("it is written");
    let synced = fs::read(dir.path().join("synced")).unwrap();
    let journal = dir.path().join("db/0.jnl");
    let content = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1
    };
    let before = content(&journal);
    let run = room.publish(2, 10);
    write(&store, vec![room.save(vec![run])]).expect("it is written");
    drop(store);
    let after = content(&journal);
    assert!(after > before);
    let base = tempfile::tempdir().unwrap();
    copy(dir.path(), base.path());
    for at in (before..=after).step_by(11) {
        for is_torn in [false, true] {
            let place = tempfile::tempdir().unwrap();
            copy(base.path(), place.path());
            // The power went before the last commit was synced.
            fs::write(place.path().join("synced"), &synced).unwrap();
            let path = place.path().join("db/0.jnl");
            let mut bytes = fs::read(&path).unwrap();
            bytes.resize(after, 0);
            if is_torn {
                bytes[before..at].fill(0);
            } else {
                bytes.truncate(at);
            }
            fs::write(&path, bytes).unwrap();
            let (_store, loaded) = open_all(place.path(), &settings);
            let newest = loaded.channels[0].state.newest;
            assert!(newest == 2 || newest == 4, "{at}: {newest}");
        }
    }
}

#[test]
fn a_damaged_store_is_refused_as_it_is_or_set_aside() {
    let left = left();
    let dir = left.dir.path();
    let journal = dir.join("db/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    let at = bytes.iter().rposition(|&byte| byte != 0).unwrap() / 2;
    bytes[at] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let mut settings = settings(StoreSync::Batch);
    for _ in 0..2 {
        let refusal = refusal(dir, &settings).to_string();
        assert!(refusal.contains("damaged"), "{refusal}");
        assert!(refusal.contains("mles store check"), "{refusal}");
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
        assert_eq!(fs::read(&journal).unwrap(), bytes, "nothing is changed");
    }
    settings.on_damage = OnDamage::SetAside;
    let (store, loaded) = open_all(dir, &settings);
    assert!(loaded.channels.is_empty());
    let mut room = TestChannel::new(&store, "room");
    let run = room.publish(1, 10);
    write(&store, vec![room.save(vec![run])]).expect("a new store has begun");
    store.close();
    drop(store);
    let aside = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let aside: Vec<_> = aside
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("damaged-")
        })
        .collect();
    let [aside] = &aside[..] else {
        panic!("{aside:?}");
    };
    assert_eq!(fs::read(aside.join("db/0.jnl")).unwrap(), bytes);
    let (_, loaded) = open_all(dir, &settings);
    assert_eq!(names(&loaded), ["room"]);
}

#[test]
fn a_journal_without_a_whole_batch_is_cut_only_if_the_tables_have_everything() {
    let left = left();
    let dir = left.dir.path();
    let journal = dir.join("db/0.jnl");
    let mut bytes = fs::read(&journal).unwrap();
    // In the first batch: none can be read.
    bytes[30] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let settings = settings(StoreSync::Batch);
    let files = || {
        let mut found = Vec::new();
        files(&dir.join("db"), &mut found);
        found.retain(|path| path.parent() == journal.parent());
        found.sort();
        found
    };
    let before = files();
    for _ in 0..2 {
        let refusal = refusal(dir, &settings);
        assert!(
            matches!(refusal, OpenStoreError::Damaged { .. }),
            "{refusal}"
        );
        assert_eq!(fs::read(&journal).unwrap(), bytes, "nothing is changed");
        assert_eq!(files(), before);
    }
    // Killed before it was known that this is damage.
    fs::rename(&journal, journal.with_extension("whole")).unwrap();
    fs::write(&journal, []).unwrap();
    refusal(dir, &settings);
    assert_eq!(fs::read(&journal).unwrap(), bytes, "it is back");
    bytes[30] ^= 1;
    fs::write(&journal, &bytes).unwrap();
    let (_store, loaded) = open_all(dir, &settings);
    assert_eq!(all(&loaded), left.content);
}

#[test]
fn files_that_are_missing_are_damage() {
    for missing in ["synced", "db/0.jnl", "db/version"] {
        let left = left();
        fs::remove_file(left.dir.path().join(missing)).unwrap();
        let refusal = refusal(left.dir.path(), &settings(StoreSync::Batch));
        assert!(
            matches!(refusal, OpenStoreError::Damaged { .. }),
            "{refusal}"
        );
    }
    let left = left();
    fs::remove_dir_all(left.dir.path().join("db")).unwrap();
    let refusal = refusal(left.dir.path(), &settings(StoreSync::Batch));
    assert!(
        matches!(refusal, OpenStoreError::Damaged { .. }),
        "{refusal}"
    );
}
