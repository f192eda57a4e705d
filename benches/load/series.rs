//! Values over time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Values of one kind over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// What a value is in.
    pub(crate) unit: String,
    /// Seconds since the scenario began, and the value then.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Series by the name of who had the values and what they are, as `server: CPU`.
pub(crate) type AllSeries = BTreeMap<String, Series>;

/// The newest value of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Latest {
    /// Who had it.
    pub(crate) who: String,
    /// What it is.
    pub(crate) what: String,
    /// What it is in.
    pub(crate) unit: String,
    /// How much.
    pub(crate) value: f64,
}

/// Who has a series of this name, and what is in it.
pub(crate) fn who_and_what(name: &str) -> (&str, &str) {
    name.rsplit_once(": ").unwrap_or(("", name))
}

/// Points of a series at most; a run that is longer has fewer of each stretch of time.
pub(crate) const POINTS_MAX: usize = 900;

/// Makes one point of each two, if there are too many. True if there were.
pub(crate) fn thin(all: &mut AllSeries) -> bool {
    let too_many = all.values().any(|series| series.points.len() >= POINTS_MAX);
    for series in all.values_mut().filter(|_| too_many) {
        series.points = series.points.chunks(2).map(mean).collect();
    }
    too_many
}

/// The point in the middle of these.
fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (sum.0 / count, sum.1 / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_as_many_points_as_a_short_one() {
        let of = |count: usize| Series {
            unit: "MiB".to_owned(),
            points: (0..count).map(|number| (number as f64, 10.0 * number as f64)).collect(),
        };
        let mut all = AllSeries::from([("short".to_owned(), of(3)), ("long".to_owned(), of(POINTS_MAX - 1))]);
        assert!(!thin(&mut all));
        assert_eq!(all["short"], of(3));
        all.insert("long".to_owned(), of(POINTS_MAX));
        assert!(thin(&mut all));
        assert_eq!(all["short"].points, [(0.5, 5.0), (2.0, 20.0)]);
        assert_eq!(all["long"].points.len(), POINTS_MAX / 2);
    }
}
