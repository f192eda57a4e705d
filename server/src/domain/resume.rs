//! What a device has missed of a conversation while it had no connection.

use quail_protocol::{
    Position, Priority, Rev, Seq,
    session::{Answer, Cursor, Missed},
};

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its newest position.
    pub position: Position,
    /// The newest number of each priority, zero where there is none.
    pub last_by_priority: [Seq; Priority::COUNT],
    /// The first number that is still kept.
    pub first: Seq,
    /// The number of its last change.
    pub rev: Rev,
}

/// Holds a cursor against the head. `None`: the user is no member.
pub fn answer(cursor: &Cursor, head: Option<Head>) -> Answer {
    let Some(Head { position, last_by_priority, first, rev }) = head else {
        let (missed, head) = (Missed::NotMember, Position::default());
        return Answer { missed, head, first: Seq(0), rev: Rev(0) };
    };
    let told = |priority: Priority| {
        let ahead = cursor.ahead.iter().filter(|ahead| ahead.priority == priority).map(|ahead| ahead.seq);
        ahead.fold(cursor.position.seq, Seq::max)
    };
    let entries = Priority::ALL.iter().any(|priority| last_by_priority[priority.index()] > told(*priority));
    let missing = entries || rev > cursor.rev;
    // A cursor beyond the head was handed out by a history that this one does not continue, whatever its epoch says.
    let beyond = Priority::ALL.iter().any(|priority| told(*priority) > position.seq) || cursor.rev > rev;
    let missed = if cursor.position.epoch != position.epoch || beyond {
        Missed::EpochChanged
    } else if !missing {
        Missed::CaughtUp
    } else if entries && cursor.position.seq.next() < first {
        Missed::Trimmed
    } else {
        Missed::Replay
    };
    Answer { missed, head: position, first, rev }
}

#[cfg(test)]
mod tests {
    use quail_protocol::{Conversation, Epoch, bounded::List, id::UserId, session::Ahead};

    use super::*;

    #[test]
    fn a_cursor_has_exactly_one_of_five_answers() {
        let position = |epoch, seq| Position { epoch: Epoch(epoch), seq: Seq(seq) };
        // Newest numbers: Lowest 4, Low none, Normal 9, High 7. The first that is kept is 3.
        let head = Head {
            position: position(2, 9),
            last_by_priority: [4, 0, 9, 7].map(Seq),
            first: Seq(3),
            rev: Rev(5),
        };
        use Missed::*;
        use Priority::*;
        for (name, epoch, seq, ahead, expected) in [
            ("at the head", 2, 9, &[][..], CaughtUp),
            ("complete by priorities", 2, 3, &[(Lowest, 4), (Normal, 9), (High, 7)][..], CaughtUp),
            ("one priority behind", 2, 4, &[(Normal, 9)], Replay),
            ("the newest is missing", 2, 8, &[], Replay),
            ("the next is the first that is kept", 2, 2, &[], Replay),
            ("the next is gone", 2, 1, &[], Trimmed),
            ("nothing yet", 2, 0, &[], Trimmed),
            ("gone, but told", 2, 1, &[(Lowest, 4), (Normal, 9), (High, 7)], CaughtUp),
            ("older epoch", 1, 9, &[], EpochChanged),
            ("newer epoch", 3, 1, &[], EpochChanged),
            ("beyond the head", 2, 10, &[], EpochChanged),
            ("one priority beyond the head", 2, 9, &[(High, 10)], EpochChanged),
        ] {
            let ahead = ahead.iter().map(|(priority, seq)| Ahead { priority: *priority, seq: Seq(*seq) });
            let cursor = Cursor {
                conversation: Conversation::Peer(UserId::new("bob").unwrap()),
                position: position(epoch, seq),
                ahead: List::new(ahead.collect()).unwrap(),
                rev: Rev(5),
            };
            let answer = super::answer(&cursor, Some(head));
            assert_eq!(
                answer,
                Answer { missed: expected, head: head.position, first: Seq(3), rev: Rev(5) },
                "{name}"
            );
            assert_eq!(super::answer(&cursor, None).missed, NotMember, "{name}");
        }
    }

    #[test]
    fn a_cursor_that_knows_all_entries_may_miss_changes() {
        let position = Position { epoch: Epoch(2), seq: Seq(9) };
        let head = Head { position, last_by_priority: [9; 4].map(Seq), first: Seq(12), rev: Rev(5) };
        for (rev, expected) in
            [(5, Missed::CaughtUp), (4, Missed::Replay), (0, Missed::Replay), (6, Missed::EpochChanged)]
        {
            let conversation = Conversation::Peer(UserId::new("bob").unwrap());
            let cursor = Cursor { conversation, position, ahead: List::default(), rev: Rev(rev) };
            assert_eq!(super::answer(&cursor, Some(head)).missed, expected, "{rev}");
        }
    }

    #[test]
    fn a_conversation_without_entries_is_caught_up_with() {
        let empty = Head {
            position: Position { epoch: Epoch(1), seq: Seq(0) },
            last_by_priority: Default::default(),
            first: Seq(1),
            rev: Rev(0),
        };
        let cursor = Cursor {
            conversation: Conversation::Peer(UserId::new("bob").unwrap()),
            position: empty.position,
            ahead: List::default(),
            rev: Rev(0),
        };
        assert_eq!(super::answer(&cursor, Some(empty)).missed, Missed::CaughtUp);
    }
}
