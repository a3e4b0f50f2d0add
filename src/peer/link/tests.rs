use std::time::{Duration, Instant};

use super::{Link, LinkFailure, LinkNews, LinkSettings, LinkStep, SETTLE};
use crate::protocol::LinkRefusal;

const SECOND: Duration = Duration::from_secs(1);

/// A link with `upstreams` upstreams whose waits are as long as they may be.
fn link(upstreams: usize) -> (Link, Instant) {
    let settings = LinkSettings {
        upstreams,
        backoff: SECOND,
        backoff_max: 8 * SECOND,
        stable_after: 60 * SECOND,
    };
    (Link::new(settings, |ceiling| ceiling), Instant::now())
}

fn unreachable() -> LinkFailure {
    LinkFailure::Unreachable("no answer".to_owned())
}

fn broken() -> LinkFailure {
    LinkFailure::Broken("reset".to_owned())
}

/// Connects at `now`, to the upstream with index `target`.
fn connect(link: &mut Link, target: usize, now: Instant) {
    assert_eq!(link.next(now), LinkStep::Connect(target));
    assert_eq!(link.next(now), LinkStep::Rest, "one attempt at a time");
    link.connected(now);
}

/// The time at which a waiting link tries again.
fn waits_until(link: &mut Link, now: Instant) -> Instant {
    match link.next(now) {
        LinkStep::Wait(until) => until,
        other => panic!("{other:?} instead of a wait"),
    }
}

#[test]
fn it_rests_until_the_channel_has_members_and_when_it_has_none_again() {
    let (mut link, now) = link(1);
    assert_eq!(link.next(now), LinkStep::Rest);
    assert!(link.start(now) && !link.start(now), "it begins once");
    connect(&mut link, 0, now);
    link.rest();
    assert!(link.is_idle());
    assert_eq!(link.next(now + SECOND), LinkStep::Rest);
    assert!(link.start(now));
    assert_eq!(link.next(now), LinkStep::Connect(0));
}

#[test]
fn waits_double_up_to_the_highest_and_are_short_again_after_a_stable_link() {
    let (mut link, mut now) = link(1);
    link.start(now);
    for wait in [1, 2, 4, 8, 8] {
        assert_eq!(link.next(now), LinkStep::Connect(0));
        link.ended(unreachable(), now);
        assert_eq!(waits_until(&mut link, now), now + wait * SECOND);
        now += wait * SECOND;
    }
    connect(&mut link, 0, now);
    link.taken(now);
    link.ended(broken(), now + 59 * SECOND);
    now += 59 * SECOND;
    assert_eq!(
        waits_until(&mut link, now),
        now + 8 * SECOND,
        "not stable yet"
    );
    now += 8 * SECOND;
    connect(&mut link, 0, now);
    link.taken(now);
    now += 60 * SECOND;
    link.ended(broken(), now);
    assert_eq!(waits_until(&mut link, now), now + SECOND);
}

#[test]
fn upstreams_are_tried_in_order_without_a_wait_until_all_have_failed() {
    let (mut link, mut now) = link(3);
    link.start(now);
    for round in 0..2 {
        for target in 0..3 {
            assert_eq!(link.target(), target);
            assert_eq!(link.next(now), LinkStep::Connect(target), "round {round}");
            link.ended(unreachable(), now);
        }
        now = waits_until(&mut link, now);
    }
    assert_eq!(link.next(now), LinkStep::Connect(0));
    link.ended(unreachable(), now);
    connect(&mut link, 1, now);
    link.taken(now);
    link.ended(broken(), now);
    now = waits_until(&mut link, now);
    assert_eq!(
        link.next(now),
        LinkStep::Connect(0),
        "the first is preferred"
    );
}

#[test]
fn a_connection_that_ends_right_after_the_join_was_refused() {
    let (mut link, now) = link(1);
    link.start(now);
    connect(&mut link, 0, now);
    let news = link.ended(broken(), now + SETTLE / 2);
    assert_eq!(news, Some(LinkNews::Failed(LinkFailure::Closed)));

    let now = waits_until(&mut link, now + SETTLE / 2);
    connect(&mut link, 0, now);
    assert_eq!(link.taken(now), Some(LinkNews::Up));
    assert_eq!(link.taken(now), None, "it is up already");
    let news = link.ended(broken(), now + SETTLE / 2);
    assert_eq!(news, Some(LinkNews::Failed(broken())), "it had been taken");
}

#[test]
fn a_failure_is_told_when_it_is_another_than_before() {
    let (mut link, mut now) = link(1);
    link.start(now);
    let mut fail = |failure: LinkFailure| {
        now = match link.next(now) {
            LinkStep::Wait(until) => until,
            _ => now,
        };
        link.next(now);
        link.connected(now);
        let news = link.ended(failure, now + 2 * SETTLE);
        now += 2 * SETTLE;
        news
    };
    assert!(fail(unreachable()).is_some());
    assert_eq!(
        fail(LinkFailure::Unreachable("other words".to_owned())),
        None
    );
    assert!(fail(LinkFailure::Refused(LinkRefusal::Key)).is_some());
    assert_eq!(fail(LinkFailure::Refused(LinkRefusal::Key)), None);
    assert!(fail(LinkFailure::Refused(LinkRefusal::Cid)).is_some());
    assert!(fail(LinkFailure::Loop).is_some());
    assert!(fail(unreachable()).is_some());
}

#[test]
fn a_ring_is_tried_again_late() {
    for failure in [LinkFailure::Loop, LinkFailure::Refused(LinkRefusal::Loop)] {
        let (mut link, now) = link(2);
        link.start(now);
        connect(&mut link, 0, now);
        link.ended(failure, now);
        assert_eq!(waits_until(&mut link, now), now + 8 * SECOND);
    }
}
