//! What one listener heard of its room.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The speaker of a message and its number among theirs, as one number.
pub(super) fn number(speaker: u32, nth: u64) -> u64 {
    (u64::from(speaker) << 32) | nth
}

fn parts(number: u64) -> (usize, u64) {
    ((number >> 32) as usize, number & ((1 << 32) - 1))
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// The next number of each speaker.
    next: Vec<u64>,
    /// Those that a later one overtook.
    skipped: BTreeSet<u64>,
    arrived: u64,
    dropped: u64,
    duplicates: u64,
    misordered: u64,
}

/// What listeners heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Messages that arrived, each counted once for each listener.
    pub(crate) delivered: u64,
    /// Those that the server said it would not tell.
    pub(crate) dropped: u64,
    /// Accepted ones that neither arrived nor were said to be dropped.
    pub(crate) lost: u64,
    /// Arrivals beyond the first.
    pub(crate) duplicates: u64,
    /// Arrivals behind a later one of the same speaker.
    pub(crate) misordered: u64,
    /// Arrivals of what was not accepted.
    pub(crate) unexpected: u64,
}

impl Tally {
    /// A message arrived.
    pub(super) fn arrived(&mut self, number: u64) {
        let (speaker, nth) = parts(number);
        if self.next.len() <= speaker {
            self.next.resize(speaker + 1, 0);
        }
        let next = self.next[speaker];
        if nth >= next {
            self.skipped.extend((next..nth).map(|nth| self::number(speaker as u32, nth)));
            self.next[speaker] = nth + 1;
            self.arrived += 1;
        } else if self.skipped.remove(&number) {
            self.misordered += 1;
            self.arrived += 1;
        } else {
            self.duplicates += 1;
        }
    }

    /// The server said that it left some out.
    pub(super) fn dropped(&mut self, count: u64) {
        self.dropped += count;
    }

    /// Messages that are accounted for.
    pub(super) fn heard(&self) -> u64 {
        self.arrived + self.dropped
    }

    /// Adds it up, now that all has arrived of `expected` messages.
    pub(super) fn counted(&self, expected: u64) -> Counted {
        let Self { arrived, dropped, duplicates, misordered, .. } = *self;
        Counted {
            delivered: arrived,
            dropped,
            lost: expected.saturating_sub(self.heard()),
            duplicates,
            misordered,
            unexpected: self.heard().saturating_sub(expected),
        }
    }
}

impl Counted {
    /// Adds what others heard.
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { delivered, dropped, lost, duplicates, misordered, unexpected } = other;
        self.delivered += delivered;
        self.dropped += dropped;
        self.lost += lost;
        self.duplicates += duplicates;
        self.misordered += misordered;
        self.unexpected += unexpected;
    }

    /// What breaks a promise, in words; nothing if all were kept.
    pub(crate) fn broken(&self) -> Vec<String> {
        [
            (self.lost, "were accepted and did not arrive"),
            (self.duplicates, "arrived once more"),
            (self.misordered, "arrived behind a later one"),
            (self.unexpected, "arrived although they were not accepted"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_delivery_is_held_against_what_was_said() {
        let fine = Counted { delivered: 3, ..Counted::default() };
        for (arrivals, dropped, expected) in [
            (&[(0, 0), (0, 1), (0, 2)][..], 0, fine),
            (&[(0, 0), (1, 0), (0, 1)], 0, fine),
            (&[(0, 0), (0, 2)], 1, Counted { delivered: 2, dropped: 1, ..fine }),
            (&[(0, 0), (0, 2)], 0, Counted { delivered: 2, lost: 1, ..fine }),
            (&[(0, 0), (0, 2), (0, 1)], 0, Counted { misordered: 1, ..fine }),
            (&[(0, 0), (0, 1), (0, 1), (0, 2)], 0, Counted { duplicates: 1, ..fine }),
            (&[(0, 0), (0, 1), (0, 2), (0, 3)], 0, Counted { delivered: 4, unexpected: 1, ..fine }),
        ] {
            let mut tally = Tally::default();
            arrivals.iter().for_each(|(speaker, nth)| tally.arrived(number(*speaker, *nth)));
            tally.dropped(dropped);
            let counted = tally.counted(3);
            assert_eq!(counted, expected, "{arrivals:?}");
            let clean = counted.lost + counted.duplicates + counted.misordered + counted.unexpected == 0;
            assert_eq!(counted.broken().is_empty(), clean);
        }
    }
}
