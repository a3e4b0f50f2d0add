//! The memory for incomplete frames: who holds how much of it, and who gives way when it is used up.
//!
//! A small beginning is free, so that nobody can be closed for one. What is longer is charged to an
//! [`Allowance`] that many connections share. When it is used up, the connection that has waited
//! longest for a further byte gives way: not the one that asks, which has just sent something, and
//! not one whose frame goes on, however long it is. Every call takes the same short time, however
//! many connections hold a part.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use slab::Slab;

use super::input::Scratch;

/// Bytes of an incomplete frame that are not charged.
pub(crate) const FREE: usize = 4 << 10;

/// There is no memory left for an incomplete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overdrawn;

/// One connection's part of an [`Allowance`], to be released to the allowance it was taken from.
#[derive(Debug, Default)]
pub(crate) struct Share(Option<u32>);

/// Memory for incomplete frames that many connections share.
#[derive(Debug)]
pub(crate) struct Allowance {
    total: usize,
    used: usize,
    holders: Slab<Holder>,
    /// The ends of the list of holders in the order of their last progress.
    oldest: Option<u32>,
    newest: Option<u32>,
}

#[derive(Debug, Default)]
struct Holder {
    bytes: usize,
    /// Set when it had to give way. It holds nothing then, and is in no list.
    is_evicted: bool,
    /// Wakes the connection when that happens.
    waker: Option<Waker>,
    before: Option<u32>,
    after: Option<u32>,
}

impl Allowance {
    /// Creates an allowance of `bytes`, of which nothing is used.
    pub(crate) const fn new(bytes: usize) -> Self {
        Self {
            total: bytes,
            used: 0,
            holders: Slab::new(),
            oldest: None,
            newest: None,
        }
    }

    /// Makes it an allowance of `bytes` in all. Whoever has waited longest gives way if more is used.
    pub(crate) fn resize(&mut self, bytes: usize) {
        self.total = bytes;
        while self.used > self.total
            && let Some(oldest) = self.oldest
        {
            self.evict(oldest);
        }
    }

    /// Has a connection hold `bytes` in all, more or less than before, because its frame goes on.
    /// Others give way if that is needed.
    ///
    /// # Errors
    ///
    /// The connection itself has to give way.
    pub(crate) fn hold(&mut self, share: &mut Share, bytes: usize) -> Result<(), Overdrawn> {
        if bytes <= FREE && share.0.is_none() {
            return Ok(());
        }
        let at = match share.0 {
            Some(at) => at,
            None => {
                let at = u32::try_from(self.holders.insert(Holder::default()));
                let at = at.map_err(|_| Overdrawn)?;
                self.append(at);
                share.0 = Some(at);
                at
            }
        };
        if self.holder(at).is_evicted {
            return Err(Overdrawn);
        }
        self.touch(at);
        let held = std::mem::take(&mut self.holder(at).bytes);
        self.used -= held;
        while self.left() < bytes {
            let oldest = self.oldest.filter(|&oldest| oldest != at);
            self.evict(oldest.ok_or(Overdrawn)?);
        }
        self.used += bytes;
        self.holder(at).bytes = bytes;
        Ok(())
    }

    /// Records that the frame of a connection goes on.
    pub(crate) fn progressed(&mut self, share: &Share) {
        if let Some(at) = share.0
            && self.newest != Some(at)
            && !self.holder(at).is_evicted
        {
            self.touch(at);
        }
    }

    /// Takes back what a connection holds.
    pub(crate) fn release(&mut self, share: &mut Share) {
        if let Some(at) = share.0.take() {
            if !self.holder(at).is_evicted {
                self.unlink(at);
            }
            self.used -= self.holders.remove(at as usize).bytes;
        }
    }

    /// Returns `true` if the connection had to give way. If not, its task is woken when it has to.
    pub(crate) fn is_evicted(&mut self, share: &Share, cx: &Context<'_>) -> bool {
        let Some(at) = share.0 else {
            return false;
        };
        let holder = self.holder(at);
        if !holder.is_evicted && holder.waker.is_none() {
            holder.waker = Some(cx.waker().clone());
        }
        holder.is_evicted
    }

    /// Takes `bytes` for what cannot give way. Half of the allowance is left to those that can.
    pub(crate) fn reserve(&mut self, bytes: usize) -> Result<(), Overdrawn> {
        let left = self.left().checked_sub(bytes).ok_or(Overdrawn)?;
        if left < self.total / 2 {
            return Err(Overdrawn);
        }
        self.used += bytes;
        Ok(())
    }

    /// Gives back what was reserved.
    pub(crate) fn refund(&mut self, bytes: usize) {
        self.used -= bytes;
    }

    /// Returns the bytes that are used, and those that may be.
    pub(crate) const fn usage(&self) -> (usize, usize) {
        (self.used, self.total)
    }

    /// Returns the bytes that nobody uses.
    pub(crate) const fn left(&self) -> usize {
        self.total.saturating_sub(self.used)
    }

    /// Bytes that a connection holds.
    #[cfg(test)]
    pub(crate) fn held(&self, share: &Share) -> usize {
        share.0.map_or(0, |at| self.holders[at as usize].bytes)
    }

    fn holder(&mut self, at: u32) -> &mut Holder {
        &mut self.holders[at as usize]
    }

    fn evict(&mut self, at: u32) {
        self.unlink(at);
        let holder = self.holder(at);
        holder.is_evicted = true;
        let bytes = std::mem::take(&mut holder.bytes);
        if let Some(waker) = holder.waker.take() {
            waker.wake();
        }
        self.used -= bytes;
    }

    /// Makes a holder the one with the latest progress.
    fn touch(&mut self, at: u32) {
        self.unlink(at);
        self.append(at);
    }

    fn append(&mut self, at: u32) {
        let before = self.newest.replace(at);
        let holder = self.holder(at);
        (holder.before, holder.after) = (before, None);
        match before {
            Some(before) => self.holder(before).after = Some(at),
            None => self.oldest = Some(at),
        }
    }

    fn unlink(&mut self, at: u32) {
        let Holder { before, after, .. } = *self.holder(at);
        match before {
            Some(before) => self.holder(before).after = after,
            None => self.oldest = after,
        }
        match after {
            Some(after) => self.holder(after).before = before,
            None => self.newest = before,
        }
    }
}

/// Waits until one of the shares has to give way. Cancel safe.
pub(crate) async fn evicted<const N: usize>(scratch: &RefCell<Scratch>, shares: [&Share; N]) {
    poll_fn(|cx| {
        let allowance = &mut scratch.borrow_mut().allowance;
        let mut shares = shares.iter();
        if shares.any(|share| allowance.is_evicted(share, cx)) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOTAL: usize = 100 << 10;

    fn is_evicted(allowance: &mut Allowance, share: &Share) -> bool {
        allowance.is_evicted(share, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_made_no_progress_for_longest_gives_way() {
        let mut allowance = Allowance::new(TOTAL);
        let mut shares: Vec<_> = (0..5).map(|_| Share::default()).collect();
        for share in &mut shares {
            allowance.hold(share, 20 << 10).unwrap();
        }
        allowance.progressed(&shares[0]);
        let mut large = Share::default();
        allowance.hold(&mut large, 40 << 10).unwrap();
        let gone = shares.iter().map(|share| is_evicted(&mut allowance, share));
        assert_eq!(gone.collect::<Vec<_>>(), [false, true, true, false, false]);
        // Who had to give way gets nothing any more.
        assert_eq!(allowance.hold(&mut shares[1], 5000), Err(Overdrawn));
        for share in shares.iter_mut().chain([&mut large]) {
            allowance.release(share);
        }
        assert_eq!(allowance.left(), TOTAL);
    }

    #[test]
    fn who_asks_for_more_than_there_is_gives_way_itself() {
        let mut allowance = Allowance::new(TOTAL);
        let mut share = Share::default();
        allowance.hold(&mut share, TOTAL).unwrap();
        assert_eq!(allowance.hold(&mut share, TOTAL + 1), Err(Overdrawn));
        allowance.release(&mut share);
        assert_eq!(allowance.left(), TOTAL);
    }

    #[test]
    fn half_is_left_to_those_who_can_give_way() {
        let mut allowance = Allowance::new(TOTAL);
        allowance.reserve(TOTAL / 2).unwrap();
        assert_eq!(allowance.reserve(1), Err(Overdrawn));
        let mut share = Share::default();
        allowance.hold(&mut share, TOTAL / 2).unwrap();
        allowance.refund(TOTAL / 2);
        assert_eq!(allowance.left(), TOTAL / 2);
    }

    proptest! {
        /// Against a list of who holds what, in the order of progress.
        #[test]
        fn the_sum_is_what_is_held(
            steps in prop::collection::vec((0..8_usize, 0..40_000_usize, 0..4_u8), 1..200),
        ) {
            let mut allowance = Allowance::new(TOTAL);
            let mut shares: Vec<_> = (0..8).map(|_| Share::default()).collect();
            let mut order: Vec<(usize, usize)> = Vec::new();
            for (who, bytes, what) in steps {
                let share = &mut shares[who];
                let at = order.iter().position(|&(other, _)| other == who);
                match what {
                    0 => {
                        allowance.release(share);
                        at.map(|at| order.remove(at));
                    }
                    1 => {
                        allowance.progressed(share);
                        if let Some(at) = at {
                            let entry = order.remove(at);
                            order.push(entry);
                        }
                    }
                    _ if allowance.hold(share, bytes).is_ok() && (bytes > FREE || at.is_some()) => {
                        at.map(|at| order.remove(at));
                        while order.iter().map(|(_, held)| held).sum::<usize>() + bytes > TOTAL {
                            order.remove(0);
                        }
                        order.push((who, bytes));
                    }
                    _ => {}
                }
                let held: usize = order.iter().map(|(_, held)| held).sum();
                prop_assert_eq!(allowance.left(), TOTAL - held);
                for &(who, bytes) in &order {
                    prop_assert_eq!(allowance.held(&shares[who]), bytes);
                    prop_assert!(!is_evicted(&mut allowance, &shares[who]));
                }
            }
        }
    }
}
