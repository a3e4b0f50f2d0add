//! Numbers: counts, sizes in bytes, durations.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytesize::ByteSize;

use super::kind::{Description, ValueKind};
use super::raw::{RawValue, quoted};
use crate::rate::{MAX_COUNT, Rate};

/// A whole number in a range.
pub(crate) struct Integer(pub(crate) RangeInclusive<u64>);

impl ValueKind for Integer {
    type Value = usize;

    fn read(&self, raw: &RawValue<'_>) -> Option<usize> {
        let value = raw.integer()?;
        in_range(value, &self.0)
    }

    fn write(&self, value: &usize) -> String {
        value.to_string()
    }

    fn describe(&self) -> Description {
        Description::new(
            "N",
            format!("an integer from {} to {}", self.0.start(), self.0.end()),
        )
    }
}

/// A size in bytes, written as such or with a unit.
pub(crate) struct Size(pub(crate) RangeInclusive<u64>);

impl ValueKind for Size {
    type Value = usize;

    fn read(&self, raw: &RawValue<'_>) -> Option<usize> {
        let parse = || raw.text()?.parse().ok().map(|ByteSize(bytes)| bytes);
        let value = raw.integer().or_else(parse)?;
        in_range(value, &self.0)
    }

    fn write(&self, value: &usize) -> String {
        let (number, unit) = exact_unit(*value as u64);
        if unit.is_empty() {
            number.to_string()
        } else {
            quoted(format_args!("{number}{unit}"))
        }
    }

    fn describe(&self) -> Description {
        let text = |value| {
            let (number, unit) = exact_unit(value);
            format!("{number}{unit}")
        };
        let expected = format!(
            "a size from {} to {}, in bytes or with a unit as in \"512KiB\" or \"1MB\"",
            text(*self.0.start()),
            text(*self.0.end())
        );
        Description::new("SIZE", expected)
    }
}

/// A duration, written with its unit.
pub(crate) struct Time(pub(crate) RangeInclusive<Duration>);

impl ValueKind for Time {
    type Value = Duration;

    fn read(&self, raw: &RawValue<'_>) -> Option<Duration> {
        let value = humantime::parse_duration(raw.text()?).ok()?;
        self.0.contains(&value).then_some(value)
    }

    fn write(&self, value: &Duration) -> String {
        quoted(humantime::format_duration(*value))
    }

    fn describe(&self) -> Description {
        let expected = format!(
            "a duration from {} to {}, with a unit as in \"500ms\", \"10s\" or \"5m\"",
            humantime::format_duration(*self.0.start()),
            humantime::format_duration(*self.0.end())
        );
        Description::new("DURATION", expected)
    }
}

/// How often something may happen, written as in `10/s burst 50`. A number alone is one for each second.
pub(crate) struct RateLimit;

impl ValueKind for RateLimit {
    type Value = Rate;

    fn read(&self, raw: &RawValue<'_>) -> Option<Rate> {
        let Some(count) = raw.integer() else {
            return raw.text()?.parse().ok();
        };
        let count = u32::try_from(count).ok();
        let count = count.filter(|count| (1..=MAX_COUNT).contains(count))?;
        Some(Rate::per_second(count))
    }

    fn write(&self, value: &Rate) -> String {
        quoted(value)
    }

    fn describe(&self) -> Description {
        Description::new(
            "RATE",
            "a rate as in \"10/s\", \"600/m\", \"5/h\" or \"10/s burst 50\"",
        )
    }
}

fn in_range(value: u64, range: &RangeInclusive<u64>) -> Option<usize> {
    let value = range.contains(&value).then_some(value)?;
    usize::try_from(value).ok()
}

/// Returns `bytes` in the largest unit that says it exactly.
fn exact_unit(bytes: u64) -> (u64, &'static str) {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let exact = units
        .into_iter()
        .find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    exact.map_or((bytes, ""), |(shift, unit)| (bytes >> shift, unit))
}
