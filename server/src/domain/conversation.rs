//! How far a user has come in a conversation.

use quail_protocol::Seq;

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

#[cfg(test)]
mod tests {
    use super::*;

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
