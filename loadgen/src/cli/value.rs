//! Values of options: sizes, times and rates, with their limits.

use crate::payload::PayloadHeader;

const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

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

/// Reads seconds: finite, not negative, at most a day.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    number(text, 0.0, 86_400.0)
}

/// Messages a second.
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

/// Reads milliseconds and returns nanoseconds.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between 0 and 1e12
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    let milliseconds = number(text, 0.0, 1e6)?;
    Ok((milliseconds * NANOSECONDS_PER_MILLISECOND) as u64)
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
        for bad in ["NaN", "-1", "inf", ""] {
            assert!(seconds(bad).is_err(), "{bad}");
            assert!(rate(bad).is_err(), "{bad}");
            assert!(milliseconds(bad).is_err(), "{bad}");
        }
        assert_eq!(milliseconds("1.5"), Ok(1_500_000));
    }
}
