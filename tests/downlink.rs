//! Links from servers below: how they come and go, and who is told what.

#![cfg(feature = "server")]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

mod common;

use common::below::{notice, open};
use common::{settings, start, wait_until};
use mles::protocol::Cid;

#[test]
fn a_link_that_ends_leaves_nothing_behind() {
    let broker = start(settings());
    for round in 1..=20 {
        let mut below = open(&broker, "below").says(0);
        below.client.cid = Cid(7);
        let mut below = below.join();
        // With nothing left to read, closing is no reset.
        notice(&mut below);
        below.finish();
        wait_until("its end is seen", || broker.stats().left == round);
    }
    wait_until("the connections are closed", || {
        broker.stats().connections <= 1
    });
}
