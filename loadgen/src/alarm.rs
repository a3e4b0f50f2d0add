//! A timer that ends a wait for connections at a given nanosecond.
//!
//! `epoll` counts in milliseconds; a schedule of a thousand messages a second and more needs a
//! finer one. A timer of the kernel in the same `epoll` is that, without a spinning loop.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that makes its poll ready once for each time it is set.
#[derive(Debug)]
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    /// The token of its events, no connection's.
    pub(crate) const TOKEN: Token = Token(usize::MAX);

    /// Returns a timer in `registry`, not set.
    ///
    /// # Errors
    /// The system has none left.
    pub(crate) fn new(registry: &Registry) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        registry.register(
            &mut SourceFd(&timer.as_raw_fd()),
            Self::TOKEN,
            Interest::READABLE,
        )?;
        Ok(Self(timer))
    }

    /// Goes off `after` from now, instead of what it was set to before. At once is after 1 ns: zero
    /// would turn it off.
    ///
    /// # Errors
    /// The system refuses the time.
    pub(crate) fn set(&self, after: Duration) -> io::Result<()> {
        let zero = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: zero,
            it_value: value,
        };
        // Setting it forgets that it went off, so it need not be read.
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}
