//! What happened in each second of a program.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde::{Deserialize, Serialize};

use crate::latency::Latencies;

/// One second, or several together.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Messages that were handed over.
    pub(crate) sent: u64,
    /// Messages that were not, because too many of their sender had no answer yet.
    pub(crate) held_back: u64,
    /// Messages that were accepted.
    pub(crate) accepted: u64,
    /// Messages that were not, by the reason.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Deliveries, urgent ones included.
    pub(crate) delivered: u64,
    /// From the intended time of an urgent message to a session that has it decoded.
    pub(crate) urgent: Option<Latencies>,
    /// The same of all others.
    pub(crate) others: Option<Latencies>,
    /// From the intended time of a message to the moment it was written: what the load itself was late.
    pub(crate) late: Option<Latencies>,
}

/// See the module. The seconds count from the beginning of the program; things count where they happened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Seconds(Vec<Second>);

/// What is behind this many seconds is not told apart.
const SECONDS_MAX: usize = 24 * 3600;

impl Second {
    fn add(&mut self, other: &Self) {
        let Self { sent, held_back, accepted, refused, delivered, urgent, others, late } = other;
        self.sent += sent;
        self.held_back += held_back;
        self.accepted += accepted;
        for (reason, count) in refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
        self.delivered += delivered;
        for (sum, more) in [(&mut self.urgent, urgent), (&mut self.others, others), (&mut self.late, late)] {
            match (sum, more) {
                (_, None) => {}
                (sum @ None, Some(more)) => *sum = Some(more.clone()),
                (Some(sum), Some(more)) => sum.merge(more),
            }
        }
    }
}

/// Adds a time to those of a second.
pub(crate) fn record(times: &mut Option<Latencies>, time: Duration) -> anyhow::Result<()> {
    let times = match times {
        Some(times) => times,
        None => times.insert(Latencies::new()?),
    };
    times.record(time);
    Ok(())
}

impl Seconds {
    /// The second in which `elapsed` has passed since the beginning.
    pub(crate) fn at(&mut self, elapsed: Duration) -> &mut Second {
        let second = usize::try_from(elapsed.as_secs()).unwrap_or(SECONDS_MAX).min(SECONDS_MAX);
        if self.0.len() <= second {
            self.0.resize_with(second + 1, Second::default);
        }
        &mut self.0[second]
    }

    /// Adds what happened in another process.
    pub(crate) fn add(&mut self, other: &Self) {
        self.0.resize_with(self.0.len().max(other.0.len()), Second::default);
        self.0.iter_mut().zip(&other.0).for_each(|(sum, more)| sum.add(more));
    }

    /// A second; one in which nothing happened if there is none.
    pub(crate) fn second(&self, second: usize) -> Second {
        self.0.get(second).cloned().unwrap_or_default()
    }

    /// Several seconds as one.
    pub(crate) fn together(&self, seconds: Range<usize>) -> Second {
        let mut sum = Second::default();
        seconds.filter_map(|second| self.0.get(second)).for_each(|second| sum.add(second));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_of_several_processes_add_up() {
        let ms = Duration::from_millis;
        let mut seconds = Seconds::default();
        seconds.at(ms(1500)).delivered += 2;
        record(&mut seconds.at(ms(1999)).urgent, ms(3)).unwrap();
        let mut other = Seconds::default();
        *other.at(ms(200)).refused.entry("RateLimited".into()).or_default() += 1;
        other.at(ms(1000)).delivered += 3;
        record(&mut other.at(ms(1000)).urgent, ms(5)).unwrap();
        seconds.add(&other);
        assert_eq!(seconds.second(1).delivered, 5);
        assert_eq!(seconds.second(1).urgent.map(|times| times.percentiles().count), Some(2));
        assert_eq!(seconds.together(0..9).refused["RateLimited"], 1);
        assert_eq!(seconds.together(0..1).delivered, 0);
        assert_eq!(seconds.second(7).sent, 0);
    }
}
