//! Removing the messages of a room that is over, some at a time.

use quail_protocol::{Rev, Seq};

use super::{ConversationKey, Head};

/// A step of removing a conversation to which nothing is added any more, in this batch neither. Rows against duplicates
/// stay until they are too old.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forget {
    /// Which.
    pub key: ConversationKey,
    /// Entries, and notes of changes, that are removed at most.
    pub entries_max: u64,
}

/// What a step of [`Forget`] removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Entries.
    pub entries: u64,
    /// True if more of it is there.
    pub more: bool,
}

/// What a step removes: numbers of entries and of changes. The head holds how far it came, so that the next step goes on
/// there, whoever makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) entries: std::ops::Range<u64>,
    pub(super) changes: std::ops::Range<u64>,
    /// What is left: `None` if nothing is.
    pub(super) head: Option<Head>,
}

impl Step {
    /// The next step: the oldest entries first, then the newest changes.
    pub(super) fn of(mut head: Head, entries_max: u64) -> Self {
        let first = head.first.0;
        let end = (head.position.seq.0 + 1).min(first.saturating_add(entries_max));
        let entries = first..end.max(first);
        head.first = Seq(entries.end);
        let last = head.rev.0;
        let changes = last - last.min(entries_max - (entries.end - entries.start)) + 1..last + 1;
        head.rev = Rev(changes.start - 1);
        let is_empty = head.first > head.position.seq && head.rev == Rev(0);
        Self { entries, changes, head: (!is_empty).then_some(head) }
    }

    /// What it did.
    pub(super) fn forgotten(&self) -> Forgotten {
        Forgotten { entries: self.entries.end - self.entries.start, more: self.head.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use quail_protocol::{Epoch, Position};

    use super::*;

    #[test]
    fn steps_remove_all_of_it_and_each_of_them_only_so_much() {
        for (name, first, last, rev, expected) in [
            ("nothing", 1, 0, 0, &[(1..1, 1..1)][..]),
            ("a few", 3, 5, 1, &[(3..6, 1..2)]),
            ("as many as fit", 1, 4, 0, &[(1..5, 1..1)]),
            ("entries, then changes from the end", 2, 7, 3, &[(2..6, 4..4), (6..8, 2..4), (8..8, 1..2)]),
            ("none but changes", 9, 8, 5, &[(9..9, 2..6), (9..9, 1..2)]),
        ] {
            let position = Position { epoch: Epoch(1), seq: Seq(last) };
            let mut head = Some(Head { position, first: Seq(first), rev: Rev(rev), ..Head::empty(Epoch(1)) });
            let mut steps = vec![];
            while let Some(left) = head {
                let step = Step::of(left, 4);
                assert_eq!(step.forgotten().more, step.head.is_some(), "{name}");
                steps.push((step.entries, step.changes));
                head = step.head;
            }
            assert_eq!(steps, expected, "{name}");
        }
    }
}
