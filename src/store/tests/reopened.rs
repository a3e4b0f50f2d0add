//! Whatever is handed over: what the next start loads is what a plain list of it has.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, prop_oneof, proptest};

use super::model::{Model, Step, step};
use super::*;

/// How a store is left.
#[derive(Clone, Copy, Debug)]
enum Leave {
    Closed,
    /// As by a server that is killed.
    Dropped,
}

fn leave() -> impl Strategy<Value = Leave> {
    prop_oneof![Just(Leave::Closed), Just(Leave::Dropped)]
}

fn sync() -> impl Strategy<Value = StoreSync> {
    let interval = StoreSync::Interval(Duration::from_millis(100));
    prop_oneof![Just(StoreSync::Batch), Just(interval), Just(StoreSync::Os)]
}

/// Opens a store, and expects what the model has.
fn reopen(dir: &Path, sync: StoreSync, model: &mut Model, goes_on: bool) -> StoreHandle {
    let (store, loaded) = open_all(dir, &settings(sync));
    *model = model
        .compare(&loaded, goes_on)
        .unwrap_or_else(|what| panic!("{what}"));
    store
}

fn hand_over(step: &Step, model: &mut Model, store: &StoreHandle) {
    let (changes, is_right) = model.take(step, store);
    let written = write(store, changes);
    assert_eq!(written.is_ok(), is_right, "{written:?}");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_store_is_a_map(
        lives in vec((sync(), vec(step(), 0..5), leave()), 1..8),
    ) {
        let dir = memory_dir();
        let mut model = Model::default();
        let mut goes_on = true;
        for (sync, steps, leave) in lives {
            let store = reopen(dir.path(), sync, &mut model, goes_on);
            steps.iter().for_each(|step| hand_over(step, &mut model, &store));
            let is_closed = matches!(leave, Leave::Closed) && store.close();
            goes_on = is_closed || sync == StoreSync::Batch;
            drop(store);
        }
        reopen(dir.path(), StoreSync::Os, &mut model, goes_on);
    }
}
