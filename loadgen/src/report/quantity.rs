//! Figures as people read them: three digits, and the unit that suits them; ratios have two.

/// Returns `figure` to three digits, with the largest prefix that leaves some before the point: `56.1 M`.
pub(super) fn count(figure: f64) -> String {
    prefixed(figure, &[(1e9, " G"), (1e6, " M"), (1e3, " k"), (1.0, "")])
}

/// Returns a time in the largest unit that leaves digits before the point: `1.25 ms`.
pub(super) fn time(nanoseconds: f64) -> String {
    prefixed(
        nanoseconds,
        &[(1e9, " s"), (1e6, " ms"), (1e3, " µs"), (1.0, " ns")],
    )
}

/// Returns a figure with its unit.
pub(super) fn with_unit(figure: f64, unit: &str) -> String {
    match unit {
        "µs" => time(figure * 1e3),
        "/s" => format!("{}/s", count(figure)),
        "" => count(figure),
        // Memory differs by a few of them.
        "B" => format!("{} B", thousands(figure)),
        unit => format!("{} {unit}", digits(figure)),
    }
}

/// Returns a ratio to two digits, `7.4 ×`; a dash if it is no number.
pub(super) fn ratio(ratio: f64) -> String {
    let scientific = format!("{ratio:.1e}");
    let exponent = scientific.split_once('e').map(|(_, it)| it.parse::<i32>());
    let (Some(Ok(exponent)), Ok(rounded)) = (exponent, scientific.parse::<f64>()) else {
        return "–".to_owned();
    };
    match usize::try_from(1 - exponent) {
        Ok(places) => format!("{rounded:.places$} ×"),
        Err(_) => format!("{} ×", thousands(rounded)),
    }
}

/// Returns a number of things, `1 byte` or `1,000 bytes`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", thousands(number as f64))
}

/// Returns a size in the unit in which it is a round number: `64 bytes`, `4 KiB`, `1.6 MB`.
pub(super) fn size(bytes: usize) -> String {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    const TENTH_OF_MB: usize = 100_000;
    match bytes {
        0 => "0 bytes".to_owned(),
        _ if bytes.is_multiple_of(MIB) => format!("{} MiB", bytes / MIB),
        _ if bytes.is_multiple_of(KIB) => format!("{} KiB", bytes / KIB),
        _ if bytes > 1_000_000 && bytes.is_multiple_of(TENTH_OF_MB) => {
            format!("{} MB", bytes as f64 / 1e6)
        }
        _ => counted(bytes, "byte"),
    }
}

/// Returns a whole number with commas between thousands.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn prefixed(figure: f64, units: &[(f64, &str)]) -> String {
    // What rounds to a thousand belongs to the next unit.
    let unit = units.iter().find(|(size, _)| figure.abs() >= size * 0.9995);
    let (size, name) = unit.or(units.last()).copied().unwrap_or((1.0, ""));
    format!("{}{name}", digits(figure / size))
}

/// Returns three digits, without zeros at the end behind the point; all digits before it.
fn digits(figure: f64) -> String {
    if !figure.is_finite() {
        return "–".to_owned();
    }
    let places = match figure.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 || size == 0.0 => 2,
        _ => 3,
    };
    let text = format!("{figure:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_prefix() {
        let cases = [
            (count(56_083_690.0), "56.1 M"),
            (count(999.7), "1 k"),
            (count(0.0), "0"),
            (time(17.7), "17.7 ns"),
            (time(1_250_000.0), "1.25 ms"),
            (time(0.0), "0 ns"),
            (with_unit(0.0177, "µs"), "17.7 ns"),
            (with_unit(109_000.0, "/s"), "109 k/s"),
            (with_unit(20_370.4, "B"), "20,370 B"),
            (with_unit(f64::NAN, "MiB"), "– MiB"),
        ];
        for (is, wanted) in cases {
            assert_eq!(is, wanted);
        }
    }

    #[test]
    fn ratios_have_two_digits_whatever_their_size() {
        for (figure, words) in [
            (7.42, "7.4 ×"),
            (1.0, "1.0 ×"),
            (9.96, "10 ×"),
            (12.3, "12 ×"),
            (137.0, "140 ×"),
            (1374.0, "1,400 ×"),
            (0.364, "0.36 ×"),
            (0.0996, "0.10 ×"),
            (0.0521, "0.052 ×"),
            (0.0, "0.0 ×"),
            (f64::INFINITY, "–"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(ratio(figure), words, "{figure}");
        }
    }

    #[test]
    fn sizes_have_the_unit_in_which_they_are_round() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (64, "64 bytes"),
            (1500, "1,500 bytes"),
            (4096, "4 KiB"),
            (64 << 10, "64 KiB"),
            (3 << 20, "3 MiB"),
            (1_600_000, "1.6 MB"),
            (1_600_001, "1,600,001 bytes"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(thousands(7.4), "7");
        assert_eq!(thousands(999.0), "999");
        assert_eq!(thousands(1000.0), "1,000");
        assert_eq!(thousands(1_234_567.0), "1,234,567");
    }
}
