//! Values of options: sizes, durations and rates, with their limits.

use crate::payload::PayloadHeader;

const NANOSECONDS_PER_SECOND: f64 = 1e9;
const LONGEST_LAG: f64 = 1000.0; // seconds
const DAY: f64 = 86_400.0; // seconds

/// Reads a size in bytes: digits, then nothing, `B`, `KiB` or `MiB`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        unit => return Err(format!("unknown unit {unit:?}: use B, KiB or MiB")),
    };
    let number: usize = digits.parse().map_err(|error| format!("{error}"))?;
    number
        .checked_mul(unit)
        .ok_or_else(|| "too large".to_owned())
}

/// Reads the size of a payload that has room for an `M`.
pub(super) fn payload_of<M: PayloadHeader>(text: &str) -> Result<usize, String> {
    match size(text)? {
        short if short < M::LEN => Err(format!("at least {} bytes are needed", M::LEN)),
        payload => Ok(payload),
    }
}

/// Reads a duration of at most a day and returns its seconds. A number without a unit is seconds: so it
/// is in commands of earlier reports.
pub(super) fn duration(text: &str) -> Result<f64, String> {
    match number(text, 0.0, DAY) {
        Ok(seconds) => Ok(seconds),
        Err(_) => with_unit(text, DAY),
    }
}

/// Reads the lag that is allowed, with its unit, and returns nanoseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and 1e12
pub(super) fn lag(text: &str) -> Result<u64, String> {
    Ok((with_unit(text, LONGEST_LAG)? * NANOSECONDS_PER_SECOND) as u64)
}

/// Reads a number with a unit of time, of at most so many seconds, and returns its seconds.
fn with_unit(text: &str, most: f64) -> Result<f64, String> {
    let units = [
        ("µs", 1e-6),
        ("us", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let split = |(unit, size)| Some((text.strip_suffix(unit)?.trim_end(), size));
    let Some((digits, size)) = units.into_iter().find_map(split) else {
        return Err("needs a unit, such as 3s or 200ms".to_owned());
    };
    let seconds = digits.parse::<f64>().ok().map(|number| number * size);
    match seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0) {
        Some(seconds) if seconds <= most => Ok(seconds),
        Some(_) => Err(format!("must be at most {most}s")),
        None => Err("is no duration: use such as 3s or 200ms".to_owned()),
    }
}

/// Reads a number over 0 that is no mistake.
pub(super) fn count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        Ok(_) => Err("must be between 1 and 1000000".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}

/// Reads a rate in messages per second.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1e8)
}

/// Reads the exponent of a Zipf law.
pub(super) fn exponent(text: &str) -> Result<f64, String> {
    number(text, 0.0, 10.0)
}

/// Reads the factor from one rate to the next.
pub(super) fn factor(text: &str) -> Result<f64, String> {
    number(text, 1.01, 100.0)
}

pub(super) fn percent(text: &str) -> Result<f64, String> {
    number(text, 0.0, 100.0)
}

/// Reads a number in these limits; not a number is in none.
fn number(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(format!("must be between {least} and {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::TimedStamp;
    use crate::verify::Stamp;

    #[test]
    fn sizes_have_units_and_limits() {
        assert_eq!(size("64"), Ok(64));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("2MiB"), Ok(2 << 20));
        for bad in ["", "KiB", "-1", "1kb", "1.5MiB", "99999999999999999MiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_payload_has_room_for_its_mark() {
        assert!(payload_of::<Stamp>("7").is_err());
        assert_eq!(payload_of::<Stamp>("8"), Ok(8));
        assert!(payload_of::<TimedStamp>("23").is_err());
        assert_eq!(payload_of::<TimedStamp>("24"), Ok(24));
    }

    #[test]
    fn times_and_rates_are_finite_and_not_negative() {
        for bad in [
            "NaN", "-1", "inf", "", "s", "-1s", "NaNs", "infms", "3 days", "25h",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
            assert!(rate(bad).is_err(), "{bad}");
            assert!(lag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_have_units() {
        let cases = [
            ("3s", 3.0),
            ("200ms", 0.2),
            ("1.5s", 1.5),
            ("2 m", 120.0),
            ("0.7", 0.7),
        ];
        for (text, seconds) in cases {
            let read = duration(text).expect(text);
            assert!((read - seconds).abs() < 1e-9, "{text}: {read}");
        }
        assert_eq!(lag("1.5ms"), Ok(1_500_000));
        assert_eq!(lag("250us"), Ok(250_000));
        assert!(lag("1").is_err(), "of which unit?");
    }
}
