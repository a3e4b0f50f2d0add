//! Sessions that ask for positions: they count what they get, publish with receipts, and resume after a reconnect.
//!
//! Both halves of such a session share one [`Core`](core::Core), which has its connection. Whichever half is polled
//! drives it: reads, writes, waits and attempts to reconnect. So receipts are taken while only the publisher is used,
//! and what has to be sent again is sent while only the subscriber is.
//!
//! Invariants: there is one connection or one attempt at a time; whatever the core waits for wakes both halves, so that
//! a half that is no longer polled does not hold up the other; what waits for a half has a bound, and the core reads
//! nothing more while it is reached.
//!
//! [`tracker`], [`outgoing`] and [`inbox`] are pure.

mod core;
mod handle;
mod inbox;
mod outgoing;
mod token_refresh;
mod tracker;

pub(super) use self::core::Core;
pub(super) use handle::{TrackedHandle, open};

#[cfg(test)]
mod tests;
