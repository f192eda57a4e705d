//! How long to wait before connecting again.

use std::time::Duration;

/// A list that says zero must not become a storm of tries.
const LONGEST_MIN: Duration = Duration::from_millis(10);

const LONGEST_MAX: Duration = Duration::from_secs(24 * 3600);

/// Whether a lost connection is made again, and after which waits.
///
/// Each wait is random, so that the clients of a server that went away do not all come back at once. By default the
/// first is between 0 and 1 second, the following up to 2, 6, 12, 20 and 36 seconds, and the last repeats without end.
///
/// ```
/// use std::time::Duration;
/// use quail_client::{Client, Reconnect};
///
/// let seconds = [1, 5].map(Duration::from_secs);
/// let eager = Client::builder("localhost:4433").reconnect(Reconnect::within(seconds));
/// let once = Client::builder("localhost:4433").reconnect(Reconnect::off());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconnect {
    /// Empty: off.
    longest: Vec<Duration>,
}

impl Reconnect {
    /// A lost connection is not made again.
    pub fn off() -> Self {
        Self { longest: Vec::new() }
    }

    /// The longest wait before the first try, the second and so on; the last one holds for all that follow. A wait is
    /// anything between zero and its longest. An empty list is [`off`](Self::off).
    pub fn within(longest: impl IntoIterator<Item = Duration>) -> Self {
        Self { longest: longest.into_iter().map(|wait| wait.clamp(LONGEST_MIN, LONGEST_MAX)).collect() }
    }

    pub(crate) fn is_off(&self) -> bool {
        self.longest.is_empty()
    }

    /// The wait before try number `tries`, counted from zero: `random` of `u32::MAX` parts of the longest.
    pub(crate) fn wait(&self, tries: usize, random: u32) -> Duration {
        let Some(longest) = self.longest.get(tries).or(self.longest.last()) else { return Duration::ZERO };
        let nanoseconds = longest.as_nanos() * u128::from(random) / u128::from(u32::MAX);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::within([1, 2, 6, 12, 20, 36].map(Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_uniform_up_to_a_longest_that_grows_and_then_stays() {
        let reconnect = Reconnect::default();
        for (tries, longest) in [(0, 1), (1, 2), (2, 6), (3, 12), (4, 20), (5, 36), (6, 36), (usize::MAX, 36)]
        {
            for (random, milliseconds) in [(0, 0), (u32::MAX / 2, longest * 500), (u32::MAX, longest * 1000)]
            {
                let wait = reconnect.wait(tries, random);
                assert!(wait.as_millis().abs_diff(milliseconds) <= 1, "{tries} {random}: {wait:?}");
            }
        }
    }

    #[test]
    fn odd_lists_are_bounded() {
        assert!(Reconnect::within([]).is_off());
        assert_eq!(Reconnect::within([Duration::ZERO]).wait(0, u32::MAX), LONGEST_MIN);
        assert_eq!(Reconnect::within([Duration::MAX]).wait(9, u32::MAX), LONGEST_MAX);
        assert_eq!(Reconnect::off().wait(0, u32::MAX), Duration::ZERO);
    }
}
