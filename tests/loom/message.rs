//! The protocol between a sender and a shard that goes to sleep: no message is slept through.

use std::future::poll_fn;
use std::task::Poll;

use loom::future::block_on;
use loom::model::Builder;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::wake::Wake;

/// Receives until `total` messages have come, as the inbox task does.
fn receive(wake: &Wake, queue: &AtomicUsize, total: usize) {
    let mut got = 0;
    block_on(poll_fn(|cx| {
        wake.register(cx.waker());
        loop {
            got += queue.swap(0, Ordering::Acquire);
            if got == total {
                return Poll::Ready(());
            }
            if wake.sleep(|| queue.load(Ordering::Acquire) == 0) {
                return Poll::Pending;
            }
        }
    }));
}

#[test]
fn no_message_is_slept_through() {
    let mut model = Builder::new();
    model.preemption_bound = Some(4);
    model.check(|| {
        let wake = Arc::new(Wake::new());
        let queue = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = (0..2)
            .map(|_| {
                let (wake, queue) = (wake.clone(), queue.clone());
                thread::spawn(move || {
                    queue.fetch_add(1, Ordering::Release);
                    wake.notify();
                })
            })
            .collect();
        receive(&wake, &queue, 2);
        for sender in senders {
            sender.join().unwrap();
        }
    });
}
