use std::time::{Duration, Instant};

use quail_protocol::{
    Epoch, Priority,
    id::{ClientMessageId, MessageId, SessionId},
    message::{Content, MessageKind, SenderNote},
    room::Settings,
};

use super::*;
use crate::domain::room::{Allowance, Asker, Bounds, Came, Capacity, Keep, Newcomer, Refused, Sending};

const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn come(room: &mut Room, id: &str) -> Result<Came, Code> {
    let note = SenderNote { name: Default::default(), avatar: Default::default(), role: Role::Member };
    room.enter(Newcomer { user: user(id), session: SessionId([1; 16]), note }, NOW)
}

/// A room with an owner, two admins and two members.
fn room() -> Room {
    let allowance =
        Allowance { window: Duration::from_millis(200), high: 999, normal: 999, low: 999, lowest: 999 };
    let keep = Keep { entries_max: 9, bytes_max: 1000, age_ms_max: u64::MAX };
    let capacity = Capacity {
        attributes: 0,
        attributes_bytes: 0,
        member_attributes: 0,
        member_attributes_bytes: 0,
        all_members_bytes: 0,
        counters: 0,
    };
    let bounds = Bounds { members_max: None, restrictions_max: 3, admins_max: 3, keep, allowance, capacity };
    let id = RoomId::new("r").unwrap();
    let mut room = Room::new(id, Settings::default(), user("owner"), Epoch(1), bounds, NOW);
    for id in ["owner", "admin", "admin2", "member", "member2"] {
        come(&mut room, id).unwrap();
    }
    for id in ["admin", "admin2"] {
        room.set_role(&user("owner"), &user(id), Role::Admin, Reason::default()).unwrap();
    }
    room
}

#[allow(clippy::disallowed_methods)]
fn speak(room: &mut Room, id: &str, at: Timestamp) -> Result<(), Code> {
    let sending = Sending {
        user: user(id),
        id: MessageId([0; 16]),
        client_id: ClientMessageId::at(at.0 + room.head().seq.0, [7; 10]),
        priority: Priority::Normal,
        content: Content::new(MessageKind::Text, Default::default()),
        hash: 0,
    };
    room.place(sending, at, Instant::now()).map(|_| ()).map_err(|Refused { code, .. }| code)
}

fn restrict(kind: RestrictionKind, id: &str, until: Option<u64>) -> Restrict {
    Restrict { kind, user: user(id), until: until.map(Timestamp), reason: Reason::default() }
}

/// Who of owner, admin, member and stranger may do what.
#[test]
fn each_right_is_that_of_its_roles() {
    use Right::*;
    for right in [Urge, UpdateInfo, Values, SetRole, Transfer, Moderate, MuteAll, Dismiss] {
        let expected = match right {
            Urge | UpdateInfo | Values | Moderate | MuteAll => [true, true, false],
            SetRole | Transfer | Dismiss => [true, false, false],
        };
        assert_eq!(
            [Role::Owner, Role::Admin, Role::Member].map(|role| may(role, right)),
            expected,
            "{right:?}"
        );
        let room = room();
        let by = |id: &str| room.operator(&user(id), right).map(|operator| operator.user);
        let refused = |allowed| if allowed { None } else { Some(Code::RightMissing) };
        for (id, allowed) in ["owner", "admin", "member"].into_iter().zip(expected) {
            assert_eq!(by(id).err(), refused(allowed), "{right:?} {id}");
        }
        assert_eq!(by("stranger"), Err(Code::NotInRoom), "{right:?}");
    }
}

#[test]
fn nobody_moderates_who_is_as_much_or_more() {
    for (by, whom, expected) in [
        ("owner", "admin", Ok(())),
        ("owner", "member", Ok(())),
        ("admin", "member", Ok(())),
        ("admin", "admin2", Err(Code::RightMissing)),
        ("admin", "owner", Err(Code::RightMissing)),
        ("owner", "owner", Err(Code::RightMissing)),
        ("member", "member2", Err(Code::RightMissing)),
        ("stranger", "member", Err(Code::NotInRoom)),
    ] {
        assert_eq!(room().may_kick(&user(by), &user(whom)), expected, "{by} kicks {whom}");
        for kind in [RestrictionKind::Ban, RestrictionKind::Mute] {
            let outcome = room().restrict(&user(by), restrict(kind, whom, Some(0)), NOW).map(|_| ());
            assert_eq!(outcome, expected, "{by} {kind:?} {whom}");
        }
    }
    assert_eq!(room().may_kick(&user("owner"), &user("stranger")), Err(Code::MemberNotFound));
    let strangers = restrict(RestrictionKind::Ban, "stranger", Some(0));
    assert!(room().restrict(&user("admin"), strangers, NOW).is_ok(), "who is not there may be kept out");
}

#[test]
fn roles_are_given_by_the_owner_and_stay_when_their_holders_leave() {
    let mut room = room();
    for (by, whom, role, expected) in [
        ("admin", "member", Role::Admin, Err(Code::RightMissing)),
        ("owner", "stranger", Role::Admin, Err(Code::MemberNotFound)),
        ("owner", "owner", Role::Member, Err(Code::InvalidArgument)),
        ("owner", "member", Role::Owner, Err(Code::InvalidArgument)),
        ("owner", "member", Role::Unknown(9), Err(Code::InvalidArgument)),
        ("owner", "member", Role::Admin, Ok(Role::Admin)),
        ("owner", "admin2", Role::Member, Ok(Role::Member)),
    ] {
        let outcome =
            room.set_role(&user(by), &user(whom), role, Reason::default()).map(|changed| changed.role);
        assert_eq!(outcome, expected, "{by} makes {whom} {role:?}");
    }
    let out = quail_protocol::room::LeaveCause::Left;
    room.leave(Some(&user("member")), SessionId([1; 16]), out, NOW).unwrap();
    come(&mut room, "member").unwrap();
    assert_eq!(room.role(&user("member")), Some(Role::Admin));

    assert_eq!(
        room.transfer(&user("owner"), &user("stranger"), Reason::default()).unwrap_err(),
        Code::MemberNotFound
    );
    let changed = room.transfer(&user("owner"), &user("member"), Reason::default()).unwrap();
    assert_eq!((changed.role, changed.operator.role), (Role::Owner, Role::Owner));
    assert_eq!(room.role(&user("owner")), Some(Role::Member));
    assert_eq!(
        (room.role(&user("member")), room.state(&Asker::User(user("member"))).owner),
        (Some(Role::Owner), user("member"))
    );
}

#[test]
fn who_is_muted_may_not_speak_until_it_is_over() {
    let mut room = room();
    let until = NOW.0 + 100;
    room.restrict(&user("admin"), restrict(RestrictionKind::Mute, "member", Some(until)), NOW).unwrap();
    assert_eq!(speak(&mut room, "member", NOW), Err(Code::MutedInRoom));
    assert_eq!(speak(&mut room, "member2", NOW), Ok(()));
    assert_eq!(speak(&mut room, "member", Timestamp(until)), Ok(()), "even before anybody looked");
    assert_eq!(room.expired(Timestamp(until - 1)), []);
    let expired = room.expired(Timestamp(until));
    let [Expired::Restriction(changed)] = &expired[..] else { panic!("{expired:?}") };
    assert_eq!((&changed.user, changed.until, &changed.operator), (&user("member"), None, &None));
    assert_eq!(room.expired(Timestamp(until)), [], "told once");

    room.restrict(&user("admin"), restrict(RestrictionKind::Mute, "member", Some(0)), NOW).unwrap();
    assert_eq!(speak(&mut room, "member", Timestamp(u64::MAX >> 12)), Err(Code::MutedInRoom), "for good");
    room.restrict(&user("owner"), restrict(RestrictionKind::Mute, "member", None), NOW).unwrap();
    assert_eq!(speak(&mut room, "member", NOW), Ok(()));
    let past = restrict(RestrictionKind::Mute, "member", Some(NOW.0));
    assert_eq!(room.restrict(&user("owner"), past, NOW).unwrap_err(), Code::InvalidArgument);
}

#[test]
fn when_everybody_is_muted_the_exempt_and_the_owner_speak() {
    let mut room = room();
    let mute = |until: Option<u64>, exempt: &[Role]| MuteAll {
        room: RoomId::new("r").unwrap(),
        until: until.map(Timestamp),
        exempt: List::new(exempt.to_vec()).unwrap(),
        reason: Reason::default(),
    };
    let speakers = |room: &mut Room| ["owner", "admin", "member"].map(|id| speak(room, id, NOW).is_ok());
    assert_eq!(room.mute_all(&user("member"), mute(Some(0), &[]), NOW).unwrap_err(), Code::RightMissing);
    for (until, exempt, expected) in [
        (Some(0), &[][..], [true, false, false]),
        (Some(0), &[Role::Admin], [true, true, false]),
        (Some(0), &[Role::Member], [true, false, true]),
        (None, &[], [true, true, true]),
    ] {
        room.mute_all(&user("admin"), mute(until, exempt), NOW).unwrap();
        assert_eq!(speakers(&mut room), expected, "{until:?} {exempt:?}");
    }
    room.mute_all(&user("owner"), mute(Some(NOW.0 + 5), &[]), NOW).unwrap();
    assert!(
        matches!(&room.expired(Timestamp(NOW.0 + 5))[..], [Expired::MuteAll(told)] if told.until.is_none())
    );
}

#[test]
fn whoever_is_given_the_room_may_speak_in_it() {
    let mut room = room();
    room.restrict(&user("owner"), restrict(RestrictionKind::Mute, "member", Some(0)), NOW).unwrap();
    assert_eq!(speak(&mut room, "member", NOW), Err(Code::MutedInRoom));
    room.transfer(&user("owner"), &user("member"), Reason::default()).unwrap();
    assert_eq!(speak(&mut room, "member", NOW), Ok(()));
}

#[test]
fn what_ends_at_once_is_told_a_part_at_a_time_and_holds_nobody_meanwhile() {
    let mut room = room();
    room.bounds.restrictions_max = 250;
    let mute = |room: &mut Room, id: &str, now| {
        room.restrict(&user("owner"), restrict(RestrictionKind::Mute, id, Some(NOW.0 + 5)), now).map(|_| ())
    };
    for number in 0..249 {
        mute(&mut room, &format!("u{number}"), NOW).unwrap();
    }
    mute(&mut room, "member", NOW).unwrap();
    assert_eq!(mute(&mut room, "another", NOW), Err(Code::TooManyRestrictions));
    let later = Timestamp(NOW.0 + 5);
    assert_eq!(speak(&mut room, "member", later), Ok(()));
    let another = restrict(RestrictionKind::Mute, "another", Some(0));
    assert!(room.restrict(&user("owner"), another, later).is_ok(), "what is over takes no place");
    let told: Vec<_> = (0..4).map(|_| room.expired(later).len()).collect();
    assert_eq!(told, [100, 100, 50, 0]);
}

#[test]
fn who_is_banned_stays_out_and_the_list_is_bounded() {
    let mut room = room();
    room.restrict(&user("admin"), restrict(RestrictionKind::Ban, "stranger", Some(0)), NOW).unwrap();
    assert_eq!(come(&mut room, "stranger"), Err(Code::BannedFromRoom));
    room.restrict(&user("admin"), restrict(RestrictionKind::Ban, "stranger", None), NOW).unwrap();
    assert_eq!(come(&mut room, "stranger"), Ok(Came::User));
    for number in 0..3 {
        let ban = restrict(RestrictionKind::Ban, &format!("u{number:05}"), Some(0));
        room.restrict(&user("admin"), ban, NOW).unwrap();
    }
    let another = restrict(RestrictionKind::Ban, "another", Some(0));
    assert_eq!(room.restrict(&user("admin"), another, NOW).unwrap_err(), Code::TooManyRestrictions);
    let page = |after: Option<&str>, limit| {
        let after = after.map(user);
        let (page, more) =
            room.restrictions(&user("owner"), RestrictionKind::Ban, after.as_ref(), limit).unwrap();
        (page.len(), page.last().map(|last| last.user.to_string()), more)
    };
    assert_eq!(page(None, 2), (2, Some("u00001".into()), true));
    assert_eq!(page(Some("u00001"), 100), (1, Some("u00002".into()), false));
    let by_member = room.restrictions(&user("member"), RestrictionKind::Ban, None, 1);
    assert_eq!(by_member.unwrap_err(), Code::RightMissing);
}

#[test]
fn there_are_so_many_admins_and_one_who_was_makes_room() {
    let mut room = room();
    let set = |room: &mut Room, id: &str, role| {
        room.set_role(&user("owner"), &user(id), role, Reason::default()).map(drop)
    };
    assert_eq!(set(&mut room, "member", Role::Admin), Ok(()));
    assert_eq!(set(&mut room, "member2", Role::Admin), Err(Code::TooManyAdmins));
    assert_eq!(set(&mut room, "admin", Role::Admin), Ok(()), "who is one is no more");
    assert_eq!(set(&mut room, "admin", Role::Member), Ok(()));
    assert_eq!(set(&mut room, "member2", Role::Admin), Ok(()));
}
