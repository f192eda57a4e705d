//! What one member of a room was told of it: whether each message came once, in the order of its priority, or was said
//! to be left out.
//!
//! A message names the last one of its priority by its number in the room, and its sender numbers those of each priority
//! in its text. The first would betray an outbox that leaves something out unsaid, the second a server that numbers wrongly.

use std::collections::BTreeSet;

use quail_protocol::{
    Priority, Seq,
    message::{Gap, Message},
};
use serde::{Deserialize, Serialize};

use crate::part::attend::Counted;

/// The newest of one priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newest {
    /// Its number in the room, 0 if there is none.
    pub(crate) seq: u64,
    /// Messages of the priority up to it.
    pub(crate) count: u64,
}

/// How far each priority has come, lowest first.
pub(crate) type Ends = [Newest; Priority::COUNT];

/// Where one priority stands.
#[derive(Clone, Debug, Default)]
struct Strand {
    /// The last message or the end of the last gap, in the room's numbers.
    seq: u64,
    /// What the next message says of itself, if that is known.
    next: Option<u64>,
    /// Whether `seq` is a message of this priority, and not only where everything begins.
    begun: bool,
    /// Those that a later one overtook.
    skipped: BTreeSet<u64>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    strands: [Strand; Priority::COUNT],
    counted: Counted,
}

impl Chain {
    /// Of somebody who came in when `head` was the room's newest number.
    pub(crate) fn behind(head: Seq) -> Self {
        let mut chain = Self::default();
        chain.begin_behind(head);
        chain
    }

    /// What was placed up to `head` need not come any more.
    pub(crate) fn begin_behind(&mut self, head: Seq) {
        for strand in &mut self.strands {
            *strand = Strand { seq: head.0.max(strand.seq), ..Strand::default() };
        }
    }

    /// Of somebody who came in before anything was said: the first message is to be the first.
    pub(crate) fn from_the_start() -> Self {
        let mut chain = Self::default();
        chain.strands.iter_mut().for_each(|strand| strand.next = Some(0));
        chain
    }

    /// A message came, and `nth` of its priority its sender calls it.
    pub(crate) fn message(&mut self, message: &Message, nth: u64) {
        self.arrived(message.priority, message.position.seq, message.prev, nth);
    }

    fn arrived(&mut self, priority: Priority, seq: Seq, prev: Seq, nth: u64) {
        let (strand, counted) = (&mut self.strands[priority.index()], &mut self.counted);
        if seq.0 <= strand.seq || strand.next.is_some_and(|next| nth < next) {
            if strand.skipped.remove(&nth) {
                counted.lost -= 1;
                counted.delivered += 1;
                counted.misordered += 1;
            } else {
                counted.duplicates += 1;
            }
            return;
        }
        let follows = if strand.begun { prev.0 == strand.seq } else { prev.0 <= strand.seq };
        let next = strand.next.unwrap_or(nth);
        counted.lost += nth - next;
        strand.skipped.extend(next..nth);
        if !follows && next == nth {
            // The sender says that nothing is missing, the server that something is.
            counted.lost += 1;
        }
        counted.delivered += 1;
        (strand.seq, strand.next, strand.begun) = (seq.0, Some(nth + 1), true);
    }

    /// Something came that nobody said.
    pub(crate) fn strange(&mut self) {
        self.counted.unexpected += 1;
    }

    /// The server said that it left some out.
    pub(crate) fn gap(&mut self, gap: &Gap) {
        let (strand, counted) = (&mut self.strands[gap.priority.index()], &mut self.counted);
        if gap.through.seq.0 <= strand.seq {
            counted.misordered += 1;
            return;
        }
        counted.dropped += u64::from(gap.count);
        strand.next = strand.next.map(|next| next + u64::from(gap.count));
        (strand.seq, strand.begun) = (gap.through.seq.0, true);
    }

    /// True if everything up to the ends has come or was said to be left out.
    pub(crate) fn has_come_to(&self, ends: &Ends) -> bool {
        self.strands.iter().zip(ends).all(|(strand, end)| strand.seq >= end.seq)
    }

    /// Counts what is missing before the ends, and says what there was.
    pub(crate) fn end(&self, ends: &Ends) -> Counted {
        let mut counted = self.counted;
        for (strand, end) in self.strands.iter().zip(ends) {
            if strand.seq < end.seq {
                counted.lost += strand.next.map_or(1, |next| end.count.saturating_sub(next).max(1));
            }
        }
        counted
    }

    /// What there was so far.
    pub(crate) fn counted(&self) -> Counted {
        self.counted
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

    /// Numbers in the room, of the one before, and of the sender.
    fn told(chain: &mut Chain, messages: &[(u64, u64, u64)]) -> Counted {
        messages.iter().for_each(|(seq, prev, nth)| chain.arrived(P, Seq(*seq), Seq(*prev), *nth));
        chain.counted()
    }

    #[test]
    fn what_comes_once_and_in_order_is_fine_wherever_it_begins() {
        let fine = Counted { delivered: 3, ..Counted::default() };
        let mut chain = Chain::from_the_start();
        assert_eq!(told(&mut chain, &[(1, 0, 0), (4, 1, 1), (5, 4, 2)]), fine);
        let mut chain = Chain::behind(Seq(7));
        assert_eq!(told(&mut chain, &[(8, 6, 30), (9, 8, 31), (11, 9, 32)]), fine);
        // Another priority has numbers of its own.
        chain.arrived(Priority::High, Seq(10), Seq(0), 0);
        assert_eq!(chain.counted(), Counted { delivered: 4, ..fine });
        assert!(fine.broken().is_empty());
    }

    #[test]
    fn whatever_breaks_the_chain_is_counted() {
        let one = Counted { delivered: 2, ..Counted::default() };
        for (messages, counted) in [
            (&[(1, 0, 0), (3, 2, 2)][..], Counted { lost: 1, ..one }),
            (&[(1, 0, 0), (2, 1, 1), (2, 1, 1)], Counted { duplicates: 1, ..one }),
            (&[(1, 0, 0), (2, 1, 1), (3, 2, 1)], Counted { duplicates: 1, ..one }),
            (&[(1, 0, 0), (3, 2, 2), (2, 1, 1)], Counted { delivered: 3, misordered: 1, ..one }),
            // The sender knows of nothing in between, the server does.
            (&[(1, 0, 0), (3, 2, 1)], Counted { lost: 1, ..one }),
            (&[(2, 1, 1), (3, 2, 2)], Counted { lost: 1, ..one }),
        ] {
            let mut chain = Chain::from_the_start();
            assert_eq!(told(&mut chain, messages), counted, "{messages:?}");
            assert!(!chain.counted().broken().is_empty());
        }
        let mut late = Chain::behind(Seq(7));
        let counted = told(&mut late, &[(10, 9, 5)]);
        assert_eq!(counted.lost, 1, "the one at 9 was placed in their time");
    }

    #[test]
    fn a_gap_stands_for_what_it_covers_and_for_nothing_else() {
        let mut chain = Chain::from_the_start();
        told(&mut chain, &[(1, 0, 0)]);
        chain.gap(&gap(5, 3));
        let counted = told(&mut chain, &[(6, 5, 4)]);
        assert_eq!(counted, Counted { delivered: 2, dropped: 3, ..Counted::default() });
        chain.gap(&gap(9, 2));
        assert_eq!(told(&mut chain, &[(11, 10, 8)]).lost, 1, "a message behind the gap");
        chain.gap(&gap(9, 2));
        assert_eq!(chain.counted().misordered, 1, "a gap of what is known");
    }

    #[test]
    fn what_is_missing_at_the_end_is_lost() {
        let mut chain = Chain::from_the_start();
        told(&mut chain, &[(1, 0, 0), (2, 1, 1)]);
        let mut ends = Ends::default();
        ends[P.index()] = Newest { seq: 2, count: 2 };
        assert!(chain.has_come_to(&ends));
        assert_eq!(chain.end(&ends).lost, 0);
        ends[P.index()] = Newest { seq: 5, count: 4 };
        assert!(!chain.has_come_to(&ends));
        assert_eq!(chain.end(&ends).lost, 2);
    }
}
