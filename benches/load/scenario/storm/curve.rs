//! How fast everybody came back, and when traffic was as usual again. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{latency::Latencies, part::chat::Took, rounds::median};

/// The parts of all whose times are told, in percent.
pub(super) const PERCENTS: [usize; 4] = [50, 90, 99, 100];

/// Seconds that must be as usual one after the other.
const HELD_SECONDS: i64 = 3;

/// What the p99 of a usual second may be of the median second's before.
const P99_RATIO_MAX: f64 = 2.0;

/// The part of the median second's messages that a usual second has at least.
const COUNT_RATIO_MIN: f64 = 0.9;

/// Seconds from `from_us` until each of the percents of `all` had done what they did at `times_us`; `None` if fewer did.
pub(super) fn until(mut times_us: Vec<u64>, all: usize, from_us: u64) -> [Option<f64>; 4] {
    times_us.sort_unstable();
    PERCENTS.map(|percent| {
        let rank = (all * percent).div_ceil(100).max(1);
        let at = times_us.get(rank - 1)?;
        // Whoever was back before the server said that it listens needed no time.
        Some(at.saturating_sub(from_us) as f64 / 1e6)
    })
}

/// The messages that were meant to go in one second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Second {
    /// Which, from the loss of the server.
    pub(super) second: i64,
    /// Those that arrived.
    pub(super) delivered: u64,
    /// Half took at most as many milliseconds.
    pub(super) p50_ms: f64,
    /// 99 of 100.
    pub(super) p99_ms: f64,
    /// All.
    pub(super) max_ms: f64,
}

/// Every second of the traffic but the first and the last, which are no whole ones.
pub(super) fn by_second(times: &[Took], lost_us: u64) -> anyhow::Result<Vec<Second>> {
    let second = |took: &Took| (took.intended_us as i64 - lost_us as i64).div_euclid(1_000_000);
    let mut all: BTreeMap<i64, Vec<u64>> = BTreeMap::new();
    times.iter().for_each(|took| all.entry(second(took)).or_default().push(took.took_us));
    all.pop_first();
    all.pop_last();
    let tell = |(second, times): (i64, Vec<u64>)| {
        let mut latencies = Latencies::new()?;
        times.into_iter().for_each(|us| latencies.record(std::time::Duration::from_micros(us)));
        let told = latencies.percentiles();
        Ok(Second { second, delivered: told.count, p50_ms: told.p50, p99_ms: told.p99, max_ms: told.max })
    };
    all.into_iter().map(tell).collect()
}

/// What a second before the loss is like: p99 and messages, medians of all of them.
pub(super) fn usual(seconds: &[Second]) -> (f64, f64) {
    let of =
        |of: fn(&Second) -> f64| median(seconds.iter().filter(|second| second.second < 0).map(of).collect());
    (of(|second| second.p99_ms), of(|second| second.delivered as f64))
}

/// The first second from the loss on from which on traffic is as usual for a while.
pub(super) fn normal_from(seconds: &[Second]) -> Option<i64> {
    let (p99, delivered) = usual(seconds);
    let is_usual = |second: &&Second| {
        second.p99_ms <= p99 * P99_RATIO_MAX && second.delivered as f64 >= delivered * COUNT_RATIO_MIN
    };
    let usual: std::collections::BTreeSet<i64> =
        seconds.iter().filter(is_usual).map(|second| second.second).collect();
    let held = |from: &&i64| (0..HELD_SECONDS).all(|later| usual.contains(&(*from + later)));
    usual.range(0..).find(held).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_a_part_says_when_it_was_back() {
        let times = (1..=10).rev().map(|second| second * 1_000_000).collect::<Vec<_>>();
        assert_eq!(until(times.clone(), 10, 1_000_000), [Some(4.0), Some(8.0), Some(9.0), Some(9.0)]);
        assert_eq!(until(times, 11, 20_000_000), [Some(0.0), Some(0.0), None, None]);
        assert_eq!(until(vec![], 1, 0), [None; 4]);
    }

    /// A hundred messages in each of these seconds, all of which took so many milliseconds.
    fn traffic(seconds: &[(i64, u64)]) -> Vec<Second> {
        let second = |&(second, ms): &(i64, u64)| {
            let ms = ms as f64;
            Second { second, delivered: 100, p50_ms: ms, p99_ms: ms, max_ms: ms }
        };
        seconds.iter().map(second).collect()
    }

    #[test]
    fn traffic_is_normal_when_it_stays_as_it_was() {
        let before = [(-3, 10), (-2, 10), (-1, 12)];
        for (after, expected) in [
            (&[(0, 11), (1, 10), (2, 20)][..], Some(0)),
            (&[(0, 900), (1, 21), (2, 20), (3, 10), (4, 10)], Some(2)),
            (&[(0, 10), (1, 10), (2, 500), (3, 10), (4, 10), (5, 10)], Some(3)),
            // Two seconds are not long enough, and a second is missing.
            (&[(0, 500), (1, 10), (2, 10)], None),
            (&[(0, 10), (1, 10), (3, 10), (4, 10)], None),
        ] {
            assert_eq!(normal_from(&traffic(&[&before, after].concat())), expected, "{after:?}");
        }
        let mut few = traffic(&[&before[..], &[(0, 10), (1, 10), (2, 10), (3, 10)]].concat());
        few[3].delivered = 80;
        assert_eq!(normal_from(&few), Some(1), "not all of the first second arrived");
    }

    #[test]
    fn messages_belong_to_the_second_in_which_they_were_meant_to_go() {
        let took = |intended_us, took_us| Took { intended_us, took_us };
        let times =
            [took(500_000, 1000), took(1_900_000, 2000), took(2_100_000, 9_000_000), took(3_500_000, 4000)];
        let seconds = by_second(&times, 2_000_000).unwrap();
        let told: Vec<_> = seconds.iter().map(|it| (it.second, it.delivered, it.max_ms.round())).collect();
        assert_eq!(told, [(-1, 1, 2.0), (0, 1, 9003.0)], "the first and the last are no whole ones");
    }
}
