//! One mailbox at its limits, and several threads that push against it.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::thread::{self, Thread};

use super::mailbox::{MAX_BYTES, Mailbox, Outlet, Weigh, mailbox};
use super::sync::MAILBOX_CAPACITY;
use super::wake::Wake;

/// A message: which sender, its how-manieth, and what it weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parcel {
    from: usize,
    number: u32,
    weight: usize,
}

impl Weigh for Parcel {
    fn weight(&self) -> usize {
        self.weight
    }
}

fn parcel(number: u32, weight: usize) -> Parcel {
    Parcel {
        from: 0,
        number,
        weight,
    }
}

/// A mailbox with one sender.
fn pair() -> (Mailbox<Parcel>, Outlet<Parcel>) {
    let (mailbox, mut outlets) = mailbox(1, &Arc::new(Wake::new()));
    (mailbox, outlets.remove(0))
}

fn numbers(mailbox: &Mailbox<Parcel>) -> Vec<u32> {
    std::iter::from_fn(|| mailbox.take())
        .map(|parcel| parcel.number)
        .collect()
}

#[derive(Debug)]
struct Unpark(Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Parks the calling thread the way a shard sleeps: not at all if `is_idle` no longer holds.
fn sleep_unless_busy(wake: &Wake, is_idle: impl FnOnce() -> bool) {
    wake.register(&Waker::from(Arc::new(Unpark(thread::current()))));
    if wake.sleep(is_idle) {
        thread::park();
    }
}

#[test]
fn what_finds_it_full_follows_in_order() {
    let (mailbox, outlet) = pair();
    let capacity = u32::try_from(MAILBOX_CAPACITY).unwrap();
    for number in 0..capacity {
        assert!(outlet.send(parcel(number, 1)));
    }
    for number in capacity..capacity + 10 {
        assert!(!outlet.send(parcel(number, 1)));
    }
    assert!(!outlet.is_clear());
    assert_eq!(mailbox.take().map(|parcel| parcel.number), Some(0));
    // There is room for one: that must not be the newest.
    assert!(!outlet.send(parcel(capacity + 10, 1)));
    let rest: VecDeque<_> = numbers(&mailbox).into();
    assert!(rest.into_iter().eq(1..=capacity));
    outlet.send_kept();
    assert!(outlet.is_clear());
    assert!(
        numbers(&mailbox)
            .into_iter()
            .eq(capacity + 1..=capacity + 10)
    );
}

#[test]
fn it_is_full_by_bytes_too() {
    let (mailbox, outlet) = pair();
    let most = usize::try_from(MAX_BYTES).unwrap();
    assert!(outlet.send(parcel(0, most - 1)));
    assert!(outlet.send(parcel(1, 1)));
    assert!(!outlet.send(parcel(2, 1)));
    // Without weight it would fit, but it has to wait for its turn.
    assert!(!outlet.send(parcel(3, 0)));
    assert_eq!(mailbox.take().map(|parcel| parcel.number), Some(0));
    outlet.send_kept();
    assert!(outlet.is_clear());
    assert_eq!(numbers(&mailbox), [1, 2, 3]);
}

#[test]
fn an_empty_mailbox_takes_a_message_of_any_weight() {
    let (mailbox, outlet) = pair();
    let most = usize::try_from(MAX_BYTES).unwrap();
    assert!(outlet.send(parcel(0, 2 * most)));
    assert!(!outlet.send(parcel(1, 2 * most)));
    assert_eq!(numbers(&mailbox), [0]);
    outlet.send_kept();
    assert_eq!(numbers(&mailbox), [1]);
}

#[test]
fn a_sender_is_settled_until_room_is_made() {
    let (mailbox, outlet) = pair();
    let most = usize::try_from(MAX_BYTES).unwrap();
    assert!(outlet.is_settled());
    assert!(outlet.send(parcel(0, most)));
    assert!(!outlet.send(parcel(1, most)));
    assert!(outlet.is_settled(), "it waits for room");
    mailbox.made_room(&[Arc::new(Wake::new())]);
    assert!(!outlet.is_settled(), "room was made: it has to try again");
    outlet.send_kept();
    assert!(outlet.is_settled(), "it was full all the same");
}

/// Every thread is a shard that does nothing but send; nobody polls, so a wake-up that is lost
/// ends in a hang.
#[test]
fn nothing_is_lost_between_threads() {
    const SENDERS: usize = 3;
    const EACH: u32 = 20_000;
    // A handful of messages fill the mailbox.
    let most = usize::try_from(MAX_BYTES).unwrap();
    let weight = most / 5;
    let wake = Arc::new(Wake::new());
    let (mailbox, mut outlets) = mailbox::<Parcel>(SENDERS + 1, &wake);
    let idle = outlets.remove(SENDERS);
    let wakes: Vec<_> = (0..SENDERS).map(|_| Arc::new(Wake::new())).collect();
    thread::scope(|scope| {
        for (from, (outlet, wake)) in outlets.into_iter().zip(&wakes).enumerate() {
            scope.spawn(move || {
                for number in 0..EACH {
                    outlet.send(Parcel {
                        from,
                        number,
                        weight: weight * (number as usize % 3),
                    });
                    while !outlet.is_clear() {
                        sleep_unless_busy(wake, || outlet.is_settled());
                        outlet.send_kept();
                    }
                }
            });
        }
        let mut next = [0; SENDERS];
        while next != [EACH; SENDERS] {
            while let Some(parcel) = mailbox.take() {
                assert_eq!(parcel.number, next[parcel.from]);
                next[parcel.from] += 1;
                mailbox.made_room(&wakes);
            }
            if next != [EACH; SENDERS] {
                sleep_unless_busy(&wake, || mailbox.is_empty());
            }
        }
    });
    // All weights are taken off again, and no more than that.
    assert_eq!(idle.meter().bytes(), 0);
    assert!(idle.send(parcel(0, most)));
    assert!(!idle.send(parcel(1, 1)));
}

#[test]
fn a_meter_shows_what_waits() {
    let (mailbox, outlet) = pair();
    let meter = outlet.meter();
    assert!(outlet.send(parcel(1, 10)) && outlet.send(parcel(2, 5)));
    assert_eq!((meter.messages(), meter.bytes()), (2, 15));
    mailbox.take();
    assert_eq!((meter.messages(), meter.bytes()), (1, 5));
}
