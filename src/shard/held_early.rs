//! What came together with a join frame, while its session may not publish yet.

use std::mem;
use std::rc::Rc;

use super::Shard;
use super::allowance::Overdrawn;
use super::message::Early;

/// Input that waits, charged to the memory for incomplete frames. Its frames are counted as orphaned if they are never
/// taken.
pub(super) struct HeldEarly {
    shard: Rc<Shard>,
    early: Early,
    /// Bytes reserved for it.
    charged: usize,
}

impl HeldEarly {
    /// Charges `early`.
    ///
    /// # Errors
    ///
    /// There is no memory to wait in.
    pub(super) fn new(shard: Rc<Shard>, early: Early) -> Result<Self, Overdrawn> {
        let bytes = early.weight();
        let mut held = Self {
            shard,
            early,
            charged: 0,
        };
        let reserved = held.shard.scratch.borrow_mut().allowance.reserve(bytes);
        reserved?;
        held.charged = bytes;
        Ok(held)
    }

    /// Gives the memory back, and returns the input.
    pub(super) fn take(mut self) -> Early {
        mem::take(&mut self.early)
    }
}

impl Drop for HeldEarly {
    fn drop(&mut self) {
        let frames = self.early.run.as_ref().map_or(0, |run| run.frames() as u64);
        self.shard.stats().orphaned_frames.add(frames);
        let mut scratch = self.shard.scratch.borrow_mut();
        scratch.allowance.refund(self.charged);
    }
}
