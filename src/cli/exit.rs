//! Exit codes of the server side. The help of `mles serve` lists them.

/// It could not start: configuration, address, files.
pub(super) const FAILED: u8 = 1;
/// A part of the broker failed while it ran (`EX_SOFTWARE` of sysexits).
pub(super) const BROKEN: u8 = 70;
/// Added to the number of the signal that ended it at once, as shells do.
pub(super) const SIGNAL: u8 = 128;
