//! Every operation of rooms.

use futures_util::FutureExt;
use quail_client::Until;
use quail_protocol::{
    Timestamp,
    bounded::Text,
    id::UserId,
    room::{EntryStatus, RestrictionKind, Role, Settings, UpdateInfo},
};

use super::super::Case;

pub(super) const CASES: &[Case] = &[
    ("room.create", |stage| {
        async {
            let room = stage.room().await;
            let exists = room.bobs.create(Settings::default()).await;
            assert!(matches!(exists, Ok(entered) if entered.status == EntryStatus::AlreadyIn));
            assert_eq!(room.alices.info().await.unwrap().owner, *room.alice.user_id());
        }
        .boxed_local()
    }),
    ("room.join", |stage| {
        async {
            let room = stage.room().await;
            room.alices.send("1").await.unwrap();
            assert_eq!(room.bobs.join(5).await.unwrap().recent.len(), 1);
        }
        .boxed_local()
    }),
    ("room.enter", |stage| {
        async {
            let (alice, _events) = stage.connect("alice").await;
            let entered =
                alice.room(stage.user("room")).unwrap().enter(Settings::default(), 5).await.unwrap();
            assert_eq!(entered.status, EntryStatus::Created);
        }
        .boxed_local()
    }),
    ("room.leave", |stage| {
        async {
            let room = stage.room().await;
            let sent = room.alices.send("1").await.unwrap();
            assert_eq!(room.bobs.leave().await.unwrap().last, sent.position);
            assert_eq!(room.alices.info().await.unwrap().members, 1);
        }
        .boxed_local()
    }),
    ("room.leave_all", |stage| {
        async {
            let room = stage.room().await;
            assert_eq!(room.bob.leave_rooms().await.unwrap(), 1);
            assert_eq!(room.bob.leave_rooms().await.unwrap(), 0);
        }
        .boxed_local()
    }),
    ("room.dismiss", |stage| {
        async {
            let room = stage.room().await;
            let sent = room.bobs.send("1").await.unwrap();
            assert_eq!(room.alices.dismiss().await.unwrap().last, sent.position);
        }
        .boxed_local()
    }),
    ("room.update_info", |stage| {
        async {
            let room = stage.room().await;
            let name = Some(Text::new("Lobby").unwrap());
            let id = room.alices.id().clone();
            let update = UpdateInfo { room: id, name, notice: None, avatar: None, extension: None };
            assert_eq!(room.alices.update_info(update).await.unwrap().info.name.as_str(), "Lobby");
        }
        .boxed_local()
    }),
    ("room.switch", |stage| {
        async {
            let room = stage.room().await;
            let sent = room.alices.send("1").await.unwrap();
            let other = room.bob.room(stage.user("other")).unwrap();
            let switched = room.bobs.switch_to(&other, Some(Settings::default()), 0).await.unwrap();
            assert_eq!(
                (switched.entered.status, switched.last),
                (EntryStatus::Created, sent.position),
                "from one into the other"
            );
            assert_eq!(room.alices.info().await.unwrap().members, 1);
        }
        .boxed_local()
    }),
    ("room.query", |stage| {
        async {
            let room = stage.room().await;
            let nobody = UserId::new("nobody").unwrap();
            let asked = [nobody, room.bob.user_id().clone(), room.alice.user_id().clone()];
            let found = room.bobs.members_of(asked.clone()).await.unwrap();
            let found: Vec<_> = found.into_iter().map(|member| (member.user, member.role)).collect();
            let [_, bob, alice] = asked;
            assert_eq!(found, [(bob, Role::Member), (alice, Role::Owner)]);
        }
        .boxed_local()
    }),
    ("room.set_role", |stage| {
        async {
            let room = stage.room().await;
            room.alices.set_role(room.bob.user_id().clone(), Role::Admin, Default::default()).await.unwrap();
            assert_eq!(room.bobs.info().await.unwrap().role, Some(Role::Admin));
        }
        .boxed_local()
    }),
    ("room.transfer", |stage| {
        async {
            let room = stage.room().await;
            room.alices.transfer(room.bob.user_id().clone(), Default::default()).await.unwrap();
            let state = room.alices.info().await.unwrap();
            assert_eq!((state.role, &state.owner), (Some(Role::Member), room.bob.user_id()));
        }
        .boxed_local()
    }),
    ("room.kick", |stage| {
        async {
            let room = stage.room().await;
            room.alices.kick(room.bob.user_id().clone(), Default::default()).await.unwrap();
            assert_eq!(room.alices.info().await.unwrap().members, 1);
            assert_eq!(
                room.bobs.join(0).await.unwrap().status,
                EntryStatus::Joined,
                "who was kicked may come"
            );
        }
        .boxed_local()
    }),
    ("room.ban", |stage| {
        async {
            let room = stage.room().await;
            let ban = |until| room.alices.ban(room.bob.user_id().clone(), until, Default::default());
            ban(Until::End).await.unwrap();
            assert_eq!(room.alices.info().await.unwrap().members, 1);
            ban(Until::Lifted).await.unwrap();
            assert_eq!(room.bobs.join(0).await.unwrap().status, EntryStatus::Joined);
        }
        .boxed_local()
    }),
    ("room.mute", |stage| {
        async {
            let room = stage.room().await;
            let mute = |until| room.alices.mute(room.bob.user_id().clone(), until, Default::default());
            mute(Until::End).await.unwrap();
            room.bobs.send("x").await.unwrap_err();
            mute(Until::Lifted).await.unwrap();
            room.bobs.send("x").await.unwrap();
        }
        .boxed_local()
    }),
    ("room.mute_all", |stage| {
        async {
            let room = stage.room().await;
            room.alices.mute_all(Until::End, [], Default::default()).await.unwrap();
            room.bobs.send("x").await.unwrap_err();
            room.alices.send("x").await.unwrap();
            room.alices.mute_all(Until::End, [Role::Member], Default::default()).await.unwrap();
            room.bobs.send("x").await.unwrap();
        }
        .boxed_local()
    }),
    ("room.restrictions", |stage| {
        async {
            let room = stage.room().await;
            let reason = || Text::new("spam").unwrap();
            room.alices.mute(room.bob.user_id().clone(), Until::End, reason()).await.unwrap();
            let page = room.alices.restrictions(RestrictionKind::Mute, None, 10).await.unwrap();
            let restriction = &page.restrictions[0];
            assert_eq!(
                (&restriction.user, &restriction.operator),
                (room.bob.user_id(), room.alice.user_id())
            );
            assert_eq!((&restriction.reason, restriction.until, page.more), (&reason(), Timestamp(0), false));
            let page = room.alices.restrictions(RestrictionKind::Ban, None, 10).await.unwrap();
            assert_eq!(page.restrictions.len(), 0);
        }
        .boxed_local()
    }),
    ("room.info", |stage| {
        async {
            let state = stage.room().await.bobs.info().await.unwrap();
            assert_eq!((state.members, state.role), (2, Some(Role::Member)));
        }
        .boxed_local()
    }),
    ("room.members", |stage| {
        async {
            let room = stage.room().await;
            let page = room.bobs.members(0, 1).await.unwrap();
            assert_eq!((page.count, &page.members[0].user), (2, room.alice.user_id()));
            let page = room.bobs.members(page.next.unwrap(), 1).await.unwrap();
            assert_eq!((&page.members[0].user, page.next), (room.bob.user_id(), None));
        }
        .boxed_local()
    }),
    ("room.set_attributes", |stage| {
        async {
            let room = stage.room().await;
            let set = room.bobs.set_attributes([("seat", "bob")], Default::default()).await.unwrap();
            assert_eq!((set.version, room.alices.info().await.unwrap().attributes_version), (1, 1));
        }
        .boxed_local()
    }),
    ("room.delete_attributes", |stage| {
        async {
            let room = stage.room().await;
            room.bobs.set_attributes([("seat", "bob")], Default::default()).await.unwrap();
            assert_eq!(room.bobs.delete_attributes(["seat", "none"], false).await.unwrap().version, 2);
            assert!(room.bobs.attributes().await.unwrap().attributes.is_empty());
        }
        .boxed_local()
    }),
    ("room.attributes", |stage| {
        async {
            let room = stage.room().await;
            room.bobs.set_attributes([("b", "2"), ("a", "1")], Default::default()).await.unwrap();
            let page = room.alices.attributes().await.unwrap();
            let pairs: Vec<_> = page
                .attributes
                .iter()
                .map(|held| (held.key.as_str(), &held.value[..], &held.owner))
                .collect();
            let bob = room.bob.user_id();
            assert_eq!((page.version, pairs), (1, vec![("a", &b"1"[..], bob), ("b", &b"2"[..], bob)]));
        }
        .boxed_local()
    }),
    ("room.set_member_attributes", |stage| {
        async {
            let room = stage.room().await;
            let users = [room.bob.user_id().clone(), UserId::new("nobody").unwrap()];
            let set = room.alices.set_member_attributes(users, [("hand", "up")], []).await.unwrap();
            assert_eq!((set.version, set.missing[0].as_str()), (1, "nobody"));
        }
        .boxed_local()
    }),
    ("room.member_attributes", |stage| {
        async {
            let room = stage.room().await;
            room.bobs.set_own_attributes([("hand", "up")]).await.unwrap();
            let users = [room.alice.user_id().clone(), room.bob.user_id().clone()];
            let page = room.alices.member_attributes(users).await.unwrap();
            assert_eq!((page.version, page.answered, page.members[0].attributes.len()), (1, 2, 0));
            assert_eq!(&page.members[1].attributes[0].value[..], b"up");
        }
        .boxed_local()
    }),
    ("room.set_counters", |stage| {
        async {
            let room = stage.room().await;
            let set = room.alices.set_counters([("right", -3), ("wrong", 0)]).await.unwrap();
            assert_eq!((set.version, set.counters[0].value), (1, -3));
            room.alices.delete_counters(["right"]).await.unwrap();
            assert_eq!(room.alices.counters().await.unwrap().counters[..], set.counters[1..]);
        }
        .boxed_local()
    }),
    ("room.increase_counters", |stage| {
        async {
            let room = stage.room().await;
            let increase = room.alices.increase([("right", 2)]).unwrap();
            for told in [1, 2] {
                let stand = room.alice.call(increase.clone()).await.unwrap();
                assert_eq!((stand.version, stand.counters[0].value), (1, 2), "told {told} times");
            }
            assert_eq!(room.alices.increase_counters([("right", -5)]).await.unwrap().counters[0].value, -3);
        }
        .boxed_local()
    }),
    ("room.counters", |stage| {
        async {
            let room = stage.room().await;
            let set = room.alices.set_counters([("right", 1)]).await.unwrap();
            let page = room.bobs.counters().await.unwrap();
            assert_eq!((page.version, page.counters), (set.version, set.counters));
        }
        .boxed_local()
    }),
];
