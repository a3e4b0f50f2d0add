//! The protocol for a full mailbox, explored by loom: whoever waits for room is woken.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use loom::future::block_on;
use loom::model::Builder;
use loom::thread;

use crate::mailbox::{Mailbox, Outlet, Weigh, mailbox};
use crate::wake::Wake;

/// A message and its weight.
struct Parcel(u32, usize);

impl Weigh for Parcel {
    fn weight(&self) -> usize {
        self.1
    }
}

/// Acts as the inbox task of a shard that only sends: retries what is kept until it is gone.
fn send_all(outlet: &Outlet<Parcel>, wake: &Wake, parcels: Vec<Parcel>) {
    for parcel in parcels {
        outlet.send(parcel);
    }
    block_on(poll_fn(|cx| {
        wake.register(cx.waker());
        loop {
            outlet.send_kept();
            if outlet.is_clear() {
                return Poll::Ready(());
            }
            if wake.sleep(|| outlet.is_settled()) {
                return Poll::Pending;
            }
        }
    }));
}

/// Acts as the inbox task of a shard that only receives. Returns the parcels that came, in order.
fn receive(mailbox: &Mailbox<Parcel>, wake: &Wake, wakes: &[Arc<Wake>], total: usize) -> Vec<u32> {
    let mut got = Vec::new();
    block_on(poll_fn(|cx| {
        wake.register(cx.waker());
        loop {
            let before = got.len();
            while let Some(Parcel(number, _)) = mailbox.take() {
                got.push(number);
            }
            if got.len() > before {
                mailbox.made_room(wakes);
            }
            if got.len() == total {
                return Poll::Ready(());
            }
            if wake.sleep(|| mailbox.is_empty()) {
                return Poll::Pending;
            }
        }
    }));
    got
}

/// One receiver on this thread, and a thread for each sender with its parcels.
fn explore(preemptions: usize, senders: &'static [&'static [(u32, usize)]]) {
    let mut model = Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || {
        let wake = Arc::new(Wake::new());
        let (mailbox, outlets) = mailbox(senders.len(), &wake);
        let wakes: Vec<_> = senders.iter().map(|_| Arc::new(Wake::new())).collect();
        let threads: Vec<_> = outlets
            .into_iter()
            .zip(senders)
            .zip(&wakes)
            .map(|((outlet, parcels), wake)| {
                let parcels = parcels.iter().map(|&(n, weight)| Parcel(n, weight));
                let (parcels, wake) = (parcels.collect(), wake.clone());
                thread::spawn(move || send_all(&outlet, &wake, parcels))
            })
            .collect();
        let total = senders.iter().map(|parcels| parcels.len()).sum();
        let got = receive(&mailbox, &wake, &wakes, total);
        for thread in threads {
            thread.join().unwrap();
        }
        for parcels in senders {
            let sent = parcels.iter().map(|&(number, _)| number);
            let of_sender = got.iter().filter(|n| parcels.iter().any(|(m, _)| m == *n));
            assert!(of_sender.copied().eq(sent), "{got:?}");
        }
    });
}

const HEAVY: usize = 40 << 20;

#[test]
fn room_by_count_wakes_the_sender() {
    explore(3, &[&[(1, 0), (2, 0), (3, 0)]]);
}

#[test]
fn room_by_bytes_wakes_the_sender() {
    explore(3, &[&[(1, HEAVY), (2, HEAVY)]]);
}

#[test]
fn room_wakes_both_senders() {
    explore(2, &[&[(1, HEAVY)], &[(2, HEAVY)]]);
}
