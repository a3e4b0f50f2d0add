//! The deadline of a frame that has begun.
//!
//! Of every incomplete frame or message a certain number of bytes has to come within each
//! `frame_deadline`, or its rest. It is measured in steps, so that nothing is done for each read: a
//! step begins when nothing more comes, and at its end it is looked at what has come since. A frame
//! that stands still is therefore ended after one to two deadlines.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Bytes of a frame that must come within each deadline, if its rest is not shorter.
const STEP: usize = 64 << 10;

/// The bytes received of an incomplete frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameProgress {
    /// Tells the frames of one connection apart.
    pub(crate) frame: (u32, u32),
    pub(crate) bytes: usize,
}

impl FrameProgress {
    /// Returns `true` if enough has come since `before`: what was incomplete then is whole, or has grown
    /// by a step.
    fn goes_on_from(self, before: Self) -> bool {
        self.frame != before.frame || self.bytes >= before.bytes + STEP
    }
}

/// No further part of a frame has come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overdue;

/// The step of a frame, for a task that has a timer of its own.
#[derive(Debug, Default)]
pub(crate) struct FrameDeadline(Option<(Instant, FrameProgress)>);

impl FrameDeadline {
    /// Returns when [`FrameDeadline::check`] is due. To be asked when nothing more has come.
    pub(crate) fn due(
        &mut self,
        received: Option<FrameProgress>,
        limit: Duration,
    ) -> Option<Instant> {
        let begin = |received| (Instant::now() + limit, received);
        match received {
            None => self.0 = None,
            Some(received) => _ = self.0.get_or_insert_with(|| begin(received)),
        }
        self.0.map(|(due, _)| due)
    }

    /// Ends the step if it is due.
    pub(crate) fn check(&mut self, received: Option<FrameProgress>) -> Result<(), Overdue> {
        let Some((_, before)) = self.0.filter(|(due, _)| Instant::now() >= *due) else {
            return Ok(());
        };
        self.0 = None;
        match received {
            Some(received) if !received.goes_on_from(before) => Err(Overdue),
            _ => Ok(()),
        }
    }

    /// Begins anew: the connection was not read for a while.
    pub(crate) fn reset(&mut self) {
        self.0 = None;
    }
}

/// The step of a frame, with its timer.
#[derive(Debug)]
pub(super) struct FrameTimer {
    timer: Pin<Box<Sleep>>,
    before: FrameProgress,
}

impl FrameTimer {
    /// Begins a step.
    pub(super) fn new(received: FrameProgress, limit: Duration) -> Self {
        Self {
            timer: Box::pin(sleep(limit)),
            before: received,
        }
    }

    /// Returns `true` if the step is over, whatever has come.
    pub(super) fn is_over(&self) -> bool {
        self.timer.is_elapsed()
    }

    /// Waits until not enough has come within a step. To be polled when nothing more has come.
    pub(super) fn poll_overdue(
        &mut self,
        cx: &mut Context<'_>,
        received: FrameProgress,
        limit: Duration,
    ) -> Poll<Overdue> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if !received.goes_on_from(self.before) {
                return Poll::Ready(Overdue);
            }
            self.before = received;
            self.timer.as_mut().reset(Instant::now() + limit);
        }
    }
}
