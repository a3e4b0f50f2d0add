//! Tests of the log in memory.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::{Faults, MemoryEngine, MemoryLog};
use crate::log::{Log as _, Tail as _};
use crate::order::{FleetEpoch, Sequence};
use crate::protocol::Epoch;

const EPOCH: FleetEpoch = FleetEpoch {
    number: 1,
    id: Epoch(1),
};

/// Returns what a future comes to at once.
fn now<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

fn engine(faults: Faults) -> Arc<MemoryEngine> {
    MemoryEngine::with_own_time(EPOCH, 1, faults, 1000)
}

fn append(log: &MemoryLog, id: &'static str) -> Option<u64> {
    let appended = now(log.append(id, id.as_bytes().into())).expect("at once");
    appended.ok().map(|sequence| sequence.0)
}

/// Reads all that is behind `last`.
fn read(log: &MemoryLog, last: u64) -> Vec<String> {
    let mut tail = now(log.tail(Sequence(last)))
        .expect("at once")
        .expect("it is reached");
    let entries = std::iter::from_fn(|| now(tail.next())?.ok());
    entries
        .map(|entry| String::from_utf8_lossy(&entry.bytes).into_owned())
        .collect()
}

#[test]
fn a_record_is_there_once_and_read_by_all_in_one_order() {
    let engine = engine(Faults::default());
    let (one, other) = (
        MemoryLog::new(engine.clone()),
        MemoryLog::new(engine.clone()),
    );
    let appended = [append(&one, "a"), append(&other, "b"), append(&one, "a")];
    assert_eq!(appended, [Some(1), Some(2), Some(1)]);
    assert_eq!(
        (read(&one, 0), read(&other, 1)),
        (vec!["a".into(), "b".into()], vec!["b".into()])
    );
    engine.forget_ids();
    assert_eq!(append(&one, "a"), Some(3));
}

#[tokio::test]
async fn a_tail_waits_for_what_comes() {
    let log = MemoryLog::new(MemoryEngine::new(EPOCH, 1, Faults::default()));
    let mut tail = log.tail(Sequence(0)).await.expect("it is reached");
    let append = async {
        tokio::task::yield_now().await;
        log.append("a", "a".into()).await
    };
    let (entry, appended) = tokio::join!(tail.next(), append);
    let entry = entry.expect("it is appended");
    assert_eq!(entry.sequence, appended.expect("it is reached"));
    assert!(entry.at_ms > 1_700_000_000_000);
}

#[test]
fn faults_happen() {
    let always = 1000;
    let lost = Faults {
        lost: always,
        ..Faults::default()
    };
    let engine = engine(lost);
    let log = MemoryLog::new(engine.clone());
    assert_eq!((append(&log, "a"), read(&log, 0).len()), (None, 0));
    engine.set_faults(Faults {
        unanswered: always,
        ..Faults::default()
    });
    assert_eq!((append(&log, "b"), read(&log, 0).len()), (None, 1));
    engine.set_faults(Faults {
        doubled: always,
        ..Faults::default()
    });
    assert_eq!((append(&log, "b"), read(&log, 0).len()), (Some(2), 2));
    engine.set_faults(Faults {
        delayed: always,
        ..Faults::default()
    });
    assert_eq!((append(&log, "c"), read(&log, 0).len()), (None, 2));
    engine.append_delayed();
    assert_eq!(read(&log, 2), ["c"]);
    engine.set_faults(Faults {
        broken: always,
        ..Faults::default()
    });
    assert_eq!(read(&log, 0).len(), 0);
    log.cut();
    assert!(append(&log, "d").is_none() && now(log.describe()).expect("at once").is_err());
    log.reconnect();
    assert!(now(log.describe()).expect("at once").is_ok());
}

#[test]
fn what_is_lost_breaks_tails() {
    let engine = engine(Faults::default());
    let log = MemoryLog::new(engine.clone());
    for id in ["a", "b", "c"] {
        append(&log, id);
    }
    let mut tail = now(log.tail(Sequence(0)))
        .expect("at once")
        .expect("it is reached");
    assert!(now(tail.next()).expect("it is there").is_ok());
    engine.roll_back(Sequence(1));
    assert!(now(tail.next()).expect("at once").is_err());
    assert_eq!(
        (append(&log, "b"), read(&log, 0)),
        (Some(2), vec!["a".into(), "b".into()])
    );
    engine.pass(500);
    append(&log, "d");
    engine.keep_within(400);
    let state = now(log.describe())
        .expect("at once")
        .expect("it is reached");
    assert_eq!((state.first, state.last), (Sequence(3), Sequence(3)));
    assert_eq!(state.last_at_ms, 1500);
    assert!(
        now(log.get(Sequence(2)))
            .expect("at once")
            .is_ok_and(|got| got.is_none())
    );
    assert_eq!((read(&log, 1).len(), read(&log, 2)), (0, vec!["d".into()]));
    engine.make_anew(EPOCH);
    assert_eq!((read(&log, 0).len(), append(&log, "a")), (0, Some(1)));
}
