//! CPU time that the broker and this program take for a measured window.

use super::{ScenarioError, Target};
use crate::process::CpuTime;

/// CPU time of the broker and of this program when a window began.
#[derive(Debug)]
pub(super) struct CpuMeter {
    pids: Vec<u32>,
    server: Option<CpuTime>,
    tool: CpuTime,
}

/// CPU time of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// The broker's, all processes and threads; `None` when they are not known.
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
            pids: target.pids.clone(),
            server: CpuTime::of_all(&target.pids)?,
            tool: CpuTime::of_self()?,
        })
    }

    /// Ends the window, in which there were so many deliveries.
    ///
    /// # Errors
    /// The broker's process cannot be looked at, or [`ScenarioError::NotTheBroker`].
    pub(super) fn stop(self, delivered: u64) -> Result<Cost, ScenarioError> {
        let now = CpuTime::of_all(&self.pids)?;
        let server = now.zip(self.server).map(|(now, before)| now.since(before));
        let tool = CpuTime::of_self()?.since(self.tool);
        match (server, self.pids.first()) {
            (Some(CpuTime { nanoseconds: 0, .. }), Some(&pid)) if delivered > 0 => {
                Err(ScenarioError::NotTheBroker(pid))
            }
            _ => Ok(Cost { server, tool }),
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
