//! Durations as users write and read them.

use std::time::Duration;

/// Longest duration that is taken: a clock must be able to count it.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Reads a duration with its unit, such as `200ms`, `5s` or `1m 30s`. A number alone is seconds, as it is
/// to `sleep` and `timeout`.
///
/// # Errors
///
/// When the text is no duration, in words that say how one is written.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let parsed = match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    parsed
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| "expected a duration such as 200ms, 5s or 1m".to_owned())
}

/// Returns a duration in words, with no more digits than a person wants.
pub(super) fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        ..0.1 => "less than 0.1 s".to_owned(),
        ..9.95 => format!("{seconds:.1} s"),
        _ => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_a_number_alone_is_seconds() {
        for (text, milliseconds) in [
            ("200ms", 200),
            ("1s", 1_000),
            ("5m", 300_000),
            ("1m 30s", 90_000),
            ("5", 5_000),
            ("0", 0),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "soon",
            "-1s",
            "5 parsecs",
            "99999999999999999999s",
            "18446744073709551615",
        ] {
            let said = parse_duration(text).unwrap_err();
            assert!(said.contains("200ms"), "{text}: {said}");
        }
    }

    #[test]
    fn words_have_two_digits_at_most() {
        for (microseconds, words) in [
            (0, "less than 0.1 s"),
            (15, "less than 0.1 s"),
            (187_345, "0.2 s"),
            (1_000_000, "1.0 s"),
            (29_870_000, "30 s"),
        ] {
            assert_eq!(in_words(Duration::from_micros(microseconds)), words);
        }
    }
}
