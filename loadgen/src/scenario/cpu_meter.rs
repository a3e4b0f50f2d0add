//! CPU time that the broker and this program take for a measured window.

use super::{ScenarioError, Target};
use crate::process::CpuTime;

/// Both processes' CPU time when a window began.
#[derive(Debug)]
pub(super) struct CpuMeter {
    pid: Option<u32>,
    server: Option<CpuTime>,
    tool: CpuTime,
}

/// CPU time of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// The broker's, all threads; `None` when its process is not known.
    pub(super) server: Option<CpuTime>,
    /// CPU time of this program.
    pub(super) tool: CpuTime,
}

impl CpuMeter {
    /// Begins a window.
    ///
    /// # Errors
    /// The broker's process cannot be looked at.
    pub(super) fn start(target: &Target) -> Result<Self, ScenarioError> {
        Ok(Self {
            pid: target.pid,
            server: target.pid.map(CpuTime::of).transpose()?,
            tool: CpuTime::of_self()?,
        })
    }

    /// Ends the window, in which there were so many deliveries.
    ///
    /// # Errors
    /// The broker's process cannot be looked at, or [`ScenarioError::NotTheBroker`].
    pub(super) fn stop(self, delivered: u64) -> Result<Cost, ScenarioError> {
        let server = match self.pid.zip(self.server) {
            Some((pid, before)) => Some((pid, CpuTime::of(pid)?.since(before))),
            None => None,
        };
        let tool = CpuTime::of_self()?.since(self.tool);
        match server {
            Some((pid, CpuTime { nanoseconds: 0, .. })) if delivered > 0 => {
                Err(ScenarioError::NotTheBroker(pid))
            }
            _ => Ok(Cost {
                server: server.map(|(_, server)| server),
                tool,
            }),
        }
    }
}

/// Returns the CPU time, in nanoseconds, that a window took beyond what another took for as long. Both have their
/// length in seconds.
pub(super) fn beyond(window: (CpuTime, f64), other: (CpuTime, f64)) -> f64 {
    let ((during, seconds), (before, seconds_before)) = (window, other);
    let quiet = before.nanoseconds as f64 / seconds_before * seconds;
    (during.nanoseconds as f64 - quiet).max(0.0)
}
