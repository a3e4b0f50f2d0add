//! Numbers in decimal, for what is encoded once for each message.

/// Most digits of a number.
const DIGITS: usize = 20;

/// A number in decimal.
pub(super) struct Decimal {
    /// Its digits stand at the end.
    digits: [u8; DIGITS],
    start: usize,
}

impl Decimal {
    /// Formats `number`.
    pub(super) fn new(number: u64) -> Self {
        let (mut digits, mut start) = ([b'0'; DIGITS], DIGITS);
        let mut left = number;
        loop {
            start -= 1;
            // It is below ten.
            digits[start] += u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
            if left == 0 {
                return Self { digits, start };
            }
        }
    }

    /// Returns the digits.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.digits[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_formatting_gives(number in any::<u64>(), shift in 0..64_u32) {
            for number in [number, number >> shift, 0, u64::MAX] {
                let (decimal, text) = (Decimal::new(number), number.to_string());
                prop_assert_eq!(decimal.as_bytes(), text.as_bytes());
            }
        }
    }
}
