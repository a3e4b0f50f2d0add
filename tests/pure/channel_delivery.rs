//! Every member gets the history at its join and then every later frame but its own, in the
//! channel's one order, each once and whole, wherever the members are and however slowly the queues
//! between the shards move. Announcements reach those who were there before, and are not stored.

use std::time::Duration;

use mles::channel::ChannelSettings;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::channel_model::{RELAYS, World};

#[derive(Clone, Debug)]
enum Op {
    Join {
        cid: u32,
        relay: Option<u16>,
        announced: bool,
        publishes: bool,
    },
    Publish(usize, Vec<usize>),
    Leave(usize),
    HalfClose(usize),
    Announce,
    PumpTo(u16, usize),
    PumpFrom(u16, usize),
    Write(usize, usize),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let relay = proptest::option::of(0..RELAYS);
    let join = (0..6_u32, relay, any::<bool>(), prop::bool::weighted(0.3));
    let join = join.prop_map(|(cid, relay, announced, publishes)| Op::Join {
        cid,
        relay,
        announced,
        publishes,
    });
    let at = 0..8_usize;
    prop_oneof![
        4 => join,
        5 => (at.clone(), vec(0..50_usize, 1..5)).prop_map(|(at, run)| Op::Publish(at, run)),
        3 => at.clone().prop_map(Op::Leave),
        2 => at.clone().prop_map(Op::HalfClose),
        1 => Just(Op::Announce),
        4 => (0..RELAYS, 1..5_usize).prop_map(|(shard, count)| Op::PumpTo(shard, count)),
        4 => (0..RELAYS, 1..5_usize).prop_map(|(shard, count)| Op::PumpFrom(shard, count)),
        4 => (at, 1..300_usize).prop_map(|(at, n)| Op::Write(at, n)),
        1 => (0..60_u64).prop_map(Op::Pass),
    ]
}

fn settings(history_frames: usize) -> ChannelSettings {
    ChannelSettings {
        history_frames,
        idle_ttl: Duration::from_millis(50),
        ..ChannelSettings::default()
    }
}

fn apply(world: &mut World, op: Op) {
    match op {
        Op::Join {
            cid,
            relay,
            announced,
            publishes,
        } => world.join(cid, relay, announced, publishes),
        Op::Publish(at, payloads) => world.publish(at, &payloads),
        Op::Leave(at) => world.leave(at),
        Op::HalfClose(at) => world.half_close(at),
        Op::Announce => world.announce(),
        Op::PumpTo(shard, count) => world.pump_to(shard, count),
        Op::PumpFrom(shard, count) => world.pump_from(shard, count),
        Op::Write(at, n) => world.write(at, n),
        Op::Pass(ms) => world.pass(ms),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_member_gets_what_it_has_to(
        history_frames in 0..12_usize,
        ops in vec(op(), 1..80),
    ) {
        let mut world = World::new(settings(history_frames));
        for op in ops {
            apply(&mut world, op);
            world.check();
        }
        world.settle();
    }
}

#[test]
fn announcements_of_an_emptied_channel_are_forgotten() {
    let mut world = World::new(settings(0));
    world.join(1, None, true, false);
    world.join(2, None, true, false);
    world.leave(0);
    world.leave(0);
    world.join(3, None, true, false);
    world.settle();
}
