//! The memory for the head of a request that has begun to come.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::shard::Shard;
use crate::shard::allowance::{Overdrawn, Share};
use crate::websocket::MAX_HEAD;

/// The part of one connection of the memory for what has not joined. Given back at the end.
pub(super) struct HeadMemory {
    shard: Rc<Shard>,
    /// Bytes of the head that have come.
    bytes: Cell<usize>,
    share: RefCell<Share>,
}

impl HeadMemory {
    pub(super) fn new(shard: Rc<Shard>) -> Self {
        Self {
            shard,
            bytes: Cell::new(0),
            share: RefCell::default(),
        }
    }

    /// Charges for so many further bytes.
    pub(super) fn grow(&self, bytes: usize) -> Result<(), Overdrawn> {
        let bytes = (self.bytes.get() + bytes).min(MAX_HEAD);
        self.bytes.set(bytes);
        let scratch = &mut self.shard.join_scratch().borrow_mut();
        scratch.allowance.hold(&mut self.share.borrow_mut(), bytes)
    }

    /// Gives everything back: the head is whole.
    pub(super) fn release(&self) {
        self.bytes.set(0);
        let scratch = &mut self.shard.join_scratch().borrow_mut();
        scratch.allowance.release(&mut self.share.borrow_mut());
    }

    /// Waits until the head has to give way to those of others. To be called again after it has grown. Cancel safe.
    pub(super) async fn evicted(&self) {
        poll_fn(|cx| {
            let scratch = &mut self.shard.join_scratch().borrow_mut();
            if scratch.allowance.is_evicted(&self.share.borrow(), cx) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl Drop for HeadMemory {
    fn drop(&mut self) {
        self.release();
    }
}
