//! Roles, and putting out, keeping out and muting.

use quail_client::Until;
use quail_protocol::{
    Timestamp,
    room::{RestrictionChanged, RestrictionKind, RoomLeft},
};

use super::*;

async fn out(events: &mut Events) -> RoomLeft {
    next(events, |event| if let Event::RoomLeft(left) = event { Some(left) } else { None }).await
}

async fn restricted(events: &mut Events) -> RestrictionChanged {
    next(events, |event| if let Event::RoomRestrictionChanged(told) = event { Some(told) } else { None })
        .await
}

#[tokio::test]
async fn who_is_put_out_learns_why_on_each_terminal_and_the_others_learn_who() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let id = format!("{carrier:?}");
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let (phone, mut to_phone) = town.connect(carrier, "bob").await;
        let (tablet, mut to_tablet) = town.connect(carrier, "bob").await;
        let alices = room(&alice, &id);
        alices.create(open()).await.unwrap();
        let bob = phone.user_id().clone();
        for (cause, ban) in [(LeaveCause::KickedOut, false), (LeaveCause::Banned, true)] {
            for terminal in [&phone, &tablet] {
                room(terminal, &id).join(0).await.unwrap();
            }
            let spam = Text::new("spam").unwrap();
            if ban {
                alices.ban(bob.clone(), Until::End, spam.clone()).await.unwrap();
            } else {
                alices.kick(bob.clone(), spam.clone()).await.unwrap();
            }
            for events in [&mut to_phone, &mut to_tablet] {
                let told = out(events).await;
                assert_eq!(
                    (told.cause, told.operator, told.reason),
                    (cause, Some(alice.user_id().clone()), spam.clone())
                );
            }
            let told = left(&mut to_alice).await;
            assert_eq!(
                (told.left[0].user.clone(), told.left[0].cause, told.members),
                (bob.clone(), cause, 1)
            );
            assert_eq!(refused(room(&tablet, &id).send("x").await), Code::NotInRoom);
        }
        assert_eq!(refused(room(&phone, &id).join(0).await), Code::BannedFromRoom);
        assert_eq!(refused(room(&phone, &id).enter(open(), 0).await), Code::BannedFromRoom);
        within(alice.close()).await;
    }
}

#[tokio::test]
async fn a_mute_ends_by_itself_and_is_told() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let id = format!("{carrier:?}");
        let (alice, _to_alice) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let (alices, bobs) = (room(&alice, &id), room(&bob, &id));
        alices.create(open()).await.unwrap();
        bobs.join(0).await.unwrap();
        let until = Timestamp(alice.server_time().0 + 1500);
        alices.mute(bob.user_id().clone(), Until::Time(until), Default::default()).await.unwrap();
        assert_eq!(restricted(&mut to_bob).await.until, Some(until));
        let ended = restricted(&mut to_bob).await;
        assert_eq!((ended.kind, ended.until, ended.operator), (RestrictionKind::Mute, None, None));
        bobs.send("at last").await.unwrap();
        let page = alices.restrictions(RestrictionKind::Mute, None, 10).await.unwrap();
        assert_eq!(page.restrictions.len(), 0);
        within(alice.close()).await;
    }
}

#[tokio::test]
async fn a_room_that_was_given_away_is_its_new_owners() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let id = format!("{carrier:?}");
        let (alice, _to_alice) = town.connect(carrier, "alice").await;
        let (bob, _to_bob) = town.connect(carrier, "bob").await;
        let (alices, bobs) = (room(&alice, &id), room(&bob, &id));
        alices.create(open()).await.unwrap();
        bobs.join(0).await.unwrap();
        alices.transfer(bob.user_id().clone(), Default::default()).await.unwrap();
        assert_eq!(refused(alices.kick(bob.user_id().clone(), Default::default()).await), Code::RightMissing);
        assert_eq!(refused(alices.dismiss().await), Code::RightMissing);
        bobs.set_role(alice.user_id().clone(), Role::Admin, Default::default()).await.unwrap();
        alices.leave().await.unwrap();
        assert_eq!(alices.join(0).await.unwrap().state.role, Some(Role::Admin), "roles stay");
        bobs.dismiss().await.unwrap();
        within(alice.close()).await;
    }
}
