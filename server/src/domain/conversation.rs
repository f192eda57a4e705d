//! How far a user has come in a conversation, and what of it is kept.

use std::num::NonZeroU64;

use quail_protocol::Seq;

/// Entries that one new entry removes at most.
const TRIM_AT_ONCE: u64 = 16;

/// The first entry that is kept when `head` is new and `first` was kept before, if so many are to be kept: a few are given
/// up at a time, so that an entry stays cheap where the limit was lowered, and more than one, so that it is caught up with.
pub fn kept_from(first: Seq, head: Seq, keep: Option<NonZeroU64>) -> Seq {
    let from = keep.map_or(first.0, |keep| (head.0 + 1).saturating_sub(keep.get()));
    Seq(from.clamp(first.0, first.0 + TRIM_AT_ONCE))
}

/// How far the entries of a conversation reached a user, and how far the user has read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Every entry up to here reached a terminal of the user.
    pub delivered: Seq,
    /// Every entry up to here was read. Not above `delivered`.
    pub read: Seq,
}

impl Marks {
    /// The marks after a user asked for others: never lower than before, never above the newest entry, and what was
    /// read was delivered.
    pub fn advance(self, asked: Self, head: Seq) -> Self {
        Self {
            delivered: self.delivered.max(asked.delivered.max(asked.read).min(head)),
            read: self.read.max(asked.read.min(head)),
        }
    }
}

/// How many messages that count as unread each side of a peer conversation has sent. Messages to oneself stand under
/// `by_low`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Countable {
    /// Those of the user whose id comes first.
    pub by_low: u64,
    /// Those of the other.
    pub by_high: u64,
}

impl Countable {
    /// Counts one more, of the side that sent it.
    pub fn step(&mut self, by_low: bool) {
        let side = if by_low { &mut self.by_low } else { &mut self.by_high };
        *side += 1;
    }

    /// All of them.
    pub fn ordinal(self) -> u64 {
        self.by_low + self.by_high
    }

    /// Those that a reader can have unread: what the other side sent.
    pub fn of_others(self, reader: Reader) -> u64 {
        match reader {
            Reader::Low => self.by_high,
            Reader::High => self.by_low,
            Reader::Both => 0,
        }
    }
}

/// Which side of a peer conversation a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The user whose id comes first.
    Low,
    /// The other.
    High,
    /// Both: it is a conversation with oneself.
    Both,
}

/// How a user sees a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// How far they have come.
    pub marks: Marks,
    /// Countable messages of others up to the read mark.
    pub seen: u64,
}

impl View {
    /// Countable messages of others beyond the read mark, of `of_others` in all.
    pub fn unread(&self, of_others: u64) -> u64 {
        of_others.saturating_sub(self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_others_sent_can_be_unread() {
        let mut countable = Countable::default();
        for by_low in [true, false, false, true, false] {
            countable.step(by_low);
        }
        assert_eq!(countable.ordinal(), 5);
        for (reader, seen, unread) in [
            (Reader::Low, 0, 3),
            (Reader::Low, 2, 1),
            (Reader::High, 0, 2),
            (Reader::High, 9, 0),
            (Reader::Both, 0, 0),
        ] {
            let view = View { seen, ..View::default() };
            assert_eq!(view.unread(countable.of_others(reader)), unread, "{reader:?}, {seen} seen");
        }
    }

    #[test]
    fn marks_go_forwards_up_to_the_head() {
        for (name, before, asked, head, expected) in [
            ("the first", (0, 0), (3, 2), 5, (3, 2)),
            ("delivered alone", (3, 2), (4, 0), 5, (4, 2)),
            ("read is delivered too", (3, 2), (0, 5), 5, (5, 5)),
            ("nothing goes back", (3, 2), (1, 1), 5, (3, 2)),
            ("one goes on, one would go back", (3, 2), (4, 1), 5, (4, 2)),
            ("the same again", (3, 2), (3, 2), 5, (3, 2)),
            ("above the head", (3, 2), (9, 8), 5, (5, 5)),
            ("an empty conversation", (0, 0), (9, 9), 0, (0, 0)),
            ("the largest", (0, 0), (u64::MAX, u64::MAX), 5, (5, 5)),
        ] {
            let marks = |(delivered, read)| Marks { delivered: Seq(delivered), read: Seq(read) };
            assert_eq!(marks(before).advance(marks(asked), Seq(head)), marks(expected), "{name}");
        }
    }
}
