//! Where a client stands with its rooms, and why.

use Standing::{Connected, Connecting, Disconnected};
use StandingCause::*;
use quail_protocol::room::{RoomStateChanged, Standing, StandingCause, StandingDetail};

use super::*;

pub(super) async fn standing(events: &mut Events) -> RoomStateChanged {
    next(events, |event| if let Event::RoomStateChanged(changed) = event { Some(changed) } else { None })
        .await
}

/// The next changes, as the name of the room, the state and the cause.
pub(super) async fn standings(events: &mut Events, count: usize) -> Vec<(String, Standing, StandingCause)> {
    let mut all = vec![];
    for _ in 0..count {
        let RoomStateChanged { room, state, cause, .. } = standing(events).await;
        all.push((room.to_string(), state, cause));
    }
    all
}

#[tokio::test]
async fn an_app_is_told_where_it_stands_with_its_rooms() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let r = room(&alice, "r");
        r.create(kept()).await.unwrap();
        let theirs = room(&bob, "r");
        assert_eq!(refused(room(&bob, "none").join(0).await), Code::RoomNotFound);
        theirs.join(0).await.unwrap();
        theirs.leave().await.unwrap();
        theirs.enter(open(), 0).await.unwrap();
        r.kick(bob.user_id().clone(), Text::new("enough").unwrap()).await.unwrap();
        let told = standings(&mut to_bob, 8).await;
        let expected = [
            ("none", Connecting, Entering),
            ("none", Disconnected, NotFound),
            ("r", Connecting, Entering),
            ("r", Connected, Success),
            ("r", Disconnected, Left),
            ("r", Connecting, Entering),
            ("r", Connected, Success),
        ];
        let (last, before) = told.split_last().unwrap();
        assert_eq!(before, expected.map(|(room, state, cause)| (room.to_owned(), state, cause)));
        assert_eq!(*last, ("r".to_owned(), Disconnected, KickedOut));
        theirs.join(0).await.unwrap();
        r.dismiss().await.unwrap();
        assert_eq!(standings(&mut to_bob, 3).await[2].2, Dismissed);
        let told = standings(&mut to_alice, 3).await;
        assert_eq!(told.iter().map(|told| told.2).collect::<Vec<_>>(), [Creating, Success, Dismissed]);
        for client in [alice, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn why_a_client_is_put_out_is_said_and_a_login_elsewhere_is_no_kick() {
    let town = Town::with(|config| {
        config.apps.get_mut(FAST).unwrap().multi_login = quail_server::apps::MultiLogin::default();
    })
    .await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let (bob, mut to_bob) = town.connect(Carrier::Quic, "bob").await;
    room(&alice, "r").create(open()).await.unwrap();
    room(&bob, "r").join(0).await.unwrap();
    let r = room(&alice, "r");
    let ban = r.ban(bob.user_id().clone(), quail_client::Until::End, Text::new("spam").unwrap());
    ban.await.unwrap();
    room(&bob, "s").create(open()).await.unwrap();
    let kicked = loop {
        let changed = standing(&mut to_bob).await;
        if changed.state == Disconnected {
            break changed;
        }
    };
    let operator = Some(alice.user_id().clone());
    let detail =
        StandingDetail::PutOut { cause: LeaveCause::Banned, operator, reason: Text::new("spam").unwrap() };
    assert_eq!((kicked.cause, kicked.detail), (KickedOut, detail));
    // A second terminal of the same kind takes the place of the first.
    let (_other, _events) = town.connect(Carrier::Quic, "bob").await;
    let told = standings(&mut to_bob, 3).await;
    assert_eq!(told[2], ("s".to_owned(), Disconnected, Displaced));
    assert_eq!(within(to_bob.recv()).await, None, "nothing follows");
}
