use std::num::NonZeroU64;

use quail_protocol::{
    Conversation,
    message::{Message, RecallNote},
};

use super::*;
use crate::domain::resume::Head;

/// Olga's, who owns it; a is an admin, and b and c are members.
fn stored() -> Room {
    let settings = Settings { history: RoomHistory::Stored, ..Settings::default() };
    let bounds = Bounds { members_max: None, ..bounds() };
    let mut room = Room::new(RoomId::new("r").unwrap(), settings, user("olga"), Epoch(7), bounds, NOW);
    for (id, with) in [("olga", 1), ("a", 2), ("b", 3), ("c", 4)] {
        come(&mut room, id, with).unwrap();
    }
    room.set_role(&user("olga"), &user("a"), Role::Admin, Default::default()).unwrap();
    room
}

fn placed(seq: u64, priority: Priority) -> Message {
    Message {
        id: MessageId([1; 16]),
        client_id: ClientMessageId([1; 16]),
        conversation: Conversation::Room(RoomId::new("r").unwrap()),
        sender: user("b"),
        member: None,
        position: Position { epoch: Epoch(7), seq: Seq(seq) },
        prev: Seq(0),
        ordinal: seq,
        rev: Rev(0),
        recall: None,
        priority,
        time: NOW,
        content: Content::new(MessageKind::Text, Text::encode("x").unwrap()),
    }
}

fn numbers(room: &Room) -> Vec<u64> {
    room.ring().newest(9, 1000).iter().map(|message| message.position.seq.0).collect()
}

#[test]
fn a_room_is_kept_as_its_settings_say_and_not_as_some_later_build_may() {
    for (history, fits, under) in [
        (RoomHistory::Ring, true, None),
        (RoomHistory::Stored, true, Some(Epoch(7))),
        (RoomHistory::Unknown(3), false, None),
        (RoomHistory::Unknown(0), false, None),
    ] {
        let settings = Settings { history, ..Settings::default() };
        assert_eq!(check_settings(&settings, NOW).is_ok(), fits, "{history:?}");
        let room = Room::new(RoomId::new("r").unwrap(), settings, user("olga"), Epoch(7), bounds(), NOW);
        assert_eq!((room.stored_under(), room.state(&Asker::User(user("olga"))).history), (under, history));
    }
}

#[test]
fn a_room_follows_what_the_store_places_and_keeps() {
    let mut room = stored();
    let keep = NonZeroU64::new(5);
    use Priority::{High, Low};
    for (seq, priority, keep, first, newest) in [
        (1, Low, None, 1, &[1][..]),
        (2, High, keep, 1, &[1, 2]),
        (3, Low, keep, 1, &[1, 2, 3]),
        (5, Low, keep, 1, &[1, 2, 3, 5]),
        (6, Low, keep, 2, &[2, 3, 5, 6]),
        (7, Low, keep, 3, &[3, 5, 6, 7]),
        (8, Low, None, 3, &[5, 6, 7, 8]),
        (99, Low, keep, 19, &[99]),
    ] {
        room.placed(&placed(seq, priority), keep);
        let state = room.state(&Asker::User(user("b")));
        assert_eq!((state.head.seq.0, state.first.0, room.first().0), (seq, first, first), "{seq}");
        assert_eq!(numbers(&room), newest, "{seq}: what a ring holds");
    }
    assert_eq!(room.last_by_priority(), [0, 99, 0, 2].map(Seq));
    room.age(Timestamp(NOW.0 + 1_000_000));
    assert_eq!(numbers(&room), [99], "what is kept does not get too old");
}

#[test]
fn a_room_follows_what_the_store_takes_back() {
    let mut room = stored();
    for seq in 1..=5 {
        room.placed(&placed(seq, Priority::Normal), None);
    }
    // The first is in the ring no more.
    for (seq, rev, left) in [(3, 1, Some(0)), (1, 2, None)] {
        let note = RecallNote { operator: user("olga"), time: NOW };
        let message = Message { recall: Some(note), rev: Rev(rev), ..placed(seq, Priority::Normal) };
        room.changed(&message);
        assert_eq!(room.rev(), Rev(rev));
        assert_eq!(room.ring().get(Seq(seq)).map(|message| message.content.body.len()), left);
    }
}

#[test]
fn who_may_take_back_what_whom_says() {
    let room = stored();
    for (by, sender, expected) in [
        ("b", "b", Ok(false)),
        ("olga", "olga", Ok(false)),
        ("b", "c", Ok(false)),
        ("a", "b", Ok(true)),
        ("olga", "a", Ok(true)),
        ("olga", "who is out", Ok(true)),
        ("a", "olga", Err(Code::RightMissing)),
        ("who is out", "b", Err(Code::NotInRoom)),
    ] {
        let (by, sender) = (by.replace(' ', "-"), sender.replace(' ', "-"));
        assert_eq!(room.moderates(&user(&by), &user(&sender)), expected, "{by} {sender}");
    }
}

#[test]
fn a_room_that_was_kept_goes_on_where_the_store_is() {
    let row = stored().row(&Row::Whole).unwrap();
    let rows = [(Row::Whole.name(), row)];
    let until = Timestamp(NOW.0 + 1000);
    let restored = Room::restored(RoomId::new("r").unwrap(), &rows, Epoch(9), bounds(), (NOW, until));
    let mut room = restored.unwrap().unwrap();
    assert_eq!(room.stored_under(), Some(Epoch(7)), "whatever epoch the others begin anew under");
    let head = Head {
        position: Position { epoch: Epoch(7), seq: Seq(40) },
        last_by_priority: [0, 39, 40, 2].map(Seq),
        first: Seq(3),
        rev: Rev(6),
    };
    room.go_on(head, (31..=40).map(|seq| placed(seq, Priority::Normal)).collect());
    let state = room.state(&Asker::User(user("b")));
    assert_eq!((state.head, state.first, state.rev), (head.position, head.first, head.rev));
    assert_eq!((room.last_by_priority(), numbers(&room)), (head.last_by_priority, vec![37, 38, 39, 40]));
    let again = (Row::Whole.name(), room.row(&Row::Whole).unwrap());
    assert_eq!(again, rows[0], "and the next start finds it so");

    room.stored = None;
    let torn = [(Row::Whole.name(), room.row(&Row::Whole).unwrap())];
    let restored = Room::restored(RoomId::new("r").unwrap(), &torn, Epoch(9), bounds(), (NOW, until));
    assert!(restored.is_err(), "its settings say that there are messages");
}
