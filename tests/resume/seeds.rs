//! Runs of many seeds. What each promises is in [`crate::oracle`].
//!
//! `MLES_TEST_SEED=7` runs that seed alone, `MLES_TEST_SEEDS=200` so many from one of today on.

use std::sync::Mutex;

use crate::oracle::Tally;
use crate::place::Place;
use crate::scenario::{Scenario, Theme};
use crate::world::run;

/// Runs at the same time: most of the time all of their actors wait.
const AT_ONCE: usize = 3;
/// Seeds of each theme that always run.
const ALWAYS: u64 = 5;

#[test]
fn whole() {
    run_seeds(Theme::Whole);
}

#[test]
fn window() {
    run_seeds(Theme::Window);
}

#[test]
fn slow() {
    run_seeds(Theme::Slow);
}

#[test]
fn forgetful() {
    run_seeds(Theme::Forgetful);
}

fn run_seeds(theme: Theme) {
    let seeds = seeds();
    let left = Mutex::new(seeds.iter().copied());
    let all = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        let place = Place::new();
        loop {
            let Some(seed) = left.lock().unwrap().next() else {
                return;
            };
            let ran = run(&place, &Scenario::new(theme, seed));
            let (tally, failed) = &mut *all.lock().unwrap();
            match ran {
                Ok(seen) => tally.add(&seen),
                Err(fault) => {
                    eprintln!("{theme}, seed {seed}: {fault}");
                    failed.push(seed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..AT_ONCE).for_each(|_| drop(scope.spawn(work)));
    });
    let (tally, failed) = all.into_inner().unwrap();
    eprintln!("{theme}: {} seeds: {tally}", seeds.len());
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
}

fn seeds() -> Vec<u64> {
    let given = |name| {
        std::env::var(name)
            .ok()
            .map(|value| value.parse::<u64>().unwrap())
    };
    if let Some(seed) = given("MLES_TEST_SEED") {
        return vec![seed];
    }
    let today = u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_nanos());
    match given("MLES_TEST_SEEDS") {
        Some(count) => (today..today + count).collect(),
        None => (1..=ALWAYS).collect(),
    }
}
