//! Runs of many seeds. What each promises is in [`crate::oracle`].
//!
//! `MLES_TEST_SEED=7` runs that seed alone, `MLES_TEST_SEEDS=200` so many from one of today on.

use std::sync::Mutex;

use crate::common::nats;
use crate::oracle::Tally;
use crate::place::Place;
use crate::scenario::{Scenario, Storage, Theme};
use crate::world::run;

/// Runs at the same time: most of the time all of their actors wait.
const AT_ONCE: usize = 3;
/// Seeds of each theme that always run.
const ALWAYS: u64 = 5;
/// As many where the server is killed, some times for each seed.
const ALWAYS_ON_DISK: u64 = 2;

#[test]
fn whole() {
    run_seeds(Theme::Whole, Storage::Memory);
}

#[test]
fn window() {
    run_seeds(Theme::Window, Storage::Memory);
}

#[test]
fn slow() {
    run_seeds(Theme::Slow, Storage::Memory);
}

#[test]
fn forgetful() {
    run_seeds(Theme::Forgetful, Storage::Memory);
}

#[test]
#[cfg(feature = "store")]
fn whole_on_disk() {
    run_seeds(Theme::Whole, Storage::Disk);
}

#[test]
#[cfg(feature = "store")]
fn window_on_disk() {
    run_seeds(Theme::Window, Storage::Disk);
}

#[test]
#[cfg(feature = "store")]
fn slow_on_disk() {
    run_seeds(Theme::Slow, Storage::Disk);
}

#[test]
#[cfg(feature = "store")]
fn forgetful_on_disk() {
    run_seeds(Theme::Forgetful, Storage::Disk);
}

#[test]
#[cfg(feature = "store")]
fn whole_on_disk_later() {
    run_seeds(Theme::Whole, Storage::DiskLater);
}

#[test]
#[cfg(feature = "fleet")]
fn whole_in_a_fleet() {
    run_seeds(Theme::Whole, Storage::Fleet);
}

#[test]
#[cfg(feature = "fleet")]
fn window_in_a_fleet() {
    run_seeds(Theme::Window, Storage::Fleet);
}

fn run_seeds(theme: Theme, storage: Storage) {
    if storage == Storage::Fleet && nats::program().is_none() {
        return;
    }
    let always = match storage {
        Storage::Memory => ALWAYS,
        Storage::Disk | Storage::DiskLater | Storage::Fleet => ALWAYS_ON_DISK,
    };
    let seeds = seeds(always);
    let left = Mutex::new(seeds.iter().copied());
    let all = Mutex::new((Tally::default(), Vec::new()));
    let work = || {
        let place = Place::new(storage);
        loop {
            let Some(seed) = left.lock().unwrap().next() else {
                return;
            };
            let scenario = Scenario::with_storage(theme, seed, storage);
            let ran = run(&place, &scenario);
            let (tally, failed) = &mut *all.lock().unwrap();
            match ran {
                Ok(seen) => tally.add(&seen),
                Err(fault) => {
                    eprintln!("{}, seed {seed}: {fault}", scenario.test());
                    failed.push(seed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        (0..AT_ONCE).for_each(|_| drop(scope.spawn(work)));
    });
    let (tally, failed) = all.into_inner().unwrap();
    eprintln!("{theme}, {storage:?}: {} seeds: {tally}", seeds.len());
    assert!(failed.is_empty(), "these seeds fail: {failed:?}");
}

fn seeds(always: u64) -> Vec<u64> {
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
        None => (1..=always).collect(),
    }
}
