//! What stands in a message: which one it is and when it was meant to go.

use std::time::Duration;

/// Bytes that a body has at least.
pub(crate) const BYTES_MIN: usize = 16;

/// Bits of the number and of the time, in microseconds: almost nine years.
const BITS: u32 = 48;

/// The first of the 64 letters, each of which says six bits.
const FIRST_LETTER: u8 = b'0';

/// The text of message `number`, meant to go at `intended` from the start, filled up to `bytes`.
pub(crate) fn write(number: u64, intended: Duration, bytes: usize) -> String {
    let (number, time) = (u128::from(number) & low_bits(), intended.as_micros() & low_bits());
    let packed = number << BITS | time;
    let letter = |sixth: usize| char::from(FIRST_LETTER + (packed >> (6 * sixth) & 63) as u8);
    let mut text: String = (0..BYTES_MIN).rev().map(letter).collect();
    // Letters in turn, so that no compression makes it nothing.
    let letters = b'a'..=b'z';
    let fill = letters.cycle().skip((number % 26) as usize).take(bytes.saturating_sub(BYTES_MIN));
    text.extend(fill.map(char::from));
    text
}

/// Number and intended time of a text.
pub(crate) fn read(text: &str) -> Option<(u64, Duration)> {
    let mut packed = 0u128;
    for letter in text.as_bytes().get(..BYTES_MIN)? {
        let bits = letter.checked_sub(FIRST_LETTER).filter(|bits| *bits < 64)?;
        packed = packed << 6 | u128::from(bits);
    }
    let number = u64::try_from(packed >> BITS).ok()?;
    Some((number, Duration::from_micros(u64::try_from(packed & low_bits()).ok()?)))
}

fn low_bits() -> u128 {
    (1 << BITS) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_back() {
        let text = write(7, Duration::from_micros(3), 256);
        assert_eq!(text.len(), 256);
        assert_eq!(read(&text), Some((7, Duration::from_micros(3))));
        let last = (1 << 48) - 1;
        for (number, time) in [(7, 0), (last, 1), (0, last), (last, last)] {
            let text = write(number, Duration::from_micros(time), 0);
            assert_eq!(text.len(), BYTES_MIN);
            assert_eq!(read(&text), Some((number, Duration::from_micros(time))));
        }
        for no_body in ["hi", "sixteen letters!", "ssssssssssssssss", "é2345678901234567"] {
            assert_eq!(read(no_body), None, "{no_body}");
        }
    }
}
