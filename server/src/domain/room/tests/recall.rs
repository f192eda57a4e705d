use quail_protocol::message::Recalled;

use super::*;

const WINDOW: Duration = Duration::from_secs(120);

/// Olga owns, a and b are admins, c and d are members; c's message is number 1, a's 2, olga's 3.
fn talk() -> Room {
    let bounds = Bounds { members_max: None, ..bounds() };
    let mut room =
        Room::new(RoomId::new("r").unwrap(), Settings::default(), user("olga"), Epoch(7), bounds, NOW);
    for (id, with) in [("olga", 1), ("a", 2), ("b", 3), ("c", 4), ("d", 5)] {
        come(&mut room, id, with).unwrap();
    }
    for admin in ["a", "b"] {
        room.set_role(&user("olga"), &user(admin), Role::Admin, Default::default()).unwrap();
    }
    for (id, number) in [("c", 1), ("a", 2), ("olga", 3)] {
        say(&mut room, id, number, Priority::Normal, now()).unwrap();
    }
    room
}

fn at(seq: u64) -> Position {
    Position { epoch: Epoch(7), seq: Seq(seq) }
}

#[test]
fn who_may_take_which_message_back() {
    use Code::*;
    let (soon, late) = (Timestamp(NOW.0 + 1000), Timestamp(NOW.0 + 1_000_000));
    for (name, who, position, time, expected) in [
        ("the sender", "c", at(1), soon, Ok(())),
        ("the sender, late", "c", at(1), late, Err(RecallTooLate)),
        ("another member", "d", at(1), soon, Err(NotSender)),
        ("an admin, late", "a", at(1), late, Ok(())),
        ("an admin of an admin", "b", at(2), soon, Err(RightMissing)),
        ("an admin of the owner", "b", at(3), soon, Err(RightMissing)),
        ("the owner of an admin", "olga", at(2), late, Ok(())),
        ("the owner of their own, late", "olga", at(3), late, Err(RecallTooLate)),
        ("who is out", "z", at(1), soon, Err(NotInRoom)),
        ("of another epoch", "c", Position { epoch: Epoch(6), ..at(1) }, soon, Err(EpochMismatch)),
        ("not there", "olga", at(4), soon, Err(MessageNotFound)),
        ("none", "olga", at(0), soon, Err(MessageNotFound)),
    ] {
        let mut room = talk();
        let result = room.recall(&user(who), position, WINDOW, time);
        assert_eq!(result.as_ref().map(drop).map_err(|code| *code), expected, "{name}");
        let Ok((reply, told)) = result else { continue };
        let changed = told.unwrap();
        assert_eq!(
            (reply, changed.prev, room.rev()),
            (Recalled { rev: Rev(1), time }, Rev(0), Rev(1)),
            "{name}"
        );
        let left = room.ring().get(position.seq).unwrap();
        assert_eq!((left, left.content.body.len()), (&changed.message, 0), "{name}");
        assert_eq!(left.recall.as_ref().unwrap().operator, user(who), "{name}");
        assert_eq!(room.recall(&user(who), position, WINDOW, time), Ok((reply, None)), "{name}, once more");
    }
}

#[test]
fn changes_are_read_in_their_order_as_long_as_their_messages_are_there() {
    let mut room = talk();
    for position in [at(2), at(1)] {
        room.recall(&user("olga"), position, WINDOW, NOW).unwrap();
    }
    let changed = |room: &Room, since| {
        let changes = room.ring().changed(Rev(since));
        changes.map(|(rev, message)| (rev.0, message.unwrap().position.seq.0)).collect::<Vec<_>>()
    };
    assert_eq!(changed(&room, 0), [(1, 2), (2, 1)]);
    assert_eq!(changed(&room, 1), [(2, 1)]);
    // The ring holds four.
    say(&mut room, "c", 4, Priority::Normal, now()).unwrap();
    say(&mut room, "c", 5, Priority::Normal, now()).unwrap();
    assert_eq!(changed(&room, 0), [(1, 2)]);
}
