use super::*;

fn note() -> SenderNote {
    SenderNote { name: Default::default(), avatar: Default::default(), role: Role::Member }
}

fn counts(room: &Room) -> (u64, u64) {
    let state = room.state(&Asker::Visitor(session(9)));
    (state.members, state.visitors)
}

#[test]
fn a_visitor_is_counted_told_of_to_nobody_and_keeps_nothing_alive() {
    let (mut room, start) = (room(), now());
    come(&mut room, "olga", 1).unwrap();
    room.news(start);
    assert!(room.visit(session(9)));
    assert!(!room.visit(session(9)), "once");
    assert_eq!(counts(&room), (1, 1));
    assert!(!room.has_news());
    assert_eq!(room.is_in(&Asker::Visitor(session(9))), Ok(()));
    assert_eq!(room.is_in(&Asker::Visitor(session(1))), Err(Code::NotInRoom), "a member's session");
    assert_eq!(room.is_in(&Asker::User(user("anna"))), Err(Code::NotInRoom));
    room.leave(Some(&user("olga")), session(1), LeaveCause::Left, NOW).unwrap();
    assert!(room.has_ended(NOW), "nobody is in it who counts");
    room.news(start + Duration::from_secs(1));
    assert_eq!(room.leave(None, session(9), LeaveCause::Left, NOW), Ok(true));
    assert_eq!(room.leave(None, session(9), LeaveCause::Left, NOW), Err(Code::NotInRoom));
    assert!(!room.has_news());
}

#[test]
fn visitors_take_no_place_of_a_member_and_need_one_to_become_one() {
    let mut room = room();
    for number in 10..20 {
        assert!(room.visit(session(number)));
    }
    for (number, id) in ["olga", "b", "c"].into_iter().enumerate() {
        come(&mut room, id, number as u8).unwrap();
    }
    let promote = |room: &mut Room, id: &str, number| {
        room.promote(Newcomer { user: user(id), session: session(number), note: note() }, NOW)
    };
    assert_eq!(promote(&mut room, "d", 10), Err(Code::RoomFull));
    assert_eq!(counts(&room), (3, 10), "still a visitor");
    assert_eq!(promote(&mut room, "c", 10), Ok(Came::Session), "with one more session of a member");
    room.leave(Some(&user("b")), session(1), LeaveCause::Left, NOW).unwrap();
    assert_eq!(promote(&mut room, "d", 11), Ok(Came::User));
    assert_eq!(counts(&room), (3, 8));
    assert!(room.has_news(), "a member who comes is told of");
    // Whoever ended before they were a member leaves as the visitor that they were.
    assert_eq!(room.leave(Some(&user("e")), session(12), LeaveCause::LoggedOut, NOW), Ok(true));
    assert_eq!(counts(&room), (3, 7));
}
