//! The watchdog, with a clock of the test's.

use super::*;

fn named() {}

/// A task of a shard, by its type alone.
fn kind<F>(mark: &TurnMark, _task: &F) -> TaskKind {
    mark.kind_of::<F>()
}

#[test]
fn a_shard_in_one_turn_for_a_second_is_stuck_until_the_next() {
    let mark = TurnMark::default();
    let start = Instant::now();
    let mut shard = WatchedShard::new(ShardId(0), &mark, start);
    let task = kind(&mark, &named);
    mark.begin(task);
    shard.look(start);
    shard.look(start + LIMIT / 2);
    assert!(!mark.is_stuck());
    shard.look(start + LIMIT);
    shard.look(start + 2 * LIMIT);
    assert!(mark.is_stuck());
    assert_eq!((mark.stalls(), mark.task().as_deref()), (1, Some("named")));
    mark.end();
    assert_eq!(mark.task(), None);
    shard.look(start + 3 * LIMIT);
    assert!(!mark.is_stuck(), "the turn is over");
    shard.look(start + 4 * LIMIT);
    assert!(mark.is_stuck(), "no turn has begun since");
    mark.begin(task);
    shard.look(start + 4 * LIMIT);
    assert!(!mark.is_stuck());
    assert_eq!(mark.stalls(), 2);
}

#[test]
fn a_shard_that_does_not_run_is_not_stuck() {
    let mark = TurnMark::default();
    let start = Instant::now();
    let mut shard = WatchedShard::new(ShardId(0), &mark, start);
    shard.look(start + 2 * LIMIT);
    assert!(!mark.is_stuck(), "it has not begun");
    mark.begin(kind(&mark, &named));
    shard.look(start + 2 * LIMIT);
    shard.look(start + 3 * LIMIT);
    assert!(mark.is_stuck());
    mark.stop();
    shard.look(start + 9 * LIMIT);
    assert!(!mark.is_stuck(), "it has ended");
}

#[test]
fn the_publisher_of_another_turn_is_not_named() {
    let mark = TurnMark::default();
    let task = kind(&mark, &named);
    mark.begin(task);
    mark.publishes(SessionId(7));
    assert_eq!(mark.publisher_in(mark.look()), Some(7));
    mark.end();
    mark.begin(task);
    assert_eq!(mark.publisher_in(mark.look()), None);
}

#[test]
fn kinds_of_tasks_are_told_apart() {
    let mark = TurnMark::default();
    let (first, second) = (kind(&mark, &named), kind(&mark, &async {}));
    assert_ne!(first, second);
    assert_eq!(kind(&mark, &named), first);
    for name in [
        "mles::shard::flush::<impl mles::shard::Shard>::flush_forever::{{closure}}",
        "mles::shard::Shard::flush_forever::{{closure}}::{{closure}}",
        "mles::shard::flush_forever<alloc::rc::Rc<mles::shard::Shard>>",
    ] {
        assert_eq!(short_name(name), "flush");
    }
    for (name, short) in [
        (
            "mles::shard::session_task::SessionTask<mles::net::Tcp>",
            "session",
        ),
        (
            "mles::gateway::connection::Connection::run::{{closure}}",
            "websocket",
        ),
        (
            "mles::gateway::events::EventStream::run::{{closure}}",
            "events",
        ),
        (
            "mles::net::accept::<impl mles::shard::Shard>::accept::{{closure}}",
            "accept",
        ),
    ] {
        assert_eq!(short_name(name), short);
    }
}
