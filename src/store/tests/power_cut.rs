//! The power fails: what was not synced is there, or not, or in part, in any order. What opens then is as it was after one
//! of the commits, and after none that is older than what was acknowledged.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::disk::{Cut, start_watched};
use super::model::{Model, Step, step};
use super::*;

/// What was in a store whose power was cut.
struct Left {
    /// All of it, by the number of commits since it was opened.
    models: Vec<Model>,
    /// Number of commits that have to be there.
    least: usize,
    /// Set if all of it was synced before it was acknowledged, so that orders go on.
    goes_on: bool,
}

impl Left {
    /// Opens the store, and returns what it has. Leaves it as a server that syncs as `sync` says, and is killed.
    fn open(&self, dir: &Path, sync: StoreSync) -> Model {
        let opened = open(dir, &settings(sync), BUDGET, &|_| true);
        let (_store, loaded) = opened.unwrap_or_else(|error| panic!("{error}"));
        let mut differs = String::new();
        for model in self.models[self.least..].iter().rev() {
            match model.compare(&loaded, self.goes_on) {
                Ok(model) => return model,
                Err(what) => differs = what,
            }
        }
        let least = self.least;
        panic!("it is as after none of the commits from {least} on: {differs}");
    }
}

/// Takes steps on a disk that is watched, and cuts its power then.
fn live(
    dir: &Path,
    sync: StoreSync,
    begin: Model,
    steps: &[Step],
    (cut, seed): (Cut, u64),
) -> Left {
    let (store, disk) = start_watched(dir, sync);
    let mut models = vec![begin];
    for step in steps {
        let mut model = models.last().unwrap().clone();
        let (changes, is_right) = model.take(step, &store);
        let written = write(&store, changes);
        assert_eq!(written.is_ok(), is_right, "{written:?}");
        if disk.lock().unwrap().commits == models.len() {
            models.push(model);
        }
    }
    drop(store);
    let mut rng = StdRng::seed_from_u64(seed);
    disk.lock().unwrap().cut(cut, dir, &mut rng);
    let acknowledged = match cut {
        Cut::AfterSync => models.len() - 1,
        Cut::BeforeSync => models.len().saturating_sub(2),
    };
    Left {
        least: if sync == StoreSync::Os {
            0
        } else {
            acknowledged
        },
        models,
        goes_on: sync == StoreSync::Batch,
    }
}

fn life() -> impl Strategy<Value = (StoreSync, Vec<Step>, (Cut, u64))> {
    let interval = StoreSync::Interval(Duration::from_millis(100));
    let sync = prop_oneof![Just(StoreSync::Batch), Just(interval), Just(StoreSync::Os)];
    let cut = prop_oneof![2 => Just(Cut::BeforeSync), 1 => Just(Cut::AfterSync)];
    (sync, vec(step(), 0..6), (cut, any::<u64>()))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_power_cut_takes_only_what_was_not_acknowledged(lives in vec(life(), 1..8)) {
        let dir = memory_dir();
        let mut left = Left {
            models: vec![Model::default()],
            least: 0,
            goes_on: true,
        };
        for (sync, steps, cut) in lives {
            let begin = left.open(dir.path(), sync);
            left = live(dir.path(), sync, begin, &steps, cut);
        }
        left.open(dir.path(), StoreSync::Batch);
    }
}
