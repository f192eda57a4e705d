//! How much a server takes, what becomes of more, and when everything is as it was: decided from figures.

use serde::Serialize;

/// What a server is said to bear.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Bound {
    /// Deliveries per second that arrive, to those that were meant to, at least.
    pub(super) goodput_min: f64,
    /// p99 from the intended time to the receiver at most, in milliseconds.
    pub(super) p99_ms_max: f64,
}

/// What was seen in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Seen {
    /// Deliveries per second.
    pub(super) goodput: f64,
    /// p99 from the intended time to the receiver in milliseconds, if anything arrived.
    pub(super) p99_ms: Option<f64>,
}

impl Bound {
    /// Whether `offered` deliveries per second were borne.
    pub(super) fn holds(&self, offered: f64, seen: Seen) -> bool {
        let in_time = seen.p99_ms.is_some_and(|p99| p99 <= self.p99_ms_max);
        in_time && seen.goodput >= self.goodput_min * offered
    }

    /// The first of the seconds from which on several in a row are borne.
    pub(super) fn normal_from(&self, offered: f64, seconds: &[Seen]) -> Option<usize> {
        let normal = |seconds: &[Seen]| seconds.iter().all(|seen| self.holds(offered, *seen));
        seconds.windows(SECONDS_NORMAL).position(normal)
    }
}

/// Seconds in a row that are normal before all is said to be normal.
const SECONDS_NORMAL: usize = 3;

/// The rate grows so much from step to step while it is borne.
const GROWTH: f64 = 1.5;

/// It shrinks so much while not even the first is.
const SHRINKING: u32 = 4;

/// Steps between the highest rate that is borne and the lowest that is not.
const REFINEMENTS: u32 = 2;

/// A rate has to fail so often: the machine may have been busy with something else.
const FAILURES: u32 = 2;

/// Looks for the knee: the highest rate that is borne.
#[derive(Clone, Debug)]
pub(super) struct Search {
    next: f64,
    until: f64,
    borne: Option<f64>,
    failed: Option<f64>,
    /// Failures of the rate that is next.
    failures: u32,
    refinements: u32,
    shrinkings: u32,
}

impl Search {
    /// Begins at `from` messages per second, and goes no further than `until`.
    pub(super) fn new(from: f64, until: f64) -> Self {
        Self { next: from, until, borne: None, failed: None, failures: 0, refinements: 0, shrinkings: 0 }
    }

    /// The rate that is to be tried next; `None` at the end.
    pub(super) fn next(&self) -> Option<f64> {
        let is_over = self.next > self.until || self.refinements > REFINEMENTS || self.shrinkings > SHRINKING;
        (!is_over).then_some(self.next)
    }

    /// It was tried.
    pub(super) fn tried(&mut self, borne: bool) {
        if !borne {
            self.failures += 1;
            if self.failures < FAILURES {
                return;
            }
        }
        self.failures = 0;
        *(if borne { &mut self.borne } else { &mut self.failed }) = Some(self.next);
        self.next = match (self.borne, self.failed) {
            (Some(borne), None) => borne * GROWTH,
            (Some(borne), Some(failed)) => {
                self.refinements += 1;
                (borne * failed).sqrt()
            }
            (None, _) => {
                self.shrinkings += 1;
                self.next / 2.0
            }
        };
    }

    /// The highest rate that was borne; the lowest that was tried if none was.
    pub(super) fn knee(&self) -> f64 {
        self.borne.or(self.failed).unwrap_or(self.next)
    }

    /// True if a rate was borne.
    pub(super) fn is_borne(&self) -> bool {
        self.borne.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { goodput_min: 0.95, p99_ms_max: 200.0 };

    fn seen(goodput: f64, p99_ms: f64) -> Seen {
        Seen { goodput, p99_ms: Some(p99_ms) }
    }

    #[test]
    fn a_rate_is_borne_if_enough_arrives_in_time() {
        for (seen, borne) in [
            (seen(100.0, 10.0), true),
            (seen(95.0, 200.0), true),
            (seen(94.0, 10.0), false),
            (seen(100.0, 201.0), false),
            (Seen { goodput: 100.0, p99_ms: None }, false),
        ] {
            assert_eq!(BOUND.holds(100.0, seen), borne, "{seen:?}");
        }
    }

    #[test]
    fn all_is_normal_when_it_stays_so() {
        let (good, late, few) = (seen(100.0, 5.0), seen(100.0, 900.0), seen(20.0, 5.0));
        for (seconds, expected) in [
            (&[good, good, good, late][..], Some(0)),
            (&[late, good, few, good, good, good], Some(3)),
            (&[good, good], None),
            (&[late; 5], None),
        ] {
            assert_eq!(BOUND.normal_from(100.0, seconds), expected, "{seconds:?}");
        }
    }

    /// Tries all that a server does that bears so much, and says what was tried.
    fn search(from: f64, bears: f64) -> (Vec<f64>, Option<f64>) {
        let (mut search, mut tried) = (Search::new(from, 300.0), vec![]);
        while let Some(rate) = search.next() {
            tried.push(rate.round());
            search.tried(rate <= bears);
        }
        (tried, search.is_borne().then_some(search.knee().round()))
    }

    #[test]
    fn the_knee_is_closed_in_on_from_below_and_from_above() {
        let (tried, knee) = search(100.0, 200.0);
        assert_eq!(tried, [100.0, 150.0, 225.0, 225.0, 184.0, 203.0, 203.0]);
        assert_eq!(knee, Some(184.0));
        let (tried, knee) = search(300.0, 90.0);
        assert_eq!((tried[..6].to_vec(), knee), (vec![300.0, 300.0, 150.0, 150.0, 75.0, 106.0], Some(89.0)));
        assert_eq!(search(100.0, 1e9), (vec![100.0, 150.0, 225.0], Some(225.0)), "no further");
        let (tried, knee) = search(100.0, 0.0);
        assert_eq!((tried, knee), (vec![100.0, 100.0, 50.0, 50.0, 25.0, 25.0, 13.0, 13.0, 6.0, 6.0], None));
    }

    #[test]
    fn one_bad_step_on_a_busy_machine_is_tried_again() {
        let mut search = Search::new(100.0, 1000.0);
        search.tried(false);
        assert_eq!(search.next(), Some(100.0));
        search.tried(true);
        assert_eq!(search.next(), Some(150.0));
    }
}
