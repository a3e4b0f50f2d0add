//! The progress line: rate and percentiles of the last interval, on standard error, only when that
//! is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use super::Slice;

/// A line that is drawn over and over, and gone when dropped.
#[derive(Debug)]
pub(super) struct Line(ProgressBar);

impl Line {
    /// Begins a line for the run `label`. Nothing is drawn when standard error is no terminal.
    pub(super) fn new(label: &str) -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{prefix} {elapsed} {wide_msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(label.to_owned());
        Self(bar)
    }

    pub(super) fn show(&self, slice: &Slice) {
        self.0.set_message(text(slice));
        self.0.tick();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn text(slice: &Slice) -> String {
    let micros = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    format!(
        "{:.0} deliveries/s, latency p50 {:.1} µs, p99 {:.1} µs, max {:.1} µs",
        slice.deliveries as f64 / slice.seconds.max(f64::MIN_POSITIVE),
        micros(slice.p50_ns),
        micros(slice.p99_ns),
        micros(slice.max_ns),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_rate_and_percentiles() {
        let slice = Slice {
            start_seconds: 3.0,
            seconds: 0.5,
            deliveries: 500,
            p50_ns: 42_300,
            p99_ns: 99_000,
            max_ns: 1_234_500,
        };
        assert_eq!(
            text(&slice),
            "1000 deliveries/s, latency p50 42.3 µs, p99 99.0 µs, max 1234.5 µs"
        );
    }
}
