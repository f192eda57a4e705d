//! What stands in a message: which one it is and when it was meant to go.

use std::time::Duration;

/// Bytes that a body has at least.
pub(crate) const BYTES_MIN: usize = 32;

/// The text of message `number`, meant to go at `intended` from the start, filled up to `bytes`.
pub(crate) fn write(number: u64, intended: Duration, bytes: usize) -> String {
    let nanoseconds = u64::try_from(intended.as_nanos()).unwrap_or(u64::MAX);
    let mut text = format!("{number:016x}{nanoseconds:016x}");
    // Letters in turn, so that no compression makes it nothing.
    let letters = b'a'..=b'z';
    text.extend(
        letters.cycle().skip((number % 26) as usize).take(bytes.saturating_sub(BYTES_MIN)).map(char::from),
    );
    text
}

/// Number and intended time of a text.
pub(crate) fn read(text: &str) -> Option<(u64, Duration)> {
    let hex = |from: usize| u64::from_str_radix(text.get(from..from + 16)?, 16).ok();
    Some((hex(0)?, Duration::from_nanos(hex(16)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_back() {
        let text = write(7, Duration::from_micros(3), 256);
        assert_eq!(text.len(), 256);
        assert_eq!(read(&text), Some((7, Duration::from_micros(3))));
        assert_eq!(read(&write(7, Duration::ZERO, 0)).map(|read| read.0), Some(7));
        assert_eq!(read("hi"), None);
    }
}
