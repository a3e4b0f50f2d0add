//! Why sessions end.

use super::limits::LimitReached;
use crate::access::Denied;
use crate::channel::SlowReason;
use crate::protocol::FrameError;

/// Reason for which a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The client closed it, or the network did.
    ByPeer(std::io::Error),
    /// The client sent something that is no frame.
    Protocol(FrameError),
    /// A client that can be told has done what it may not.
    Fault(Box<str>),
    /// The client has done what it has no right to.
    Denied(Box<Denied>),
    /// The memory for incomplete frames was needed for those of others.
    Overdrawn,
    /// A frame did not go on.
    Overdue,
    /// The client could not keep up.
    Slow(SlowReason),
    /// A new session took its connection id.
    Replaced,
    /// Half-closed, and had to make room at a limit.
    LetGo(LimitReached),
    /// An operator has ended it.
    ByOperator,
    /// The settings have changed, and it may not be in its channel any more.
    RightsLost(Box<Denied>),
    /// This node of a fleet has to begin anew, or is cut off.
    CutOff,
    /// The broker is stopping.
    Stopping,
}

/// Returns why a member was too slow, in words.
pub(crate) fn slow_text(reason: SlowReason) -> &'static str {
    match reason {
        SlowReason::QueueFull => "slow member, more than queue_bytes queued",
        SlowReason::NoProgress => "slow member, no progress for write_deadline",
        SlowReason::HeldBack => "slow member, held the publishers back for write_deadline",
    }
}
