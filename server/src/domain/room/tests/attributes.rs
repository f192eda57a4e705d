use quail_protocol::{
    bounded::{Blob, List, Text},
    limits::MEMBER_ATTRIBUTES_PAGE_BYTES_MAX,
    room::{AttributesCause, DeleteAttributes, MemberAttribute, Pair, SetAttributes, SetMemberAttributes},
};

use super::*;

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

fn blob<const MAX: usize>(text: &str) -> Blob<MAX> {
    Blob::new(text.to_owned()).unwrap()
}

fn list<T, const MAX: usize>(items: impl IntoIterator<Item = T>) -> List<T, MAX> {
    List::new(items.into_iter().collect()).unwrap()
}

/// Sets pairs that are written as `key=value`; `!` at the end forces, `+` takes over, `?` lets them go with their owner.
fn set(pairs: &str) -> SetAttributes {
    let flag = |flag| pairs.contains(flag);
    let pairs = pairs.trim_end_matches(['!', '+', '?']).split_whitespace().map(|pair| {
        let (key, value) = pair.split_once('=').unwrap();
        Pair { key: text(key), value: blob(value) }
    });
    SetAttributes {
        room: RoomId::new("r").unwrap(),
        set: list(pairs),
        force: flag('!'),
        delete_after_owner_left: flag('?'),
        take_over: flag('+'),
    }
}

fn delete(keys: &str) -> DeleteAttributes {
    let (room, force) = (RoomId::new("r").unwrap(), keys.contains('!'));
    let keys = list(keys.trim_end_matches('!').split_whitespace().map(text));
    DeleteAttributes { room, keys, force }
}

/// All attributes, as `key=value:owner`.
fn all(room: &Room) -> String {
    let shown = room.attributes().attributes.into_vec().into_iter().map(|attribute| {
        let value = String::from_utf8(attribute.value.to_vec()).unwrap();
        format!("{}={value}:{}", attribute.key, attribute.owner)
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn crowd() -> Room {
    let mut room = room();
    for id in ["olga", "a", "b"] {
        come(&mut room, id, 1).unwrap();
    }
    room
}

#[test]
fn an_attribute_is_changed_by_its_owner_by_force_and_by_whom_the_room_trusts() {
    use Code::*;
    for (name, who, change, expected, then) in [
        ("its owner", "a", "k=2", Ok(2), "k=2:a"),
        ("the same once more", "a", "k=1", Ok(1), "k=1:a"),
        ("another", "b", "k=2", Err(AttributeNotOwned), "k=1:a"),
        ("another who would take over", "b", "k=2+", Err(AttributeNotOwned), "k=1:a"),
        ("all or none", "b", "j=1 k=2", Err(AttributeNotOwned), "k=1:a"),
        ("by force", "b", "k=2!", Ok(2), "k=2:a"),
        ("by force, taken over", "b", "k=2+!", Ok(2), "k=2:b"),
        ("the owner of the room", "olga", "k=2", Ok(2), "k=2:a"),
        ("and taken over", "olga", "k=2+", Ok(2), "k=2:olga"),
        ("taken over with the same value", "olga", "k=1+", Ok(2), "k=1:olga"),
        ("who is out", "z", "k=2!", Err(NotInRoom), "k=1:a"),
        ("no key", "a", "=2", Err(InvalidArgument), "k=1:a"),
        ("a key twice", "a", "k=2 k=3", Err(InvalidArgument), "k=1:a"),
        ("nothing", "a", "", Err(InvalidArgument), "k=1:a"),
        ("two more", "b", "i=1 j=1", Ok(2), "i=1:b j=1:b k=1:a"),
        ("three more", "b", "h=1 i=1 j=1", Err(TooManyAttributes), "k=1:a"),
    ] {
        let mut room = crowd();
        room.set_attributes(&user("a"), set("k=1")).unwrap();
        let changed = room.set_attributes(&user(who), set(change));
        assert_eq!(
            changed.as_ref().map(|(changed, _)| changed.version).map_err(|code| *code),
            expected,
            "{name}"
        );
        assert_eq!(all(&room), then, "{name}");
        let told = changed.ok().and_then(|(_, event)| event);
        assert_eq!(told.is_some(), expected == Ok(2), "{name}: what changes nothing is not told");
        if let Some(told) = told {
            assert_eq!((told.version, told.operator, told.deleted.len()), (2, user(who), 0), "{name}");
        }
    }
}

#[test]
fn attributes_are_deleted_under_the_same_rights() {
    use Code::*;
    for (name, who, change, expected, then) in [
        ("its owner", "a", "k", Ok(2), ""),
        ("another", "b", "k", Err(AttributeNotOwned), "k=1:a"),
        ("by force", "b", "k!", Ok(2), ""),
        ("the owner of the room", "olga", "j k", Ok(2), ""),
        ("what is not there", "b", "j", Ok(1), "k=1:a"),
        ("nothing", "b", "", Err(InvalidArgument), "k=1:a"),
        ("who is out", "z", "k!", Err(NotInRoom), "k=1:a"),
    ] {
        let mut room = crowd();
        room.set_attributes(&user("a"), set("k=1")).unwrap();
        let changed = room.delete_attributes(&user(who), delete(change));
        assert_eq!(
            changed.as_ref().map(|(changed, _)| changed.version).map_err(|code| *code),
            expected,
            "{name}"
        );
        assert_eq!(all(&room), then, "{name}");
        if let Some(told) = changed.ok().and_then(|(_, event)| event) {
            assert_eq!(&*told.deleted, [text("k")], "{name}: only what was there");
        }
    }
}

#[test]
fn the_bytes_of_attributes_are_bounded_and_come_back_when_they_go() {
    let mut room = crowd();
    let a = user("a");
    let sized = |key: &str, size: usize| set(&format!("{key}={}", "x".repeat(size)));
    room.set_attributes(&a, sized("k", 59)).unwrap();
    assert_eq!(room.set_attributes(&a, sized("j", 40)).map(drop), Err(Code::AttributesTooLarge));
    room.set_attributes(&a, sized("j", 39)).unwrap();
    assert_eq!(room.set_attributes(&a, sized("i", 0)).map(drop), Err(Code::AttributesTooLarge));
    room.set_attributes(&a, sized("k", 58)).unwrap();
    room.set_attributes(&a, sized("i", 0)).unwrap();
    room.delete_attributes(&a, delete("i j k")).unwrap();
    room.set_attributes(&a, sized("k", 99)).unwrap();
}

#[test]
fn what_goes_with_its_owner_is_told_when_the_last_session_left() {
    let mut room = crowd();
    room.enter(newcomer("a", 2), NOW).unwrap();
    room.set_attributes(&user("a"), set("i=1 j=1?")).unwrap();
    room.set_attributes(&user("a"), set("k=1")).unwrap();
    room.set_attributes(&user("b"), set("j=2+!")).unwrap();
    let leave =
        |room: &mut Room, with| room.leave(Some(&user("a")), session(with), LeaveCause::Left, NOW).unwrap();
    leave(&mut room, 1);
    assert_eq!(room.take_orphaned(), []);
    leave(&mut room, 2);
    let told = room.take_orphaned();
    let [told] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&*told.deleted, told.cause, told.version), (&[text("i")][..], AttributesCause::OwnerLeft, 4));
    assert_eq!((told.operator.as_str(), told.role, told.set.len()), ("a", Role::Member, 0));
    assert_eq!(all(&room), "j=2:b k=1:a");
    assert_eq!(room.state(&Asker::User(user("b"))).attributes_version, 4);
    assert_eq!(room.take_orphaned(), [], "once");
}

fn newcomer(id: &str, with: u8) -> Newcomer {
    let note = SenderNote { name: Default::default(), avatar: Default::default(), role: Role::Member };
    Newcomer { user: user(id), session: session(with), note }
}

/// Sets `key=value` and deletes `-key` of members.
fn of(users: &str, change: &str) -> SetMemberAttributes {
    let (deleted, set): (Vec<_>, Vec<_>) = change.split_whitespace().partition(|part| part.starts_with('-'));
    let set = set.into_iter().map(|pair| {
        let (key, value) = pair.split_once('=').unwrap();
        MemberAttribute { key: text(key), value: blob(value) }
    });
    SetMemberAttributes {
        room: RoomId::new("r").unwrap(),
        users: list(users.split_whitespace().map(user)),
        set: list(set),
        deleted: list(deleted.into_iter().map(|key| text(&key[1..]))),
    }
}

/// Attributes of members, as `user:key=value,key=value`.
fn members(room: &Room, users: &str) -> String {
    let users: Vec<_> = users.split_whitespace().map(user).collect();
    let page = room.member_attributes(&users);
    assert_eq!(usize::from(page.answered), users.len());
    let shown = page.members.into_vec().into_iter().map(|of| {
        let pairs = of
            .attributes
            .iter()
            .map(|pair| format!("{}={}", pair.key, String::from_utf8(pair.value.to_vec()).unwrap()));
        format!("{}:{}", of.user, pairs.collect::<Vec<_>>().join(","))
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn members_say_what_they_like_of_themselves_and_whom_the_room_trusts_of_others() {
    use Code::*;
    for (name, who, users, change, expected, then) in [
        ("oneself", "a", "a", "k=2", Ok(2), "a:k=2 b:"),
        ("the same", "a", "a", "k=1", Ok(1), "a:k=1 b:"),
        ("another", "b", "a", "k=2", Err(RightMissing), "a:k=1 b:"),
        ("another beside oneself", "b", "b a", "k=2", Err(RightMissing), "a:k=1 b:"),
        ("the owner of the room", "olga", "a b", "k=2", Ok(2), "a:k=2 b:k=2"),
        ("one of them is out", "olga", "b z", "k=2", Ok(2), "a:k=1 b:k=2"),
        ("all of them are out", "olga", "z", "k=2", Ok(1), "a:k=1 b:"),
        ("deleted", "a", "a", "-k j=1", Ok(2), "a:j=1 b:"),
        ("nothing to delete", "b", "b", "-k", Ok(1), "a:k=1 b:"),
        ("who is out", "z", "z", "k=1", Err(NotInRoom), "a:k=1 b:"),
        ("of nobody", "olga", "", "k=1", Err(InvalidArgument), "a:k=1 b:"),
        ("of one twice", "olga", "a a", "k=1", Err(InvalidArgument), "a:k=1 b:"),
        ("set and deleted", "a", "a", "k=2 -k", Err(InvalidArgument), "a:k=1 b:"),
        ("nothing", "a", "a", "", Err(InvalidArgument), "a:k=1 b:"),
        ("too many", "a", "a", "i=1 j=1", Err(TooManyAttributes), "a:k=1 b:"),
        ("too large", "a", "a", "j=123456789012345678", Err(AttributesTooLarge), "a:k=1 b:"),
        ("too large together", "olga", "a b", "k=1234567890123456", Err(AttributesTooLarge), "a:k=1 b:"),
    ] {
        let mut room = crowd();
        room.set_member_attributes(&user("a"), of("a", "k=1")).unwrap();
        let changed = room.set_member_attributes(&user(who), of(users, change));
        let version = changed.as_ref().map(|(changed, _)| changed.version).map_err(|code| *code);
        assert_eq!((version, members(&room, "a b")), (expected, then.to_owned()), "{name}");
        let Ok((changed, told)) = changed else { continue };
        let missing: Vec<_> = users.split_whitespace().filter(|id| *id == "z").map(user).collect();
        assert_eq!(changed.missing.into_vec(), missing, "{name}");
        let told = told.map(|told| (told.version, told.users.iter().all(|user| user.as_str() != "z")));
        assert_eq!(told, (expected == Ok(2)).then_some((2, true)), "{name}");
    }
}

#[test]
fn what_a_member_said_is_gone_with_them() {
    let mut room = crowd();
    let large = || of("a", "k=123456789012345678");
    room.set_member_attributes(&user("a"), large()).unwrap();
    let refused = room.set_member_attributes(&user("b"), of("b", "k=123456789012345678"));
    assert_eq!(refused.map(drop), Err(Code::AttributesTooLarge), "together");
    room.leave(Some(&user("a")), session(1), LeaveCause::Left, NOW).unwrap();
    room.set_member_attributes(&user("b"), of("b", "k=123456789012345678")).unwrap();
    come(&mut room, "a", 1).unwrap();
    assert_eq!(members(&room, "a"), "a:");
}

#[test]
fn a_reply_with_what_members_said_fits_in_a_frame() {
    let mut bounds = bounds();
    bounds.members_max = None;
    bounds.capacity = Capacity {
        member_attributes: 30,
        member_attributes_bytes: 4096,
        all_members_bytes: usize::MAX,
        ..bounds.capacity
    };
    let mut room =
        Room::new(RoomId::new("r").unwrap(), Settings::default(), user("olga"), Epoch(7), bounds, NOW);
    let users: Vec<_> = (0..100).map(|number| user(&format!("u{number}"))).collect();
    let pairs = (0..15).map(|key| format!("{key}={}", "x".repeat(256))).collect::<Vec<_>>().join(" ");
    for user in &users {
        come(&mut room, user.as_str(), 1).unwrap();
        room.set_member_attributes(user, of(user.as_str(), &pairs)).unwrap();
    }
    let first = room.member_attributes(&users);
    assert!((40..100).contains(&first.answered), "{}", first.answered);
    assert!(quail_protocol::frame::encode_body(&first).len() < MEMBER_ATTRIBUTES_PAGE_BYTES_MAX + 16);
    let rest = room.member_attributes(&users[first.answered.into()..]);
    assert!(rest.answered > 0 && rest.members[0].user == users[usize::from(first.answered)]);
}
