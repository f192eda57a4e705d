//! From one room into another.

use quail_protocol::room::{Standing, StandingCause};

use super::{standing::standings, *};

#[tokio::test]
async fn a_switch_leaves_one_room_and_comes_into_the_other() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let id = |name: &str| format!("{name}-{carrier:?}");
        room(&alice, &id("a")).create(kept()).await.unwrap();
        room(&alice, &id("b")).create(kept()).await.unwrap();
        let said = room(&alice, &id("b")).send("welcome").await.unwrap();
        let (a, b) = (room(&bob, &id("a")), room(&bob, &id("b")));
        a.join(0).await.unwrap();
        let last = room(&alice, &id("a")).send("bye").await.unwrap().position;
        assert_eq!(text(&message(&mut to_bob).await), "bye");
        let switched = a.switch_to(&b, None, 10).await.unwrap();
        assert_eq!((switched.last, switched.entered.status), (last, EntryStatus::Joined));
        assert_eq!(switched.entered.state.head, said.position);
        assert_eq!(switched.entered.recent.iter().map(text).collect::<Vec<_>>(), ["welcome"]);
        let told = left(&mut to_alice).await;
        assert_eq!((told.room.as_str(), told.left[0].cause), (&*id("a"), LeaveCause::Left));
        room(&alice, &id("a")).send("to nobody").await.unwrap();
        room(&alice, &id("b")).send("to bob").await.unwrap();
        assert_eq!(
            text(&message(&mut to_bob).await),
            "to bob",
            "of one room nothing comes, of the other all"
        );
        let (c, settings) = (room(&bob, &id("c")), Settings { info: info("C"), ..open() });
        let made = b.switch_to(&c, Some(settings), 0).await.unwrap().entered;
        assert_eq!((made.status, made.state.info.name.as_str()), (EntryStatus::Created, "C"));
        for client in [alice, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn whoever_is_not_let_into_the_other_room_stays_where_they_are() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let (bob, mut to_bob) = town.connect(Carrier::Quic, "bob").await;
    let (a, banned) = (room(&bob, "a"), room(&alice, "banned"));
    a.create(open()).await.unwrap();
    banned.create(open()).await.unwrap();
    banned.ban(bob.user_id().clone(), quail_client::Until::End, Default::default()).await.unwrap();
    assert_eq!(refused(a.switch_to(&room(&bob, "none"), None, 0).await), Code::RoomNotFound);
    assert_eq!(refused(a.switch_to(&room(&bob, "banned"), Some(open()), 0).await), Code::BannedFromRoom);
    assert_eq!(refused(a.switch_to(&a, None, 0).await), Code::InvalidArgument);
    assert_eq!(refused(a.switch_to(&room(&bob, "none"), Some(open()), 51).await), Code::InvalidArgument);
    assert_eq!(refused(room(&bob, "not-in").switch_to(&a, None, 0).await), Code::NotInRoom);
    assert_eq!(a.info().await.unwrap().members, 1);
    a.send("still here").await.unwrap();
    let told = standings(&mut to_bob, 6).await;
    let failed = |room: &str| (room.to_owned(), Standing::Disconnected, StandingCause::SwitchFailed);
    assert_eq!((&told[3], &told[5]), (&failed("none"), &failed("banned")));
}

#[tokio::test]
async fn whoever_is_in_as_many_rooms_as_they_may_can_switch() {
    let few = |config: &mut Config| config.apps.get_mut(FAST).unwrap().rooms.per_user = 2;
    let town = Town::with(few).await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    for id in ["a", "b"] {
        room(&alice, id).create(kept()).await.unwrap();
    }
    let (a, c) = (room(&alice, "a"), room(&alice, "c"));
    assert_eq!(refused(c.enter(open(), 0).await), Code::TooManyRooms);
    a.switch_to(&c, Some(open()), 0).await.unwrap();
    // With another terminal in the room that is left it would be one more.
    let (tablet, _events) = town.connect(Carrier::Quic, "alice").await;
    room(&tablet, "c").join(0).await.unwrap();
    assert_eq!(refused(c.switch_to(&room(&alice, "d"), Some(open()), 0).await), Code::TooManyRooms);
    assert_eq!(room(&alice, "c").info().await.unwrap().role, Some(Role::Owner));
}
