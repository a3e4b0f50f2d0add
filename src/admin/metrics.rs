//! Counters as Prometheus reads them.

use std::fmt::Write as _;

use crate::shard::Common;
use crate::shard::stats::Stats;

/// The type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns all counters as text.
pub(super) fn render(common: &Common) -> String {
    let mut text = String::new();
    for (name, value) in Stats::of(common).entries() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "mles_{name} {value}");
    }
    text
}
