//! Rounds of a thing and its control, taken in turn, so that both see the same machine.

use serde::{Deserialize, Serialize};

use crate::number;

/// What each round measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rounds {
    /// Of the thing.
    #[serde(deserialize_with = "number::list")]
    pub(crate) measured: Vec<f64>,
    /// Of its control.
    #[serde(deserialize_with = "number::list")]
    pub(crate) control: Vec<f64>,
}

impl Rounds {
    /// Adds a round.
    pub(crate) fn push(&mut self, measured: f64, control: f64) {
        self.measured.push(measured);
        self.control.push(control);
    }

    /// The median of the rounds' ratios, each of the thing to the control beside it.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ratios())
    }

    /// The rounds' ratios.
    pub(crate) fn ratios(&self) -> Vec<f64> {
        self.measured.iter().zip(&self.control).map(|(measured, control)| measured / control).collect()
    }

    /// The medians of both.
    pub(crate) fn medians(&self) -> (f64, f64) {
        (median(self.measured.clone()), median(self.control.clone()))
    }
}

/// The value in the middle; of an even number of values, the mean of both there. 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len() / 2, values.len() % 2) {
        (0, 0) => 0.0,
        (middle, 0) => f64::midpoint(values[middle - 1], values[middle]),
        (middle, _) => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        for (values, expected) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0], 5.0), (vec![7.0, 100.0, 1.0], 7.0)]
        {
            assert_eq!(median(values), expected);
        }
    }

    #[test]
    fn a_round_on_a_busy_machine_does_not_count_against_the_thing() {
        let mut rounds = Rounds::default();
        [(2.0, 1.0), (20.0, 10.0), (3.0, 1.0)].into_iter().for_each(|(it, control)| rounds.push(it, control));
        assert_eq!(rounds.ratio(), 2.0);
        assert_eq!(rounds.medians(), (3.0, 1.0));
    }
}
