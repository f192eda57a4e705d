use quail_protocol::{
    Conversation, Position, Priority, Rev, Timestamp,
    bounded::Text,
    frame::{self, Head as FrameHead, Outcome},
    id::{ClientMessageId, RoomId, UserId},
    limits::{FRAME_BYTES_MAX, HISTORY_BYTES_MAX, HISTORY_ENTRIES_MAX},
    message::{Body, Content, Direction, MessageKind, Page, SenderNote},
    room::Role,
};

use super::*;

#[test]
fn a_page_of_messages_with_the_longest_names_fits_a_frame() {
    let position = |seq| Position { epoch: Epoch(u64::MAX), seq: Seq(seq) };
    let note = SenderNote {
        name: Text::new("n".repeat(256)).unwrap(),
        avatar: Text::new("a".repeat(512)).unwrap(),
        role: Role::Member,
    };
    let message = |seq| Message {
        id: MessageId([1; 16]),
        client_id: ClientMessageId([1; 16]),
        conversation: Conversation::Room(RoomId::new("r".repeat(128)).unwrap()),
        sender: UserId::new("s".repeat(64)).unwrap(),
        member: Some(note.clone()),
        position: position(seq),
        prev: Seq(seq - 1),
        ordinal: seq,
        rev: Rev(0),
        recall: None,
        priority: Priority::Normal,
        time: Timestamp(u64::MAX),
        content: Content::new(MessageKind::Text, Body::new(vec![b'x'; 1950]).unwrap()),
    };
    let entries = (1..=HISTORY_ENTRIES_MAX as u64).map(|seq| Ok(message(u64::MAX / 2 + seq)));
    let query = RangeQuery {
        from: Seq(1),
        to: Seq(u64::MAX),
        entries_max: HISTORY_ENTRIES_MAX,
        bytes_max: HISTORY_BYTES_MAX,
        direction: Direction::Forwards,
    };
    let range = Range::fill(Head::empty(Epoch(1)), query, entries).unwrap();
    assert!(range.messages.len() > 50 && range.next.is_some(), "{}", range.messages.len());
    let messages = quail_protocol::bounded::List::new(range.messages).unwrap();
    let page = Page { head: position(9), first: Seq(1), rev: Rev(0), messages, next: range.next };
    let frame = frame::encode(&FrameHead::Reply { request_id: 1, outcome: Outcome::Ok }, &page);
    assert!(frame.len() <= FRAME_BYTES_MAX, "{}", frame.len());
}

#[test]
fn a_few_of_the_oldest_give_way_at_a_time() {
    for (first, newest, keep, expected) in [
        (1, 5, None, 1..1),
        (1, 5, Some(5), 1..1),
        (1, 5, Some(9), 1..1),
        (1, 6, Some(5), 1..2),
        (3, 8, Some(1), 3..8),
        (1, 100, Some(10), 1..17),
        (17, 100, Some(90), 17..17),
        (1, 3, Some(u64::MAX), 1..1),
    ] {
        let mut head = Head::empty(Epoch(1));
        (head.first, head.position.seq) = (Seq(first), Seq(newest));
        assert_eq!(head.trim(keep.and_then(NonZeroU64::new)), expected, "{first} to {newest}, keep {keep:?}");
        assert_eq!(head.first.0, expected.end);
    }
}
