use quail_protocol::{
    bounded::{Blob, List, Text},
    room::{DeleteAttributes, MuteAll, Pair, RestrictionKind, SetAttributes},
};

use super::*;

/// What a store would hold of a room.
type Shelf = BTreeMap<Vec<u8>, Vec<u8>>;

fn keep(shelf: &mut Shelf, rows: Rows) {
    for (name, value) in rows {
        match value {
            Some(value) => _ = shelf.insert(name, value),
            None => _ = shelf.remove(&name),
        }
    }
}

fn restored(shelf: &Shelf, back_until: Timestamp) -> Result<Option<Room>, Unreadable> {
    let rows: Vec<_> = shelf.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    Room::restored(RoomId::new("r").unwrap(), &rows, Epoch(8), bounds(), (NOW, back_until))
}

fn with_everything() -> Room {
    let mut room = room();
    come(&mut room, "olga", 1).unwrap();
    come(&mut room, "a", 2).unwrap();
    room.set_role(&user("olga"), &user("a"), Role::Admin, Default::default()).unwrap();
    for kind in [RestrictionKind::Ban, RestrictionKind::Mute] {
        let restrict =
            Restrict { kind, user: user("b"), until: Some(Timestamp(0)), reason: Default::default() };
        room.restrict(&user("olga"), restrict, NOW).unwrap();
    }
    let set = |key: &str, delete_after_owner_left| SetAttributes {
        room: RoomId::new("r").unwrap(),
        set: List::new(vec![Pair { key: Text::new(key).unwrap(), value: Blob::new("v").unwrap() }]).unwrap(),
        force: false,
        delete_after_owner_left,
        take_over: false,
    };
    room.set_attributes(&user("a"), set("stays", false)).unwrap();
    room.set_attributes(&user("a"), set("goes", true)).unwrap();
    let exempt = List::new(vec![Role::Admin]).unwrap();
    let mute =
        MuteAll { room: room.id.clone(), until: Some(Timestamp(0)), exempt, reason: Default::default() };
    room.mute_all(&user("olga"), mute, NOW).unwrap();
    room
}

fn keys(room: &Room) -> Vec<String> {
    room.attributes().attributes.iter().map(|attribute| attribute.key.to_string()).collect()
}

#[test]
fn rows_are_marked_as_they_change_and_removed_with_the_room() {
    let mut shelf = Shelf::new();
    let mut room = with_everything();
    keep(&mut shelf, room.take_touched());
    let names: Vec<_> = shelf.keys().map(|name| (name[0], str::from_utf8(&name[1..]).unwrap())).collect();
    let all = [(0, ""), (1, "a"), (2, "b"), (3, "b"), (4, "goes"), (4, "stays"), (5, "")];
    assert_eq!(names, all);
    assert!(!room.is_touched());

    let again = restored(&shelf, NOW).unwrap().unwrap();
    let mut once_more = Shelf::new();
    keep(&mut once_more, again.all_rows().map(|row| (row.name(), again.row(&row))).collect());
    // Counters are written only when there are some.
    once_more.remove(&Row::Counters.name());
    assert_eq!(once_more, shelf);

    let keys = List::new(vec![Text::new("stays").unwrap()]).unwrap();
    room.delete_attributes(&user("a"), DeleteAttributes { room: room.id.clone(), keys, force: false })
        .unwrap();
    keep(&mut shelf, room.take_touched());
    assert!(!shelf.contains_key(&Row::Attribute(Text::new("stays").unwrap()).name()));
    keep(&mut shelf, room.wiped());
    assert_eq!(shelf, Shelf::new());
    assert!(restored(&shelf, NOW).unwrap().is_none());
}

#[test]
fn a_room_that_was_kept_waits_for_those_who_were_in_it() {
    let mut shelf = Shelf::new();
    keep(&mut shelf, with_everything().take_touched());
    let until = Timestamp(NOW.0 + 1000);
    let mut room = restored(&shelf, until).unwrap().unwrap();
    assert_eq!(
        (room.count(), room.head(), room.has_ended(NOW)),
        (0, Position { epoch: Epoch(8), seq: Seq(0) }, false)
    );
    assert!(room.has_ended(until));
    // Somebody came back, and not whose attribute goes with them.
    come(&mut room, "olga", 1).unwrap();
    room.age(Timestamp(until.0 - 1));
    assert_eq!(keys(&room), ["goes", "stays"]);
    room.age(until);
    assert_eq!(keys(&room), ["stays"]);
    assert_eq!(room.take_orphaned().len(), 1, "which is told");
    assert!(!room.has_ended(until));

    let mut room = restored(&shelf, until).unwrap().unwrap();
    assert_eq!(come(&mut room, "b", 1), Err(Code::BannedFromRoom));
    come(&mut room, "a", 2).unwrap();
    assert_eq!(room.role(&user("a")), Some(Role::Admin));
    room.age(until);
    assert_eq!(keys(&room), ["goes", "stays"]);
}

#[test]
fn the_first_who_comes_back_and_leaves_ends_no_room_for_the_others() {
    let mut shelf = Shelf::new();
    keep(&mut shelf, with_everything().take_touched());
    let until = Timestamp(NOW.0 + 1000);
    let mut room = restored(&shelf, until).unwrap().unwrap();
    for id in ["olga", "stranger"] {
        come(&mut room, id, 1).unwrap();
        room.leave(Some(&user(id)), session(1), LeaveCause::Left, Timestamp(NOW.0 + 1)).unwrap();
        assert!(!room.has_ended(Timestamp(until.0 - 1)), "{id}");
    }
    assert!(room.has_ended(until));
    come(&mut room, "a", 2).unwrap();
    room.age(until);
    room.leave(Some(&user("a")), session(2), LeaveCause::Left, Timestamp(until.0 + 1)).unwrap();
    assert!(room.has_ended(Timestamp(until.0 + 1)), "from then on as ever");
}

#[test]
fn rows_that_say_something_else_are_refused() {
    let mut shelf = Shelf::new();
    keep(&mut shelf, with_everything().take_touched());
    for (name, row, value) in [
        ("a kind that is not known", vec![9], vec![]),
        ("no name", vec![], vec![]),
        ("a user that cannot be", vec![1], vec![]),
        ("a ban of somebody else", Row::Ban(user("c")).name(), shelf[&Row::Ban(user("b")).name()].clone()),
        ("a torn value", Row::Whole.name(), shelf[&Row::Whole.name()][..9].to_vec()),
    ] {
        let mut damaged = shelf.clone();
        damaged.insert(row, value);
        assert!(restored(&damaged, NOW).is_err(), "{name}");
    }
}
