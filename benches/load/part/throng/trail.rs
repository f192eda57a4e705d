//! What one session was told of a conversation, held against what was placed in it.
//!
//! Senders may be refused, so the numbers that they give their messages have holes. What counts is how many came or were
//! said to be left out, that those of each sender come in ascending order, and that each names the one before.

use std::collections::BTreeMap;

use quail_protocol::{Priority, Seq, message::Gap};
use serde::{Deserialize, Serialize};

use crate::part::attend::Counted;

/// What became of messages of one priority in one conversation, or of one sender there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    /// Those that were accepted.
    pub(crate) accepted: u64,
    /// Those without an answer: they may have been placed.
    pub(crate) unknown: u64,
}

/// The same by priority, lowest first.
pub(crate) type ByPriority = [Placed; Priority::COUNT];

/// Adds the one to the other.
pub(crate) fn add(sum: &mut ByPriority, more: &ByPriority) {
    for (sum, more) in sum.iter_mut().zip(more) {
        sum.accepted += more.accepted;
        sum.unknown += more.unknown;
    }
}

/// Where one priority stands.
#[derive(Clone, Copy, Debug, Default)]
struct Strand {
    /// The last number in the conversation that is known.
    seq: u64,
    /// The next one need not name it.
    loose: bool,
    came: u64,
    left_out: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trail {
    strands: [Strand; Priority::COUNT],
    /// The next number of each sender at least, by priority: nothing is promised of the order between two.
    next: BTreeMap<(u32, usize), u64>,
    duplicates: u64,
    misordered: u64,
    broken: u64,
    /// Messages that may be missing.
    excused: u64,
}

impl Trail {
    /// Message `nth` of `sender` came; with its number in the conversation and that of the one before if they are known.
    /// False if it is no news.
    pub(crate) fn came(
        &mut self,
        priority: Priority,
        (sender, nth): (u32, u64),
        place: Option<(Seq, Seq)>,
    ) -> bool {
        let next = self.next.entry((sender, priority.index())).or_default();
        if nth < *next {
            // Which of both it is can only be told by all numbers; either breaks a promise.
            if nth + 1 == *next {
                self.duplicates += 1;
            } else {
                self.misordered += 1;
            }
            return false;
        }
        *next = nth + 1;
        self.strands[priority.index()].came += 1;
        if let Some((seq, prev)) = place {
            self.placed(priority, seq, prev);
        }
        true
    }

    /// A number of the conversation is known; the session's own messages fill theirs.
    pub(crate) fn placed(&mut self, priority: Priority, seq: Seq, prev: Seq) {
        let strand = &mut self.strands[priority.index()];
        if seq.0 <= strand.seq {
            self.misordered += 1;
            return;
        }
        if prev.0 != strand.seq && !strand.loose {
            self.broken += 1;
        }
        (strand.seq, strand.loose) = (seq.0, false);
    }

    /// The server said that it left some out.
    pub(crate) fn gap(&mut self, gap: &Gap) {
        let strand = &mut self.strands[gap.priority.index()];
        strand.left_out += u64::from(gap.count);
        strand.seq = strand.seq.max(gap.through.seq.0);
    }

    /// The server said that the rest stands in the history: what comes next need not name what came last.
    pub(crate) fn loosen(&mut self) {
        self.strands.iter_mut().for_each(|strand| strand.loose = true);
    }

    /// So many may be missing: they were found elsewhere, or said to be discarded without a word of which they are.
    pub(crate) fn excuse(&mut self, count: u64) {
        self.excused += count;
    }

    fn missing(&self, placed: &ByPriority) -> u64 {
        let missing = self
            .strands
            .iter()
            .zip(placed)
            .map(|(strand, placed)| placed.accepted.saturating_sub(strand.came + strand.left_out));
        missing.sum::<u64>().saturating_sub(self.excused)
    }

    /// True if everything that was accepted came or was said to be left out.
    pub(crate) fn is_whole(&self, placed: &ByPriority) -> bool {
        self.missing(placed) == 0
    }

    /// Adds it up, now that nothing more comes.
    pub(crate) fn end(&self, placed: &ByPriority) -> Counted {
        let mut counted = self.so_far();
        for (strand, placed) in self.strands.iter().zip(placed) {
            let heard = strand.came + strand.left_out;
            counted.unexpected += heard.saturating_sub(placed.accepted + placed.unknown);
        }
        // A hole is one at least, even if the numbers add up.
        counted.lost = self.missing(placed).max(self.broken);
        counted
    }

    /// What there was so far, of somebody who cannot have the rest.
    pub(crate) fn so_far(&self) -> Counted {
        let sum = |of: fn(&Strand) -> u64| self.strands.iter().map(of).sum();
        Counted {
            delivered: sum(|strand| strand.came),
            dropped: sum(|strand| strand.left_out),
            lost: self.broken,
            duplicates: self.duplicates,
            misordered: self.misordered,
            unexpected: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use quail_protocol::{Conversation, Epoch, Position, id::RoomId};

    use super::*;

    const P: Priority = Priority::Normal;

    fn gap(through: u64, count: u32) -> Gap {
        let conversation = Conversation::Room(RoomId::new("r").unwrap());
        Gap { conversation, priority: P, through: Position { epoch: Epoch(1), seq: Seq(through) }, count }
    }

    fn placed(accepted: u64, unknown: u64) -> ByPriority {
        let mut all = ByPriority::default();
        all[P.index()] = Placed { accepted, unknown };
        all
    }

    /// Sender, its number, number in the conversation, number of the one before.
    fn told(trail: &mut Trail, messages: &[(u32, u64, u64, u64)]) {
        for (sender, nth, seq, prev) in messages {
            trail.came(P, (*sender, *nth), Some((Seq(*seq), Seq(*prev))));
        }
    }

    #[test]
    fn senders_may_be_refused_and_others_fill_their_own_places() {
        let mut trail = Trail::default();
        told(&mut trail, &[(1, 0, 1, 0), (2, 5, 2, 1)]);
        trail.placed(P, Seq(4), Seq(2));
        told(&mut trail, &[(1, 3, 7, 4)]);
        assert!(trail.is_whole(&placed(3, 0)));
        assert_eq!(trail.end(&placed(3, 0)), Counted { delivered: 3, ..Counted::default() });
        assert_eq!(trail.end(&placed(2, 1)).broken(), [""; 0], "one without an answer was placed");
        assert_eq!(trail.end(&placed(2, 0)).unexpected, 1);
        assert!(!trail.is_whole(&placed(4, 0)));
        assert_eq!(trail.end(&placed(5, 0)).lost, 2);
        trail.excuse(2);
        assert_eq!(trail.end(&placed(5, 0)).lost, 0, "both stand in the history");
    }

    #[test]
    fn one_priority_overtakes_another() {
        let mut trail = Trail::default();
        assert!(trail.came(Priority::High, (1, 1), None) && trail.came(P, (1, 0), None));
        assert_eq!(trail.so_far(), Counted { delivered: 2, ..Counted::default() });
    }

    #[test]
    fn whatever_breaks_the_trail_is_counted() {
        for (messages, counted) in [
            (&[(1, 0, 1, 0), (1, 1, 3, 2)][..], Counted { delivered: 2, lost: 1, ..Counted::default() }),
            (
                &[(1, 0, 1, 0), (1, 0, 1, 0)],
                Counted { delivered: 1, duplicates: 1, lost: 1, ..Counted::default() },
            ),
            (
                &[(1, 1, 1, 0), (1, 2, 3, 1), (1, 0, 2, 1)],
                Counted { delivered: 2, misordered: 1, ..Counted::default() },
            ),
        ] {
            let mut trail = Trail::default();
            told(&mut trail, messages);
            assert_eq!(trail.end(&placed(2, 0)), counted, "{messages:?}");
        }
    }

    #[test]
    fn what_is_said_to_be_left_out_is_not_lost() {
        let mut trail = Trail::default();
        told(&mut trail, &[(1, 0, 1, 0)]);
        trail.gap(&gap(5, 3));
        told(&mut trail, &[(1, 9, 6, 5)]);
        let counted = trail.end(&placed(5, 0));
        assert_eq!(counted, Counted { delivered: 2, dropped: 3, ..Counted::default() });
        trail.loosen();
        told(&mut trail, &[(1, 20, 30, 25)]);
        assert_eq!(trail.end(&placed(6, 0)).lost, 0);
    }
}
