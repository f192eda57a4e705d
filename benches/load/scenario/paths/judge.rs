//! What became of messages, by what both ends saw.

use std::time::Duration;

use anyhow::Context;

use crate::{
    latency::Latencies,
    ledger::{Account, Answer, Ledger},
    part::{
        publish::Published,
        subscribe::{Seen, Subscribed},
    },
};

/// Holds what arrived against what was sent, topic by topic.
pub(super) fn account(published: &Published, subscribed: &Subscribed) -> anyhow::Result<Account> {
    let mut ledgers: Vec<Ledger> = published
        .sent
        .iter()
        .map(|sent| {
            let mut ledger = Ledger::default();
            (0..*sent).for_each(|_| _ = ledger.send());
            ledger
        })
        .collect();
    for seen in &published.acknowledged {
        let ledger = ledgers.get_mut(seen.topic as usize).context("an answer of no topic")?;
        ledger.answered(seen.number, Answer::Accepted);
    }
    for seen in &subscribed.arrivals {
        let ledger = ledgers.get_mut(seen.topic as usize).context("a message of no topic")?;
        ledger.arrived(seen.number);
    }
    let mut account = Account { unexpected: subscribed.strange, ..Account::default() };
    ledgers.iter().for_each(|ledger| account.add(&ledger.account()));
    Ok(account)
}

/// What it took from the intended time, of messages that were meant to go in a stretch of time.
pub(super) fn latencies(seen: &[Seen], from: Duration, until: Duration) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new()?;
    seen.iter()
        .filter(|seen| (from..until).contains(&seen.intended))
        .for_each(|seen| latencies.record(seen.at.saturating_sub(seen.intended)));
    Ok(latencies)
}

/// The longest time in a stretch in which nothing was seen.
pub(super) fn pause(seen: &[Seen], from: Duration, until: Duration) -> Duration {
    let mut times: Vec<Duration> =
        seen.iter().map(|seen| seen.at).filter(|at| (from..until).contains(at)).collect();
    times.extend([from, until]);
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// How long after `over` nothing was missing any more that was meant to go before it, nor the first that was meant to go then.
pub(super) fn recovery(seen: &[Seen], over: Duration) -> Duration {
    let first = seen.iter().map(|seen| seen.intended).filter(|intended| *intended >= over).min();
    let waited = seen.iter().filter(|seen| seen.intended < over || Some(seen.intended) == first);
    waited.map(|seen| seen.at).max().unwrap_or_default().saturating_sub(over)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// By topic, number, intended and real time.
    fn seen(all: &[(u32, u64, u64, u64)]) -> Vec<Seen> {
        all.iter()
            .map(|&(topic, number, intended, at)| Seen { topic, number, intended: ms(intended), at: ms(at) })
            .collect()
    }

    #[test]
    fn each_topic_has_an_order_of_its_own() {
        let all = seen(&[(0, 0, 0, 1), (1, 0, 0, 2), (0, 1, 5, 6)]);
        let fine = [all[1], all[0], all[2]];
        for (arrivals, broken) in [
            (&fine[..], &[][..]),
            (&[all[2], all[0], all[1]], &["1 arrived behind a later one"]),
            (&[all[0], all[1]], &["1 were accepted and did not arrive"]),
            (&[all[0], all[0], all[1], all[2]], &["1 arrived once more"]),
        ] {
            let published = Published {
                sent: vec![2, 1],
                acknowledged: all.clone(),
                failed: BTreeMap::new(),
                lost: vec![],
            };
            let subscribed = Subscribed { arrivals: arrivals.to_vec(), ..Subscribed::default() };
            let account = account(&published, &subscribed).unwrap();
            assert_eq!(account.broken(), broken);
            assert_eq!((account.sent, account.accepted), (3, 3));
        }
        let stray = Subscribed { arrivals: seen(&[(2, 0, 0, 1)]), ..Subscribed::default() };
        let nothing = Published { sent: vec![], acknowledged: vec![], failed: BTreeMap::new(), lost: vec![] };
        assert!(account(&nothing, &stray).is_err());
    }

    #[test]
    fn a_pause_is_the_longest_stretch_without_anything() {
        for (times, expected) in [
            (&[][..], 100),
            (&[110, 120, 190], 70),
            (&[190, 110, 120], 70),
            // What came before and after does not count.
            (&[50, 250], 100),
            (&[140, 150], 50),
            (&[100, 130, 160, 199], 39),
        ] {
            let all: Vec<Seen> = times.iter().flat_map(|at| seen(&[(0, 0, 0, *at)])).collect();
            assert_eq!(pause(&all, ms(100), ms(200)), ms(expected), "{times:?}");
        }
    }

    #[test]
    fn it_is_over_when_the_last_that_waited_and_the_first_after_it_have_arrived() {
        let before = seen(&[(0, 0, 90, 95), (0, 1, 98, 150), (0, 2, 99, 130)]);
        assert_eq!(recovery(&before, ms(100)), ms(50));
        assert_eq!(recovery(&before[..1], ms(100)), ms(0));
        assert_eq!(recovery(&[], ms(100)), ms(0));
        let after = seen(&[(0, 4, 110, 300), (0, 3, 105, 180)]);
        assert_eq!(recovery(&after, ms(100)), ms(80));
        assert_eq!(recovery(&[before, after].concat(), ms(100)), ms(80));
    }

    #[test]
    fn times_are_taken_of_the_stretch_by_when_a_message_was_to_go() {
        let all = seen(&[(0, 0, 99, 120), (0, 1, 100, 110), (0, 2, 199, 500), (0, 3, 200, 201)]);
        let percentiles = latencies(&all, ms(100), ms(200)).unwrap().percentiles();
        assert_eq!((percentiles.count, percentiles.min.round(), percentiles.max.round()), (2, 10.0, 301.0));
    }
}
