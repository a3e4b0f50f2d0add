#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should say where"
)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::permit::{Permit, Stage};
use super::{ChannelPermit, LimitReached, Limiter, Unneeded};
use crate::settings::Limits;
use crate::shard::ShardId;
use crate::shard::ids::ChannelId;

const HOUR: Duration = Duration::from_secs(3600);

/// A limiter, and the time that it is told.
struct World {
    limiter: Arc<Limiter>,
    now: Instant,
}

fn world(limits: Limits) -> World {
    World {
        limiter: Limiter::new(limits),
        now: Instant::now(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

impl World {
    fn enter(&self, from: &str) -> Result<Permit, LimitReached> {
        self.limiter.enter(ip(from), self.now)
    }

    fn joining(&self, from: &str, count: usize) -> Vec<Permit> {
        (0..count).map(|_| self.enter(from).unwrap()).collect()
    }

    fn half_closed(&self, from: &str, count: usize) -> Vec<Permit> {
        let permits = self.joining(from, count);
        for permit in &permits {
            permit.join().unwrap();
            permit.half_close(false);
        }
        permits
    }
}

/// Returns the reason that a connection was told to go, if it was.
fn told(permit: &Permit) -> Option<LimitReached> {
    permit.ticket()?.told.get().copied()
}

/// Which of `permits` have to go.
fn gone(permits: &[Permit]) -> Vec<usize> {
    let is_told = |&i: &usize| told(&permits[i]).is_some();
    (0..permits.len()).filter(is_told).collect()
}

#[test]
fn a_place_is_counted_until_its_holder_is_gone_or_has_made_room() {
    let world = world(Limits {
        max_joining: 3,
        ..Limits::default()
    });
    let mut permits = world.joining("192.0.2.1", 5);
    assert_eq!((world.limiter.connections(), world.limiter.going()), (3, 2));
    assert_eq!(gone(&permits), [0, 1]);
    drop(permits.remove(0));
    assert_eq!((world.limiter.connections(), world.limiter.going()), (3, 1));
    drop(permits);
    assert_eq!((world.limiter.connections(), world.limiter.going()), (0, 0));
}

#[test]
fn who_does_not_join_keeps_nobody_out() {
    for newcomer in ["192.0.2.2", "192.0.2.1"] {
        let world = world(Limits {
            max_joining: 100,
            ..Limits::default()
        });
        let innocent = world.enter("192.0.2.3").unwrap();
        let mut flood = world.joining("192.0.2.1", 99);
        for i in 0..50 {
            let permit = world.enter(newcomer).unwrap();
            assert_eq!(gone(&flood).len(), 2 * i + 1);
            permit.join().unwrap();
            flood.extend(world.joining("192.0.2.1", 2));
        }
        // It is older than all of them, but its address has not more than its share.
        assert_eq!(told(&innocent), None);
        assert_eq!(told(&flood[0]), Some(LimitReached::Joining));
    }
}

/// Enters from one address after the other of an IPv6 network.
fn from_network(world: &World, network: &str, count: usize) -> Vec<Result<Permit, LimitReached>> {
    let from = |i| world.enter(&format!("{network}::{i:x}"));
    (0..count).map(from).collect()
}

#[test]
fn addresses_of_one_ipv6_network_are_one_client() {
    let world = world(Limits {
        max_joining: 100,
        ..Limits::default()
    });
    let innocent = world.enter("2001:db8:0:1::1").unwrap();
    let flood = from_network(&world, "2001:db8:0:2", 300);
    assert!(flood.iter().all(Result::is_ok));
    assert_eq!(told(&innocent), None);

    // Nor does it keep those of another network out.
    from_network(&world, "2001:db8:0:3", 10)
        .into_iter()
        .for_each(|permit| permit.unwrap().join().unwrap());
}

#[test]
fn an_ipv6_network_has_the_connections_of_one_address() {
    let world = world(Limits {
        max_connections_per_address: 10,
        ..Limits::default()
    });
    let joined = from_network(&world, "2001:db8:0:1", 10);
    let is_joined = |permit: &Result<Permit, LimitReached>| permit.as_ref().unwrap().join().is_ok();
    assert!(joined.iter().all(is_joined));
    let next = |network| from_network(&world, network, 1).remove(0);
    assert_eq!(next("2001:db8:0:1").unwrap_err(), LimitReached::Address);
    next("2001:db8:0:2").unwrap();
}

#[test]
fn a_crowd_does_not_drive_itself_out() {
    let mut world = world(Limits {
        max_joining: 40,
        ..Limits::default()
    });
    let from = |i: usize| format!("192.0.2.{}", i % 8);
    let crowd: Vec<_> = (0..40).map(|i| world.enter(&from(i)).unwrap()).collect();
    // Nobody has more than a share, and all have only just come.
    assert_eq!(world.enter("192.0.2.9").unwrap_err(), LimitReached::Joining);
    assert_eq!(gone(&crowd), [0; 0]);
    world.now += HOUR;
    world.enter("192.0.2.9").unwrap();
    assert_eq!(gone(&crowd), [0]);
}

#[test]
fn who_was_told_to_go_cannot_join() {
    let mut world = world(Limits {
        max_joining: 1,
        ..Limits::default()
    });
    let first = world.enter("192.0.2.1").unwrap();
    world.now += HOUR;
    let second = world.enter("192.0.2.2").unwrap();
    assert_eq!(first.join().unwrap_err(), LimitReached::Joining);
    first.enter_stage(Stage::Ending);
    assert_eq!(first.join().unwrap_err(), LimitReached::Joining);
    second.join().unwrap();
}

#[test]
fn half_closed_connections_make_room_at_every_limit() {
    type Limit = (LimitReached, Limits);
    let limits = Limits::default;
    let cases: [Limit; 2] = [
        (
            LimitReached::Connections,
            Limits {
                max_connections: 20,
                ..limits()
            },
        ),
        (
            LimitReached::Address,
            Limits {
                max_connections_per_address: 20,
                ..limits()
            },
        ),
    ];
    for (full, limits) in cases {
        let world = world(limits);
        let half_closed = world.half_closed("192.0.2.1", 20);
        let newcomers: Vec<_> = (0..20)
            .map(|i| {
                let newcomer = world.enter("192.0.2.1").unwrap();
                newcomer.join().unwrap();
                assert_eq!(gone(&half_closed), (0..=i).collect::<Vec<_>>());
                newcomer
            })
            .collect();
        assert_eq!(world.enter("192.0.2.1").unwrap_err(), full);
        assert_eq!(gone(&newcomers), [0; 0]);
        assert_eq!(told(&half_closed[0]), Some(full));
    }
}

#[test]
fn what_has_ended_goes_first_and_who_still_receives_last() {
    let mut world = world(Limits {
        max_connections: 4,
        ..Limits::default()
    });
    let stalled = world.half_closed("192.0.2.1", 1).remove(0);
    stalled.set_stalled(true);
    let half_closed = world.half_closed("192.0.2.1", 1).remove(0);
    let joining = world.enter("192.0.2.1").unwrap();
    let ending = world.enter("192.0.2.1").unwrap();
    ending.join().unwrap();
    ending.enter_stage(Stage::Ending);
    world.now += HOUR;
    let all = [ending, half_closed, joining, stalled];
    for i in 0..all.len() {
        let newcomer = world.enter("192.0.2.1").unwrap();
        newcomer.join().unwrap();
        std::mem::forget(newcomer);
        assert_eq!(gone(&all), (0..=i).collect::<Vec<_>>());
    }
}

#[test]
fn who_has_got_all_goes_before_older_ones_that_have_not() {
    let world = world(Limits {
        max_half_closed: 3,
        ..Limits::default()
    });
    let permits = world.half_closed("192.0.2.1", 3);
    permits[0].set_stalled(true);
    permits[1].set_stalled(true);
    let more = world.half_closed("192.0.2.1", 1);
    assert_eq!((gone(&permits), gone(&more)), (vec![2], vec![]));
    // It has its age back with its place.
    permits[0].set_stalled(false);
    let more = world.half_closed("192.0.2.1", 1);
    assert_eq!((gone(&permits), gone(&more)), (vec![0, 2], vec![]));
}

#[test]
fn the_limit_of_half_closed_connections_is_of_those_at_this_moment() {
    let world = world(Limits {
        max_half_closed: 3,
        ..Limits::default()
    });
    let kept = world.half_closed("192.0.2.1", 2);
    for _ in 0..10 {
        drop(world.half_closed("192.0.2.2", 1));
    }
    assert_eq!(gone(&kept), [0; 0]);
    let more = world.half_closed("192.0.2.1", 2);
    assert_eq!((gone(&kept), gone(&more)), (vec![0], vec![]));
}

#[test]
fn one_address_with_many_half_closed_connections_pays_for_them() {
    let world = world(Limits {
        max_half_closed: 8,
        ..Limits::default()
    });
    let innocent = world.half_closed("192.0.2.1", 2);
    let many = world.half_closed("192.0.2.2", 10);
    assert_eq!(gone(&innocent), [0; 0]);
    assert_eq!(gone(&many), [0, 1, 2, 3]);
}

#[test]
fn half_closed_connections_make_room_when_there_is_no_file_left() {
    let world = world(Limits::default());
    let half_closed = world.half_closed("192.0.2.1", 2);
    assert!(world.limiter.free_file(world.now) && world.limiter.free_file(world.now));
    assert!(!world.limiter.free_file(world.now));
    assert_eq!(gone(&half_closed), [0, 1]);
}

/// Opens channels in the name of an address, and leaves them.
struct Channels {
    limiter: Arc<Limiter>,
    opened: u64,
}

/// A channel that its owner has: what keeps it counted, and its id.
type Opened = (ChannelPermit, ChannelId);

impl Channels {
    fn new(max_channels: usize) -> Self {
        let limits = Limits {
            max_channels,
            ..Limits::default()
        };
        Self {
            limiter: Limiter::new(limits),
            opened: 0,
        }
    }

    /// Opens a channel. The serial number of the one that makes room comes with it.
    fn open(&mut self, from: &str) -> Result<(Opened, Option<u64>), LimitReached> {
        let (permit, freed) = self.limiter.open_channel(ip(from))?;
        let id = ChannelId {
            owner: ShardId(0),
            index: 0,
            serial: self.opened,
        };
        self.opened += 1;
        Ok(((permit, id), freed.map(|id| id.serial)))
    }

    fn unneeded(&mut self, from: &str, why: Unneeded) -> Opened {
        let ((mut permit, id), _) = self.open(from).unwrap();
        permit.set_unneeded(id, Some(why));
        (permit, id)
    }

    fn idle(&mut self, from: &str, count: usize) -> Vec<Opened> {
        let idle = |_| self.unneeded(from, Unneeded::Idle);
        (0..count).map(idle).collect()
    }
}

#[test]
fn the_channel_that_is_idle_longest_makes_room() {
    let mut channels = Channels::new(3);
    let idle = channels.idle("192.0.2.1", 3);
    let mut kept = Vec::new();
    for expected in 0..3 {
        let (opened, freed) = channels.open("192.0.2.2").unwrap();
        assert_eq!(freed, Some(expected));
        kept.push(opened);
    }
    assert_eq!(
        channels
            .open("192.0.2.2")
            .map(|(_, freed)| freed)
            .unwrap_err(),
        LimitReached::Channels
    );
    assert_eq!(channels.limiter.channels(), 3);
    drop(idle);
    assert_eq!(channels.limiter.channels(), 3);
    drop(kept);
    assert_eq!(channels.limiter.channels(), 0);
}

#[test]
fn whoever_leaves_many_channels_idle_pays_for_them() {
    let mut channels = Channels::new(12);
    let _innocent = channels.idle("192.0.2.1", 3);
    // The oldest of these make room for the others.
    let _many = channels.idle("192.0.2.2", 20);
    let freed = (0..6).map(|_| {
        let (opened, freed) = channels.open("192.0.2.3").unwrap();
        std::mem::forget(opened);
        freed.unwrap()
    });
    // 11 were freed before; then both have three, which is a share.
    assert_eq!(freed.collect::<Vec<_>>(), [14, 15, 16, 17, 18, 19]);
    let (_opened, freed) = channels.open("192.0.2.3").unwrap();
    assert_eq!(freed, Some(0));
}

#[test]
fn a_deserted_channel_makes_room_when_none_is_idle() {
    let mut channels = Channels::new(3);
    let _deserted = channels.unneeded("192.0.2.1", Unneeded::Deserted);
    let _idle = channels.idle("192.0.2.1", 1);
    let _needed = channels.open("192.0.2.1").unwrap();
    let freed = [(); 2].map(|()| {
        let (opened, freed) = channels.open("192.0.2.1").unwrap();
        std::mem::forget(opened);
        freed
    });
    assert_eq!(freed, [Some(1), Some(0)]);
    assert!(channels.open("192.0.2.1").is_err());
}

#[test]
fn a_channel_that_is_needed_again_is_counted_again() {
    let mut channels = Channels::new(1);
    let (mut permit, id) = channels.idle("192.0.2.1", 1).remove(0);
    permit.set_unneeded(id, None);
    assert!(channels.open("192.0.2.1").is_err());
    permit.set_unneeded(id, Some(Unneeded::Deserted));
    permit.set_unneeded(id, Some(Unneeded::Idle));
    let (opened, freed) = channels.open("192.0.2.1").unwrap();
    assert_eq!(freed, Some(0));
    // Somebody comes before its owner has freed it.
    permit.set_unneeded(id, Some(Unneeded::Idle));
    assert_eq!(channels.limiter.channels(), 1);
    permit.set_unneeded(id, None);
    assert_eq!(channels.limiter.channels(), 2);
    assert!(channels.open("192.0.2.1").is_err());
    drop((permit, opened));
    assert_eq!(channels.limiter.channels(), 0);
}

/// A connection of a proxy counts for nobody until its client is named, and for that client alone then.
#[test]
fn a_connection_counts_for_the_client_that_its_proxy_names() {
    let w = world(Limits {
        max_connections_per_address: 1,
        ..Limits::default()
    });
    let unnamed = || w.limiter.enter_unnamed(w.now).unwrap();
    let all: Vec<_> = (0..5).map(|_| unnamed()).collect();
    for (i, permit) in all.iter().enumerate() {
        permit.join().unwrap();
        permit.assign(ip(&format!("192.0.2.{i}")), w.now).unwrap();
        // Once more is without effect.
        permit.assign(ip(&format!("192.0.2.{i}")), w.now).unwrap();
    }
    assert_eq!(w.limiter.connections(), 5);
    let late = unnamed();
    assert_eq!(
        late.assign(ip("192.0.2.3"), w.now),
        Err(LimitReached::Address)
    );
    assert_eq!(w.enter("192.0.2.3").err(), Some(LimitReached::Address));
    // It is still nobody's, and can be another's.
    late.assign(ip("192.0.2.9"), w.now).unwrap();
    assert_eq!(w.enter("192.0.2.9").err(), Some(LimitReached::Address));
    drop((all, late));
    assert_eq!(w.limiter.connections(), 0);
    drop(w.enter("192.0.2.3").unwrap());
}

/// A holder makes room for a client of a proxy as for any other, by its age.
#[test]
fn a_client_that_a_proxy_names_finds_room_and_makes_it() {
    let w = world(Limits {
        max_connections_per_address: 2,
        ..Limits::default()
    });
    let old = w.limiter.enter_unnamed(w.now).unwrap();
    old.assign(ip("192.0.2.1"), w.now).unwrap();
    let young = w.enter("192.0.2.1").unwrap();
    let later = w.now + HOUR;
    let newcomer = w.limiter.enter_unnamed(later).unwrap();
    newcomer.assign(ip("192.0.2.1"), later).unwrap();
    let told = [&old, &young, &newcomer].map(|permit| told(permit).is_some());
    assert_eq!(told, [true, false, false]);
    // One that has to go is not counted again.
    old.assign(ip("192.0.2.7"), later).unwrap();
    drop(w.enter("192.0.2.7").unwrap());
    assert_eq!(w.limiter.connections(), 2);
}
