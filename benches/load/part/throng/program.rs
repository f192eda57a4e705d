//! How many messages a second are meant to be sent, step after step.

use std::{ops::Range, time::Duration};

use serde::{Deserialize, Serialize};

/// A stretch of time with one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    /// Messages per second of all senders together, urgent ones not counted.
    pub(crate) per_second: f64,
    /// How long, in whole seconds.
    pub(crate) seconds: u32,
}

/// See the module. All processes play the same one at the same time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// When it begins, since the machine started.
    pub(crate) begin: Duration,
    /// One behind the other.
    pub(crate) steps: Vec<Step>,
    /// Urgent messages per second of all senders together, all the time.
    pub(crate) urgent_per_second: f64,
}

impl Program {
    /// When message `number` of all that are not urgent is meant to go, from the beginning; `None` if it is over by then.
    pub(crate) fn intended(&self, number: u64) -> Option<Duration> {
        let (mut left, mut begin) = (number as f64, 0.0);
        for Step { per_second, seconds } in &self.steps {
            let seconds = f64::from(*seconds);
            let all = per_second * seconds;
            if left < all {
                return Duration::try_from_secs_f64(begin + left / per_second).ok();
            }
            left -= all;
            begin += seconds;
        }
        None
    }

    /// How long it is.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs(self.steps.iter().map(|step| u64::from(step.seconds)).sum())
    }

    /// The seconds of a step, counted from the beginning.
    pub(crate) fn seconds_of(&self, step: usize) -> Range<usize> {
        let until = |end: usize| self.steps.iter().take(end).map(|step| step.seconds as usize).sum();
        until(step)..until(step + 1)
    }

    /// All of them but the first, in which there is still something of the step before.
    pub(crate) fn measured_of(&self, step: usize) -> Range<usize> {
        let Range { start, end } = self.seconds_of(step);
        (start + 1).min(end)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_at_their_rates() {
        let step = |per_second, seconds| Step { per_second, seconds };
        let steps = vec![step(2.0, 1), step(10.0, 2), step(0.0, 1), step(1.0, 2)];
        let program = Program { begin: Duration::ZERO, steps, urgent_per_second: 0.0 };
        let ms = |number| program.intended(number).map(|time| time.as_millis());
        for (number, expected) in [
            (0, Some(0)),
            (1, Some(500)),
            (2, Some(1000)),
            (3, Some(1100)),
            (21, Some(2900)),
            (22, Some(4000)),
            (23, Some(5000)),
            (24, None),
        ] {
            assert_eq!(ms(number), expected, "{number}");
        }
        assert_eq!(program.length(), Duration::from_secs(6));
        assert_eq!([program.seconds_of(0), program.seconds_of(1), program.seconds_of(3)], [0..1, 1..3, 4..6]);
        assert_eq!([program.measured_of(0), program.measured_of(1)], [1..1, 2..3]);
    }
}
