mod attributes;
mod counters;
mod kept;
mod recall;
mod stored;
mod visitors;

use std::time::Duration;

use quail_protocol::{
    id::{ClientMessageId, MessageId},
    limits::WHEN_EMPTY_MS_MAX,
    message::{Body, Content, Message, MessageKind, Text},
};

use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn session(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn bounds() -> Bounds {
    Bounds {
        restrictions_max: 3,
        admins_max: 2,
        members_max: Some(3),
        keep: Keep { entries_max: 4, bytes_max: 1000, age_ms_max: 1000 },
        allowance: Allowance {
            window: Duration::from_millis(200),
            high: 40,
            normal: 20,
            low: 15,
            lowest: 10,
        },
        capacity: Capacity {
            attributes: 3,
            attributes_bytes: 100,
            member_attributes: 2,
            member_attributes_bytes: 20,
            all_members_bytes: 30,
            counters: 3,
        },
    }
}

fn room_with(lifetime: Lifetime) -> Room {
    let settings = Settings { lifetime, ..Settings::default() };
    Room::new(RoomId::new("r").unwrap(), settings, user("olga"), Epoch(7), bounds(), NOW)
}

fn room() -> Room {
    room_with(Lifetime::default())
}

fn come(room: &mut Room, id: &str, with: u8) -> Result<Came, Code> {
    let note = SenderNote { name: Default::default(), avatar: Default::default(), role: Role::Member };
    room.enter(Newcomer { user: user(id), session: session(with), note }, NOW)
}

fn say(room: &mut Room, id: &str, number: u8, priority: Priority, now: Instant) -> Result<Placed, Refused> {
    let content = Content::new(MessageKind::Text, Text::encode("x").unwrap());
    let (id, client_id) = (user(id), ClientMessageId([number; 16]));
    let sending = Sending { user: id, id: MessageId([number; 16]), client_id, priority, content, hash: 1 };
    room.place(sending, Timestamp(NOW.0 + u64::from(number)), now)
}

#[allow(clippy::disallowed_methods)]
fn now() -> Instant {
    Instant::now()
}

fn seq(placed: Result<Placed, Refused>) -> (u64, u64, Priority) {
    match placed.unwrap() {
        Placed::Message(message) => (message.position.seq.0, message.prev.0, message.priority),
        Placed::Before(place) => panic!("{place:?}"),
    }
}

#[test]
fn a_user_is_in_from_the_first_session_to_the_last() {
    let mut room = room();
    assert_eq!(come(&mut room, "olga", 1), Ok(Came::User));
    assert_eq!(come(&mut room, "olga", 1), Ok(Came::Already));
    assert_eq!(come(&mut room, "olga", 2), Ok(Came::Session));
    let leave = |room: &mut Room, with| room.leave(Some(&user("olga")), session(with), LeaveCause::Left, NOW);
    assert_eq!(leave(&mut room, 1), Ok(false));
    assert_eq!(leave(&mut room, 1), Err(Code::NotInRoom));
    assert_eq!(room.role(&user("olga")), Some(Role::Owner));
    assert_eq!(leave(&mut room, 2), Ok(true));
    assert_eq!((room.count(), room.role(&user("olga"))), (0, None));
}

#[test]
fn a_full_room_takes_more_sessions_and_no_more_users() {
    let mut room = room();
    for (id, expected) in
        [("a", Ok(Came::User)), ("b", Ok(Came::User)), ("c", Ok(Came::User)), ("d", Err(Code::RoomFull))]
    {
        assert_eq!(come(&mut room, id, 1), expected, "{id}");
    }
    assert_eq!(come(&mut room, "a", 2), Ok(Came::Session));
}

#[test]
fn a_room_ends_as_its_lifetime_says() {
    let lifetime = |kind, ms| Lifetime { kind, ms };
    use LifetimeKind::*;
    for (name, lifetime, is_empty, after_ms, ended) in [
        ("empty at once", lifetime(WhenEmpty, 0), true, 0, true),
        ("in use", lifetime(WhenEmpty, 0), false, 9999, false),
        ("empty for a while", lifetime(WhenEmpty, 100), true, 99, false),
        ("empty for long", lifetime(WhenEmpty, 100), true, 100, true),
        ("before its time", lifetime(Until, NOW.0 + 50), true, 49, false),
        ("at its time", lifetime(Until, NOW.0 + 50), false, 50, true),
        ("kept", lifetime(Kept, 0), true, 99_999, false),
    ] {
        let mut room = room_with(lifetime);
        if !is_empty {
            come(&mut room, "a", 1).unwrap();
        }
        assert_eq!(room.has_ended(Timestamp(NOW.0 + after_ms)), ended, "{name}");
    }
    for (fits, lifetime) in [
        (true, Lifetime::default()),
        (true, lifetime(WhenEmpty, WHEN_EMPTY_MS_MAX)),
        (false, lifetime(WhenEmpty, WHEN_EMPTY_MS_MAX + 1)),
        (false, lifetime(Until, NOW.0)),
        (true, lifetime(Until, NOW.0 + 1)),
        (true, lifetime(Kept, 0)),
        (false, lifetime(Kept, 1)),
        (false, lifetime(Unknown(9), 0)),
    ] {
        let settings = Settings { lifetime, ..Settings::default() };
        assert_eq!(check_settings(&settings, NOW).is_ok(), fits, "{lifetime:?}");
    }
}

#[test]
fn messages_get_dense_numbers_and_a_repetition_its_first_place() {
    use Priority::{High, Low};
    let (mut room, now) = (room(), now());
    assert_eq!(say(&mut room, "a", 1, Low, now).unwrap_err().code, Code::NotInRoom);
    come(&mut room, "olga", 1).unwrap();
    let told: Vec<_> = [(1, Low), (2, High), (3, Low)]
        .map(|(id, priority)| seq(say(&mut room, "olga", id, priority, now)))
        .into();
    assert_eq!(told, [(1, 0, Low), (2, 0, High), (3, 1, Low)]);
    let Ok(Placed::Before(place)) = say(&mut room, "olga", 2, High, now) else { panic!("placed twice") };
    assert_eq!((place.position.seq, place.position.epoch), (Seq(2), Epoch(7)));
    let other = Sending {
        user: user("olga"),
        id: MessageId([9; 16]),
        client_id: ClientMessageId([2; 16]),
        priority: High,
        content: Content::new(MessageKind::Text, Default::default()),
        hash: 2,
    };
    assert_eq!(room.place(other, NOW, now).unwrap_err().code, Code::MessageConflict);
    assert_eq!(room.last_by_priority().map(|seq| seq.0), [0, 3, 0, 2]);
}

#[test]
fn members_who_urge_too_often_are_lowered_and_the_owner_is_not() {
    let (mut room, now) = (room(), now());
    come(&mut room, "olga", 1).unwrap();
    come(&mut room, "a", 1).unwrap();
    let got = |room: &mut Room, id: &str, from: u8| {
        (from..from + 4).map(|number| seq(say(room, id, number, Priority::High, now)).2).collect::<Vec<_>>()
    };
    use Priority::{High, Normal};
    assert_eq!(got(&mut room, "a", 1), [High, High, Normal, Normal]);
    assert_eq!(got(&mut room, "olga", 10), [High; 4]);
}

#[test]
fn what_gets_no_number_is_as_urgent_as_its_sender_may_be() {
    let (mut room, now) = (room(), now());
    come(&mut room, "olga", 1).unwrap();
    come(&mut room, "max", 2).unwrap();
    let mut granted = |id, priority| room.pass(&user(id), priority, NOW, now).unwrap().2;
    let max: Vec<_> = (0..3).map(|_| granted("max", Priority::High)).collect();
    assert_eq!(max, [Priority::High, Priority::High, Priority::Normal]);
    assert_eq!(granted("max", Priority::Low), Priority::Low);
    assert_eq!(granted("olga", Priority::High), Priority::High);
}

#[test]
fn the_ring_keeps_no_more_bytes_than_it_may() {
    let mut ring = Ring::new(Keep { entries_max: 9, bytes_max: 1000, age_ms_max: u64::MAX });
    let (mut room, now) = (room(), now());
    come(&mut room, "olga", 1).unwrap();
    let Placed::Message(placed) = say(&mut room, "olga", 1, Priority::Normal, now).unwrap() else { panic!() };
    let of = |seq: u64, bytes: usize| {
        let position = Position { seq: Seq(seq), ..placed.position };
        let content = Content::new(MessageKind::Text, Body::new(vec![b'x'; bytes]).unwrap());
        Message { position, content, ..placed.clone() }
    };
    let kept = |ring: &Ring| ring.first(Seq(99)).0;
    for (seq, bytes, first) in
        [(1, 300, 1), (2, 300, 1), (3, 300, 1), (4, 300, 2), (5, 900, 5), (6, 2000, 100), (7, 1, 7)]
    {
        ring.push(of(seq, bytes));
        assert_eq!(kept(&ring), first, "{seq}");
    }
}

#[test]
fn over_the_budget_a_message_is_refused_with_the_time_to_wait() {
    let (mut room, now) = (room(), now());
    come(&mut room, "a", 1).unwrap();
    for number in 0..10 {
        say(&mut room, "a", number, Priority::Lowest, now).unwrap();
    }
    let refused = say(&mut room, "a", 10, Priority::Lowest, now).unwrap_err();
    assert_eq!((refused.code, refused.wait), (Code::RoomThrottled, Some(Duration::from_millis(200))));
    assert_eq!(seq(say(&mut room, "a", 11, Priority::Normal, now)).0, 11, "a refusal takes no number");
}

#[test]
fn the_ring_keeps_the_newest_and_none_that_are_old() {
    let (mut room, now) = (room(), now());
    come(&mut room, "a", 1).unwrap();
    for number in 1..=6 {
        say(&mut room, "a", number, Priority::Normal, now).unwrap();
    }
    let seqs = |room: &Room, from, to| {
        room.ring().range(Seq(from), Seq(to)).map(|message| message.position.seq.0).collect::<Vec<_>>()
    };
    for (from, to, expected) in [
        (0, 99, &[3, 4, 5, 6][..]),
        (4, 5, &[4, 5]),
        (1, 2, &[]),
        (1, 3, &[3]),
        (7, 9, &[]),
        (5, 4, &[]),
        (u64::MAX, u64::MAX, &[]),
    ] {
        assert_eq!(seqs(&room, from, to), expected, "{from} to {to}");
    }
    let newest = |room: &Room, most| room.ring().newest(most, 1000).len();
    assert_eq!((newest(&room, 2), newest(&room, 50)), (2, 4));
    room.age(Timestamp(NOW.0 + 5 + 1000));
    assert_eq!(seqs(&room, 0, 99), [5, 6]);
    room.age(Timestamp(NOW.0 + 9999));
    assert_eq!((seqs(&room, 0, 99), room.ring().first(room.head().seq)), (vec![], Seq(7)));
    assert!(
        matches!(say(&mut room, "a", 6, Priority::Normal, now), Ok(Placed::Before(_))),
        "five minutes at least"
    );
    room.age(Timestamp(NOW.0 + 5 * 60 * 1000 + 7));
    assert_eq!(seq(say(&mut room, "a", 6, Priority::Normal, now)).0, 7, "forgotten");
}

#[test]
fn who_came_and_went_is_told_together_and_in_an_order_that_is_true() {
    let (mut room, start) = (room(), now());
    let tell = |room: &mut Room, now| {
        let tidings = room.news(now).into_iter().map(|tidings| match tidings {
            Tidings::Joined(joined) => {
                (true, joined.joined.iter().map(|m| m.user.to_string()).collect::<String>())
            }
            Tidings::Left(left) => (false, left.left.iter().map(|gone| gone.user.to_string()).collect()),
        });
        tidings.collect::<Vec<_>>()
    };
    come(&mut room, "a", 1).unwrap();
    assert_eq!(tell(&mut room, start), [(true, "a".into())], "at once in a quiet room");
    let out =
        |room: &mut Room, id: &str| room.leave(Some(&user(id)), session(1), LeaveCause::Left, NOW).unwrap();
    come(&mut room, "b", 1).unwrap();
    out(&mut room, "a");
    come(&mut room, "c", 1).unwrap();
    assert_eq!(tell(&mut room, start + Duration::from_millis(249)), []);
    assert!(room.has_news());
    come(&mut room, "a", 1).unwrap();
    out(&mut room, "b");
    let told = tell(&mut room, start + Duration::from_millis(250));
    let expected = [(true, "bc"), (false, "a"), (true, "a"), (false, "b")];
    assert_eq!(told, expected.map(|(joined, who)| (joined, who.to_owned())));
    assert!(!room.has_news());
}

#[test]
fn members_are_paged_both_ways() {
    let mut room = room();
    for id in ["c", "a", "b"] {
        come(&mut room, id, 1).unwrap();
    }
    let page = |after, limit, newest| {
        let (members, next) = room.members(after, limit, newest);
        (members.iter().map(|member| member.user.to_string()).collect::<String>(), next)
    };
    for (after, limit, newest, users, next) in [
        (0, 9, false, "cab", None),
        (0, 2, false, "ca", Some(2)),
        (2, 2, false, "b", None),
        (0, 2, true, "ba", Some(2)),
        (2, 2, true, "c", None),
        (0, 0, false, "", None),
        (99, 9, false, "", None),
    ] {
        assert_eq!(page(after, limit, newest), (users.to_owned(), next), "{after} {limit} {newest}");
    }
}

#[test]
fn only_who_may_changes_what_the_room_says() {
    let mut room = room();
    come(&mut room, "olga", 1).unwrap();
    come(&mut room, "a", 1).unwrap();
    let update = || UpdateInfo {
        room: RoomId::new("r").unwrap(),
        name: Some(quail_protocol::bounded::Text::new("Lobby").unwrap()),
        notice: None,
        avatar: None,
        extension: None,
    };
    assert_eq!(room.update_info(&user("a"), update()), Err(Code::RightMissing));
    assert_eq!(room.update_info(&user("z"), update()), Err(Code::NotInRoom));
    let updated = room.update_info(&user("olga"), update()).unwrap();
    assert_eq!((updated.info.name.as_str(), updated.role), ("Lobby", Role::Owner));
    assert_eq!(room.state(&Asker::User(user("a"))).info, updated.info);
    assert_eq!(
        (room.may_dismiss(&user("a")), room.may_dismiss(&user("olga"))),
        (Err(Code::RightMissing), Ok(()))
    );
}
