//! A store that was copied or restored: clients may have seen more than is in it, so its orders end.

use std::fs;

use super::damage::copy;
use super::*;
use crate::store::marker::{Found, Marker};

/// Length of a slot without the name of its file.
const SLOT: usize = 38;
/// Distance of the two slots.
const DISTANCE: usize = 4096;

/// What is told of the only channel of a store.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    epoch: Epoch,
    newest: u64,
    past: Vec<(Epoch, u64)>,
}

fn order(loaded: &Loaded) -> Order {
    let [channel] = &loaded.channels[..] else {
        panic!("{loaded:?}");
    };
    let past = channel.state.past.iter();
    Order {
        epoch: channel.state.epoch,
        newest: channel.state.newest,
        past: past.map(|past| (past.epoch, past.end)).collect(),
    }
}

/// Has a server use the store in `dir`, which publishes three messages and stops. Returns the order then.
fn use_store(dir: &Path, settings: &StoreSettings) -> Order {
    let (store, loaded) = open_all(dir, settings);
    let mut room = TestChannel::new(&store, "room");
    if let Some(known) = loaded.channels.first() {
        room.state = known.state.clone();
    }
    let run = room.publish(3, 10);
    write(&store, vec![room.save(vec![run])]).expect("it is written");
    store.close();
    drop(store);
    order(&look(dir, settings))
}

fn look(dir: &Path, settings: &StoreSettings) -> Loaded {
    let (store, loaded) = open_all(dir, settings);
    store.close();
    loaded
}

/// Expects that the order in `dir` has ended, and that what the new one has in common with it is known.
fn expect_new_order(dir: &Path, old: &Order) {
    let found = order(&look(dir, &interval()));
    assert_ne!(found.epoch, old.epoch);
    assert_eq!(found.newest, old.newest);
    assert_eq!(found.past, [(old.epoch, old.newest)]);
    assert_eq!(order(&look(dir, &interval())), found, "once");
}

#[test]
fn a_copy_in_another_directory_begins_new_orders() {
    for settings in [interval(), settings(StoreSync::Batch)] {
        let place = tempfile::tempdir().unwrap();
        let (dir, backup) = (place.path().join("store"), place.path().join("backup"));
        let old = use_store(&dir, &settings);
        copy(&dir, &backup);
        expect_new_order(&backup, &old);
        assert_eq!(order(&look(&dir, &settings)), old, "it is no copy");
    }
}

#[test]
fn a_store_that_is_moved_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let (dir, moved) = (place.path().join("store"), place.path().join("moved"));
    let old = use_store(&dir, &interval());
    fs::rename(&dir, &moved).unwrap();
    assert_eq!(order(&look(&moved, &interval())), old);
}

#[test]
fn a_backup_that_is_written_over_the_files_of_the_store_begins_new_orders() {
    let place = tempfile::tempdir().unwrap();
    let (dir, backup) = (place.path().join("store"), place.path().join("backup"));
    let old = use_store(&dir, &interval());
    copy(&dir, &backup);
    let ahead = use_store(&dir, &interval());
    assert_eq!((ahead.epoch, ahead.newest), (old.epoch, 6));
    fs::remove_dir_all(dir.join("db")).unwrap();
    copy(&backup.join("db"), &dir.join("db"));
    // The file stays, and has what the backup has.
    fs::write(dir.join("synced"), fs::read(backup.join("synced")).unwrap()).unwrap();
    expect_new_order(&dir, &old);
}

#[cfg(feature = "cli")]
#[test]
fn a_store_that_is_renewed_begins_new_orders() {
    let dir = tempfile::tempdir().unwrap();
    let old = use_store(dir.path(), &interval());
    crate::store::renew(dir.path()).expect("nobody uses it");
    crate::store::renew(dir.path()).expect("it may be said twice");
    expect_new_order(dir.path(), &old);
}

#[test]
fn a_store_that_does_not_name_its_file_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let old = use_store(dir.path(), &interval());
    let path = dir.path().join("synced");
    let mut bytes = fs::read(&path).unwrap();
    // Slots were that long before they did.
    bytes[SLOT..DISTANCE].fill(0);
    bytes.truncate(DISTANCE + SLOT);
    fs::write(&path, bytes).unwrap();
    assert_eq!(order(&look(dir.path(), &interval())), old);
}

#[test]
fn a_name_that_cannot_be_read_is_that_of_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let old = use_store(dir.path(), &interval());
    let path = dir.path().join("synced");
    let whole = fs::read(&path).unwrap();
    for at in SLOT..SLOT + 24 {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        bytes[DISTANCE + at] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let (_, found) = Marker::peek(dir.path()).unwrap().expect("nobody uses it");
        assert!(
            matches!(found, Found::Mark(last) if last.is_copy),
            "{at}: {found:?}"
        );
    }
    fs::write(&path, &whole[..DISTANCE + SLOT + 12]).unwrap();
    expect_new_order(dir.path(), &old);
}
