//! When each sender means to send, whatever became of the messages before.

use std::time::Duration;

/// One sender's times: those of all senders together are evenly spaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    sender: u64,
    senders: u64,
    per_second: f64,
}

impl Schedule {
    /// Sender number `sender` of `senders`, who send `per_second` messages together.
    pub(crate) fn new(sender: u64, senders: u64, per_second: f64) -> Self {
        Self { sender, senders, per_second }
    }

    /// When message `number` is meant to go, from the start.
    pub(crate) fn intended(&self, number: u64) -> Duration {
        let before = number as f64 * self.senders as f64 + self.sender as f64;
        Duration::try_from_secs_f64(before / self.per_second).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_take_turns() {
        let ms = |sender, number| Schedule::new(sender, 4, 1000.0).intended(number).as_millis();
        assert_eq!([ms(0, 0), ms(1, 0), ms(3, 0), ms(0, 1), ms(3, 2)], [0, 1, 3, 4, 11]);
        assert_eq!(Schedule::new(0, 1, 0.0).intended(1), Duration::MAX);
    }
}
