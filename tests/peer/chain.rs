//! Three servers, one below the other: what holds for one link holds for two in a row.

use std::time::Duration;

use crate::common::Rng;
use crate::linked_servers::proxy::Mode;
use crate::linked_servers::world::{CHAIN, World};

#[test]
fn any_faults_with_seed_1() {
    World::suffer(CHAIN, Rng(1));
}

#[test]
fn any_faults_with_seed_2() {
    World::suffer(CHAIN, Rng(2));
}

#[test]
fn any_faults_with_a_seed_of_today() {
    World::suffer(CHAIN, Rng::seeded());
}

fn faults_and_restarts(rng: Rng) {
    World::suffer_with(CHAIN, rng, World::restart_sometimes);
}

#[test]
fn faults_and_restarts_with_seed_1() {
    faults_and_restarts(Rng(1));
}

#[test]
fn faults_and_restarts_with_seed_2() {
    faults_and_restarts(Rng(2));
}

#[test]
fn faults_and_restarts_with_a_seed_of_today() {
    faults_and_restarts(Rng::seeded());
}

/// A server loses its memory again and again while all publish.
fn restart(at: usize, mut rng: Rng) {
    let mut world = World::new(CHAIN, |_| {});
    for _ in 0..5 {
        world.publish_during(5 + rng.below(20));
        world.restart(at);
    }
    world.publish_during(5);
    world.converges();
}

#[test]
fn a_server_in_the_middle_that_comes_back_empty() {
    restart(1, Rng::seeded());
}

/// It hears from below what it has not heard from above yet.
#[test]
fn a_server_in_the_middle_that_comes_back_empty_and_far_from_the_root() {
    let mut world = World::new(CHAIN, |_| {});
    for delay in [20, 50, 100].map(Duration::from_millis) {
        world.publish_during(10);
        world.proxies[0].set(Mode::Delay {
            up: delay,
            down: delay,
        });
        world.restart(1);
        world.publish_during(5);
    }
    world.converges();
}

#[test]
fn a_root_that_comes_back_empty() {
    restart(0, Rng::seeded());
}

#[test]
fn a_server_at_the_end_that_comes_back_empty() {
    restart(2, Rng::seeded());
}
