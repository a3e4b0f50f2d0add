//! A disk that fails, is full or slow: nothing is acknowledged that is not there, and all goes on by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::contents::Contents;
use crate::store::database::FjallEngine;
use crate::store::engine::{ChannelRange, Engine, EngineError, Table, Visitor, Write};
use crate::store::marker::Marker;
use crate::store::record::{COMMIT, SECRET, encode_number, encode_secret};
use crate::store::secret::PublisherSecret;
use crate::store::writer::{DiskLimits, Schedule, Writer};

/// Most bytes that the store may take.
const LARGEST: u64 = 1000;

/// What is wrong with a disk.
#[derive(Debug, Default)]
struct Faults {
    commit_fails: AtomicBool,
    sync_fails: AtomicBool,
    is_full: AtomicBool,
    is_too_large: AtomicBool,
    compacting_fails: AtomicBool,
    hangs: AtomicBool,
    /// Set once a commit has come upon that.
    is_hanging: AtomicBool,
}

fn is_set(fault: &AtomicBool) -> bool {
    fault.load(Ordering::SeqCst)
}

/// A database on a disk with faults.
struct Faulty {
    inner: FjallEngine,
    faults: Arc<Faults>,
}

fn failed() -> EngineError {
    EngineError::System("the disk is broken".to_owned())
}

impl Engine for Faulty {
    fn commit(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        while is_set(&self.faults.hangs) {
            self.faults.is_hanging.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        if is_set(&self.faults.commit_fails) {
            return Err(failed());
        }
        self.inner.commit(writes)
    }

    fn sync(&mut self) -> Result<(), EngineError> {
        // What was committed may be there after that, or not.
        if is_set(&self.faults.sync_fails) {
            return Err(failed());
        }
        self.inner.sync()
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
        Ok(if is_set(&self.faults.is_too_large) {
            LARGEST + 1
        } else {
            LARGEST
        })
    }

    fn free_space(&self) -> Result<u64, EngineError> {
        Ok(if is_set(&self.faults.is_full) { 0 } else { 100 })
    }

    fn compact(&mut self) -> Result<(), EngineError> {
        if is_set(&self.faults.compacting_fails) {
            return Err(failed());
        }
        self.inner.compact()
    }
}

/// Starts a writer on a new store that is on a disk with faults.
fn start(dir: &Path, faults: &Arc<Faults>) -> StoreHandle {
    let (marker, _) = Marker::open(dir).unwrap().expect("nobody has it");
    let database = dir.join("db");
    let faults = faults.clone();
    let open = move || -> Result<Box<dyn Engine>, EngineError> {
        let inner = FjallEngine::open(&database)?;
        let faults = faults.clone();
        Ok(Box::new(Faulty { inner, faults }))
    };
    let mut engine = open().expect("a new database");
    let record = |key: &'static [u8], value| Write {
        table: Table::Store,
        key: key.into(),
        value: Some(value),
    };
    let records = vec![
        record(SECRET, encode_secret(PublisherSecret::random())),
        record(COMMIT, encode_number(COMMIT, 1)),
    ];
    engine.commit(records).expect("it is written");
    let (mut handle, commands) = StoreHandle::new(0);
    let writer = Writer {
        engine: Some(engine),
        reopen: Box::new(move |_| open()),
        contents: Contents::default(),
        unfit: HashSet::new(),
        marker,
        commit: 1,
        sync: StoreSync::Batch,
        limits: DiskLimits {
            max_bytes: Some(LARGEST),
            min_free: 50,
        },
        status: handle.status().clone(),
        schedule: Schedule::default(),
    };
    handle.attach(std::thread::spawn(move || writer.run(&commands)));
    handle
}

#[test]
fn after_a_fault_a_store_goes_on_by_itself() {
    let faults = Arc::new(Faults::default());
    for fault in [&faults.commit_fails, &faults.sync_fails, &faults.is_full] {
        let dir = tempfile::tempdir().expect("a directory");
        let store = start(dir.path(), &faults);
        let mut room = TestChannel::new(&store, "room");
        let run = room.publish(2, 10);
        write(&store, vec![room.save(vec![run])]).expect("it is written");
        fault.store(true, Ordering::SeqCst);
        // Each time the runs are cut as they are in the history then.
        let cut = |room: &mut TestChannel, messages: u32| {
            room.state.newest = 2;
            let run = room.publish(messages, 10);
            vec![room.save(vec![run])]
        };
        for messages in [1, 3] {
            let failed = write(&store, cut(&mut room, messages));
            failed.expect_err("nothing is acknowledged that may not be there");
            let failure = store.status().failure().expect("it is told");
            assert!(!failure.reason.is_empty());
        }
        fault.store(false, Ordering::SeqCst);
        write(&store, cut(&mut room, 2)).expect("it goes on");
        assert!(store.status().failure().is_none());
        store.close();
        drop(store);
        let (_, loaded) = open_all(dir.path(), &settings(StoreSync::Batch));
        let ends: Vec<_> = loaded.channels[0].runs.iter().map(|run| run.end).collect();
        assert_eq!(ends, [2, 4]);
        assert_eq!(loaded.channels[0].state.newest, 4);
    }
}

#[test]
fn a_store_that_failed_at_the_end_was_not_closed_in_order() {
    let faults = Arc::new(Faults::default());
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(dir.path(), &faults);
    let mut room = TestChannel::new(&store, "room");
    let run = room.publish(2, 10);
    write(&store, vec![room.save(vec![run])]).expect("it is written");
    faults.is_full.store(true, Ordering::SeqCst);
    let run = room.publish(2, 10);
    write(&store, vec![room.save(vec![run])]).expect_err("the disk is full");
    store.close();
    drop(store);
    let (_, found) = Marker::peek(dir.path()).unwrap().expect("nobody has it");
    assert!(
        format!("{found:?}").contains("is_clean: false"),
        "{found:?}"
    );
}

#[test]
fn a_disk_that_hangs_holds_nobody_up_who_hands_over() {
    let faults = Arc::new(Faults::default());
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(dir.path(), &faults);
    faults.hangs.store(true, Ordering::SeqCst);
    let mut answers = Vec::new();
    for name in ["a", "b", "c"] {
        let mut channel = TestChannel::new(&store, name);
        let run = channel.publish(1, 10);
        let (done, answer) = oneshot::channel();
        let changes = vec![channel.save(vec![run])];
        store.submit(Batch { changes, done }).expect("it has room");
        answers.push(answer);
    }
    while !is_set(&faults.is_hanging) {
        std::thread::yield_now();
    }
    assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()));
    faults.hangs.store(false, Ordering::SeqCst);
    for answer in answers {
        answer.blocking_recv().unwrap().expect("it is written");
    }
    assert!(store.status().commits.get() <= 3);
}

#[test]
fn a_store_that_is_too_large_takes_what_is_deleted() {
    for compacting_fails in [false, true] {
        let faults = Arc::new(Faults::default());
        let dir = tempfile::tempdir().expect("a directory");
        let store = start(dir.path(), &faults);
        let mut room = TestChannel::new(&store, "room");
        let mut closed = TestChannel::new(&store, "closed");
        let (old, of_closed) = (room.publish(2, 10), closed.publish(1, 10));
        write(
            &store,
            vec![room.save(vec![old]), closed.save(vec![of_closed])],
        )
        .expect("written");
        faults.is_too_large.store(true, Ordering::SeqCst);
        faults
            .compacting_fails
            .store(compacting_fails, Ordering::SeqCst);
        // Space is measured now and then.
        let mut last = room.publish(1, 10);
        while write(&store, vec![room.save(vec![last.clone()])]).is_ok() {
            last = room.publish(1, 10);
        }
        if compacting_fails {
            let reason = store.status().failure().expect("it is told").reason;
            assert!(reason.contains("broken"), "{reason}");
        }
        // All older messages go with the next batch, which is not written either.
        room.first = room.state.newest;
        let next = vec![room.save(vec![last.clone()]), closed.forget()];
        write(&store, next).expect_err("it is too large");
        let reason = store.status().failure().expect("it is told").reason;
        assert!(reason.contains("more than 1000 bytes"), "{reason}");
        store.close();
        drop(store);
        let (store, loaded) = open_all(dir.path(), &settings(StoreSync::Batch));
        assert_eq!(names(&loaded), ["room"]);
        assert!(loaded.channels[0].runs.is_empty(), "what was deleted went");
        write(&store, vec![room.save(vec![last])]).expect("it goes on");
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused_alone_and_told() {
    let faults = Arc::new(Faults::default());
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(dir.path(), &faults);
    let mut room = TestChannel::new(&store, "room");
    let first = room.publish(2, 10);
    let second = room.publish(2, 10);
    // Without a run before it, and after one that ends too early.
    for (kept, runs) in [(1, vec![second.clone()]), (3, vec![first.clone()])] {
        room.first = kept;
        let refused = write(&store, vec![room.save(runs)]);
        assert!(
            matches!(refused, Err(StoreError::Refused(_))),
            "{refused:?}"
        );
        let reason = store.status().failure().expect("it is told").reason;
        assert!(reason.contains("message"), "{reason}");
    }
    room.first = 1;
    // What is written of others says nothing of this one.
    let mut other = TestChannel::new(&store, "other");
    let run = other.publish(1, 10);
    write(&store, vec![other.save(vec![run])]).expect("it is written");
    assert!(store.status().failure().is_some());
    write(&store, vec![room.save(vec![first, second])]).expect("as a whole it fits");
    assert!(store.status().failure().is_none());
}

#[test]
fn a_store_works_again_only_when_something_was_written() {
    let faults = Arc::new(Faults::default());
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(dir.path(), &faults);
    let mut room = TestChannel::new(&store, "room");
    faults.commit_fails.store(true, Ordering::SeqCst);
    let run = room.publish(1, 10);
    write(&store, vec![room.save(vec![run])]).expect_err("the disk is broken");
    // There is nothing to be written for a channel that was never there.
    let unknown = TestChannel::new(&store, "unknown");
    write(&store, vec![unknown.forget()]).expect_err("the disk is still broken");
    assert!(store.status().failure().is_some());
    faults.commit_fails.store(false, Ordering::SeqCst);
    write(&store, vec![unknown.forget()]).expect("the disk works");
    assert!(store.status().failure().is_none());
}

#[test]
fn what_is_deleted_of_a_store_that_is_too_large_stays_counted() {
    let faults = Arc::new(Faults::default());
    let dir = tempfile::tempdir().expect("a directory");
    let store = start(dir.path(), &faults);
    let mut room = TestChannel::new(&store, "room");
    let publisher = PublisherId(7);
    let run = StoredRun {
        publisher: Some(publisher),
        ..room.publish(2, 10)
    };
    write(&store, vec![room.save(vec![run])]).expect("it is written");
    faults.is_too_large.store(true, Ordering::SeqCst);
    // Space is measured now and then.
    let mut last = room.publish(1, 10);
    while write(&store, vec![room.save(vec![last.clone()])]).is_ok() {
        last = room.publish(1, 10);
    }
    room.first = room.state.newest;
    let Change::Save(mut saved) = room.save(vec![last]) else {
        unreachable!()
    };
    let known = StoredPublisher {
        published: Published {
            count: 2,
            first: 1,
            first_end: 2,
            since: 0,
        },
        at: None,
        counted: room.state.newest - 1,
    };
    saved.publishers.push((publisher, Some(known)));
    write(&store, vec![Change::Save(saved)]).expect_err("it is too large");
    store.close();
    drop(store);
    let (_store, loaded) = open_all(dir.path(), &settings(StoreSync::Batch));
    let [channel] = &loaded.channels[..] else {
        panic!("{loaded:?}");
    };
    assert!(channel.runs.is_empty(), "what was deleted went");
    assert_eq!(channel.publishers, [(publisher, known)]);
}
