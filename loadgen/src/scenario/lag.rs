//! How late this program may send before what was measured is its own latency.

use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;

/// How late this program may send.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LagBound {
    /// The percentage of messages that the bound is for.
    pub(crate) percentile: f64,
    /// The most lag that they may have, in nanoseconds.
    pub(crate) nanoseconds: u64,
}

impl Default for LagBound {
    fn default() -> Self {
        Self {
            percentile: 99.0,
            nanoseconds: 1_000_000,
        }
    }
}

/// Returns why a run with this `lag` is invalid, if it is over the bound.
pub(super) fn lag_objection(lag: &Distribution, bound: LagBound) -> Option<String> {
    let LagBound {
        percentile,
        nanoseconds: bound,
    } = bound;
    let lag = lag.percentile(percentile);
    let micros = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    (lag > bound).then(|| {
        format!(
            "loadgen was too late: lag p{percentile} is {:.1} µs, over the bound of {:.1} µs",
            micros(lag),
            micros(bound)
        )
    })
}
