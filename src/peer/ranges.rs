//! Numbers of frames, as ranges.

use std::collections::VecDeque;
use std::ops::Range;

/// Rising numbers, stored as the ranges that they form.
#[derive(Debug, Default)]
pub(crate) struct Ranges(VecDeque<Range<u64>>);

impl Ranges {
    /// Adds numbers above all others, and removes those below `first`.
    pub(crate) fn push_back(&mut self, numbers: Range<u64>, first: u64) {
        while self.0.front().is_some_and(|range| range.end <= first) {
            self.0.pop_front();
        }
        match self.0.back_mut() {
            _ if numbers.is_empty() => {}
            Some(last) if last.end == numbers.start => last.end = numbers.end,
            _ => self.0.push_back(numbers),
        }
    }

    /// Adds numbers below all others.
    pub(crate) fn push_front(&mut self, numbers: Range<u64>) {
        match self.0.front_mut() {
            _ if numbers.is_empty() => {}
            Some(next) if numbers.end == next.start => next.start = numbers.start,
            _ => self.0.push_front(numbers),
        }
    }

    /// Returns the number of numbers from `first` on.
    pub(crate) fn count_from(&self, first: u64) -> u64 {
        let counts = self.0.iter();
        counts
            .map(|range| range.end.saturating_sub(range.start.max(first)))
            .sum()
    }

    /// Returns the ranges, lowest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Range<u64>> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one_range() {
        let mut ranges = Ranges::default();
        ranges.push_back(5..7, 0);
        ranges.push_back(7..9, 0);
        ranges.push_back(10..10, 0);
        ranges.push_back(11..12, 0);
        ranges.push_front(3..5);
        ranges.push_front(0..1);
        assert!(ranges.iter().eq(&[0..1, 3..9, 11..12]));
        assert_eq!((ranges.count_from(0), ranges.count_from(8)), (8, 2));
        ranges.push_back(20..21, 9);
        assert!(
            ranges.iter().eq(&[11..12, 20..21]),
            "what is below is let go"
        );
    }
}
