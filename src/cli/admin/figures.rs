//! Figures as text, as short as a column.

use bytesize::ByteSize;

/// From here on a number is scaled down where there is little room.
const SHORT: u64 = 100_000;
const STEP: f64 = 1000.0;
const SCALES: [&str; 4] = ["k", "M", "G", "T"];
const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// Returns all digits: `1,234,567`.
pub(in crate::cli) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a number in at most seven characters: `1,234`, `1.23M`.
pub(in crate::cli) fn short_count(value: u64) -> String {
    if value < SHORT {
        return count(value);
    }
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut scaled = value as f64;
    let mut unit = "";
    for scale in SCALES {
        if scaled < STEP {
            break;
        }
        scaled /= STEP;
        unit = scale;
    }
    let digits = match scaled {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{scaled:.digits$}{unit}")
}

/// Returns a number per second, with a digit behind the point where it is small.
pub(in crate::cli) fn rate(value: f64) -> String {
    if value > 0.0 && value < 9.95 {
        return format!("{value:.1}");
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and conversions saturate"
    )]
    short_count(value.round() as u64)
}

/// Returns a number of bytes with its unit: `512 B`, `1.5 KiB`.
pub(in crate::cli) fn bytes(value: u64) -> String {
    ByteSize::b(value).display().iec().to_string()
}

/// Returns bytes per second with their unit.
pub(in crate::cli) fn byte_rate(value: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative, and conversions saturate"
    )]
    let value = value.round() as u64;
    format!("{}/s", bytes(value))
}

/// Returns microseconds in the largest unit that they fill.
pub(in crate::cli) fn micros(value: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    match value {
        0..1_000 => format!("{value} us"),
        1_000..1_000_000 => format!("{:.1} ms", value as f64 / 1e3),
        _ => format!("{:.1} s", value as f64 / 1e6),
    }
}

/// Returns a share as a percentage: `7 %`, `100 %`.
pub(in crate::cli) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Returns a time that is given in seconds, without what is less than one.
pub(in crate::cli) fn whole_seconds(value: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a time is not negative, and conversions saturate"
    )]
    seconds(value as u64)
}

/// Returns seconds in the two largest units that are not nothing: `3 d 4 h`, `12 s`.
pub(in crate::cli) fn seconds(value: u64) -> String {
    let first = UNITS.iter().position(|(_, size)| value >= *size);
    let first = first.unwrap_or(UNITS.len() - 1);
    let mut rest = value;
    let mut parts = Vec::new();
    for (unit, size) in UNITS.iter().skip(first).take(2) {
        let amount = rest / size;
        rest %= size;
        if amount > 0 || parts.is_empty() {
            parts.push(format!("{amount} {unit}"));
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(short_count(99_999), "99,999");
        assert_eq!(short_count(1_234_567), "1.23M");
        assert_eq!(short_count(u64::MAX), "18446744T");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(0.25), "0.2");
        assert_eq!(rate(1234.4), "1,234");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(byte_rate(100.4), "100 B/s");
        assert_eq!(micros(999), "999 us");
        assert_eq!(micros(2_400), "2.4 ms");
        assert_eq!(micros(1_500_000), "1.5 s");
        assert_eq!(seconds(0), "0 s");
        assert_eq!(whole_seconds(61.9), "1 min 1 s");
        assert_eq!(percent(0.066), "7 %");
        assert_eq!(seconds(59), "59 s");
        assert_eq!(seconds(3_600), "1 h");
        assert_eq!(seconds(273_845), "3 d 4 h");
    }
}
