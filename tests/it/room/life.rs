//! Coming, going, and what a room says of itself.

use super::*;

#[tokio::test]
async fn what_create_join_and_enter_do_to_each_state_of_a_room() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let (bob, _events) = town.connect(carrier, "bob").await;
        let id = |name: &str| format!("{name}-{carrier:?}");
        use EntryStatus::{AlreadyIn, Created, Joined};
        // Does not exist.
        assert_eq!(refused(room(&alice, &id("none")).join(0).await), Code::RoomNotFound);
        let made = room(&alice, &id("made")).create(open()).await.unwrap();
        assert_eq!((made.status, made.state.role, made.state.members), (Created, Some(Role::Owner), 1));
        let entered = room(&alice, &id("entered")).enter(open(), 10).await.unwrap();
        assert_eq!((entered.status, entered.state.role), (Created, Some(Role::Owner)));
        assert_ne!(entered.state.head.epoch, made.state.head.epoch);
        // Exists, and the caller is out.
        assert_eq!(refused(room(&bob, &id("made")).create(open()).await), Code::RoomExists);
        let joined = room(&bob, &id("made")).join(0).await.unwrap();
        assert_eq!((joined.status, joined.state.role, joined.state.members), (Joined, Some(Role::Member), 2));
        let named = Settings { info: info("another"), ..kept() };
        let entered = room(&bob, &id("entered")).enter(named, 0).await.unwrap();
        assert_eq!(
            (entered.status, entered.state.info.name.as_str()),
            (Joined, ""),
            "only the first decides"
        );
        // Exists, and the caller is in.
        for result in [
            room(&bob, &id("made")).create(open()).await,
            room(&bob, &id("made")).join(0).await,
            room(&bob, &id("made")).enter(open(), 0).await,
        ] {
            assert_eq!(result.unwrap().status, AlreadyIn);
        }
        // Bad arguments.
        assert_eq!(refused(room(&bob, &id("made")).join(51).await), Code::InvalidArgument);
        let for_ever =
            Settings { lifetime: Lifetime { kind: LifetimeKind::WhenEmpty, ms: u64::MAX >> 11 }, ..open() };
        assert_eq!(refused(room(&bob, &id("x")).create(for_ever).await), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_terminal_that_another_one_takes_out_of_a_room_is_told() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (phone, mut to_phone) = town.connect(carrier, "alice").await;
        let (tablet, _to_tablet) = town.connect(carrier, "alice").await;
        let id = format!("{carrier:?}");
        room(&phone, &id).create(kept()).await.unwrap();
        let leave = quail_protocol::room::Leave { room: room(&tablet, &id).id().clone(), all_devices: true };
        room(&tablet, &id).join(0).await.unwrap();
        tablet.call(leave).await.unwrap();
        let told =
            next(&mut to_phone, |event| if let Event::RoomLeft(left) = event { Some(left) } else { None });
        let told = told.await;
        assert_eq!((told.cause, told.operator.as_ref()), (LeaveCause::Left, Some(tablet.user_id())));
        within(phone.close()).await;
        within(tablet.close()).await;
    }
}

#[tokio::test]
async fn who_makes_rooms_and_leaves_them_fills_no_app() {
    let town = Town::with(|config| config.apps.get_mut(FAST).unwrap().rooms.made_per_user = 2).await;
    let (alice, _events) = town.connect(Carrier::ALL[0], "alice").await;
    let (bob, _events) = town.connect(Carrier::ALL[0], "bob").await;
    for id in ["a", "b"] {
        room(&alice, id).create(kept()).await.unwrap();
        room(&bob, id).join(0).await.unwrap();
        room(&alice, id).transfer(bob.user_id().clone(), Default::default()).await.unwrap();
        room(&alice, id).leave().await.unwrap();
    }
    assert_eq!(refused(room(&alice, "c").create(kept()).await), Code::TooManyRooms);
    room(&bob, "c").create(kept()).await.unwrap();
    room(&bob, "a").dismiss().await.unwrap();
    room(&alice, "d").create(kept()).await.unwrap();
}

#[tokio::test]
async fn who_comes_and_goes_is_told_to_those_who_are_in() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let named = town.client(carrier, "bob").name("Bob").avatar("b.png");
        let (bob, _to_bob) = within(named.connect()).await.unwrap();
        room(&alice, "r").enter(open(), 0).await.unwrap();
        room(&bob, "r").enter(open(), 0).await.unwrap();
        let told = joined(&mut to_alice).await;
        let [member] = &told.joined[..] else { panic!("{told:?}") };
        assert_eq!(
            (member.user.as_str(), member.name.as_str(), member.avatar.as_str()),
            ("bob", "Bob", "b.png")
        );
        assert_eq!((member.role, told.count, told.members), (Role::Member, 1, 2));

        let page = room(&alice, "r").members(0, 100).await.unwrap();
        assert_eq!((users(&page.members), page.count), (vec!["alice".to_owned(), "bob".to_owned()], 2));
        assert_eq!(room(&alice, "r").members(0, 0).await.unwrap().members.len(), 0, "their number alone");

        // A second terminal is no second user.
        let (tablet, _to_tablet) = town.connect(carrier, "bob").await;
        room(&tablet, "r").join(0).await.unwrap();
        room(&bob, "r").leave().await.unwrap();
        assert_eq!(refused(room(&bob, "r").leave().await), Code::NotInRoom);
        assert_eq!(room(&alice, "r").info().await.unwrap().members, 2);
        within(tablet.close()).await;
        let told = left(&mut to_alice).await;
        let [gone] = &told.left[..] else { panic!("{told:?}") };
        assert_eq!((gone.user.as_str(), gone.cause, told.members), ("bob", LeaveCause::LoggedOut, 1));
        within(alice.close()).await;
    }
}

#[tokio::test]
async fn the_last_one_out_ends_a_room_and_the_next_of_its_name_is_another() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let r = room(&alice, "r");
        let first = r.enter(open(), 0).await.unwrap();
        r.send("gone with the room").await.unwrap();
        r.leave().await.unwrap();
        assert_eq!(refused(r.join(0).await), Code::RoomNotFound);
        let second = r.enter(kept(), 50).await.unwrap();
        assert!(second.state.head.epoch > first.state.head.epoch && second.recent.is_empty());
        r.send("stays").await.unwrap();
        r.leave().await.unwrap();
        let again = r.join(50).await.unwrap();
        assert_eq!((again.state.head.epoch, again.recent.len()), (second.state.head.epoch, 1), "it is kept");
        r.dismiss().await.unwrap();
        assert_eq!(refused(r.info().await), Code::RoomNotFound);
        assert_eq!(town.metric("quail_rooms").await, 0);
    }
}

#[tokio::test]
async fn whoever_is_in_a_room_that_is_dismissed_learns_it_and_from_whom() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _to_alice) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        room(&alice, "r").create(kept()).await.unwrap();
        room(&bob, "r").join(0).await.unwrap();
        assert_eq!(refused(room(&bob, "r").dismiss().await), Code::RightMissing);
        let dismissed = room(&alice, "r").dismiss_because(Text::new("over").unwrap()).await.unwrap();
        let told =
            next(&mut to_bob, |event| if let Event::RoomLeft(left) = event { Some(left) } else { None })
                .await;
        assert_eq!((told.cause, told.last), (LeaveCause::Dismissed, dismissed.last));
        assert_eq!((told.operator.as_ref(), told.reason.as_str()), (Some(alice.user_id()), "over"));
        assert_eq!(refused(room(&bob, "r").send("hello?").await), Code::NotInRoom);
    }
}

#[tokio::test]
async fn rooms_of_a_user_of_an_app_and_members_of_a_room_are_bounded() {
    let bounded = |config: &mut Config| {
        let rooms = &mut config.apps.get_mut(FAST).unwrap().rooms;
        (rooms.per_user, rooms.per_app, rooms.members_max) = (2, 3, NonZeroU64::new(2));
    };
    let town = Town::with(bounded).await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let (bob, _events) = town.connect(Carrier::WebSocket, "bob").await;
    let (carol, _events) = town.connect(Carrier::Quic, "carol").await;
    for id in ["1", "2"] {
        room(&alice, id).create(kept()).await.unwrap();
    }
    assert_eq!(refused(room(&alice, "3").create(open()).await), Code::TooManyRooms);
    assert_eq!(room(&alice, "2").join(0).await.unwrap().status, EntryStatus::AlreadyIn);
    let (tablet, _events) = town.connect(Carrier::Quic, "alice").await;
    assert_eq!(refused(room(&tablet, "3").create(open()).await), Code::TooManyRooms, "over all terminals");
    room(&bob, "1").join(0).await.unwrap();
    assert_eq!(refused(room(&carol, "1").join(0).await), Code::RoomFull);
    room(&bob, "3").create(kept()).await.unwrap();
    assert_eq!(refused(room(&carol, "4").enter(open(), 0).await), Code::AppRoomsFull);
    assert_eq!(alice.leave_rooms().await.unwrap(), 2);
    room(&carol, "1").join(0).await.unwrap();
}

#[tokio::test]
async fn what_a_room_says_of_itself_is_told_when_it_changes() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _to_alice) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let r = room(&alice, &format!("r-{carrier:?}"));
        r.create(Settings { info: info("Lobby"), ..open() }).await.unwrap();
        let theirs = room(&bob, &format!("r-{carrier:?}"));
        theirs.join(0).await.unwrap();
        let update = || UpdateInfo {
            room: r.id().clone(),
            name: None,
            notice: Some(Text::new("closed at ten").unwrap()),
            avatar: None,
            extension: None,
        };
        assert_eq!(refused(theirs.update_info(update()).await), Code::RightMissing);
        let changed = r.update_info(update()).await.unwrap().info;
        let told =
            next(
                &mut to_bob,
                |event| if let Event::RoomInfoUpdated(told) = event { Some(told) } else { None },
            );
        let told = told.await;
        assert_eq!((&told.info, told.operator.as_str(), told.role), (&changed, "alice", Role::Owner));
        assert_eq!((changed.name.as_str(), changed.notice.as_str()), ("Lobby", "closed at ten"));
        assert_eq!(theirs.info().await.unwrap().info, changed);
        for client in [alice, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn who_is_not_in_a_room_learns_how_it_stands_if_the_app_allows_it_and_never_who_is_in_it() {
    for allowed in [false, true] {
        let open_to_all = |config: &mut Config| {
            config.apps.get_mut(FAST).unwrap().rooms.info_for_outsiders = allowed;
        };
        let town = Town::with(open_to_all).await;
        for carrier in Carrier::ALL {
            let (alice, _events) = town.connect(carrier, "alice").await;
            let (bob, _events) = town.connect(carrier, "bob").await;
            let r = room(&alice, &format!("r-{carrier:?}"));
            r.create(Settings { info: info("Lobby"), ..open() }).await.unwrap();
            let outside = room(&bob, &format!("r-{carrier:?}"));
            let seen = outside.info().await;
            if allowed {
                let seen = seen.unwrap();
                assert_eq!((seen.info.name.as_str(), seen.members, seen.role), ("Lobby", 1, None));
                assert_eq!(refused(room(&bob, "none").info().await), Code::RoomNotFound);
            } else {
                assert_eq!(refused(seen), Code::NotInRoom);
            }
            assert_eq!(refused(outside.members(0, 10).await), Code::NotInRoom);
            let asked = outside.members_of([alice.user_id().clone()]);
            assert_eq!(refused(asked.await), Code::NotInRoom);
            assert_eq!(r.info().await.unwrap().role, Some(Role::Owner));
            for client in [alice, bob] {
                within(client.close()).await;
            }
        }
    }
}
