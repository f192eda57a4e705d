//! Sessions of nobody, who read along.

mod lost;

use quail_client::{AttributeOptions, Cause, ConnectError, State, Until};
use quail_protocol::{
    bounded::List,
    room::{Standing, StandingCause},
    session::{Missed, Resume, VISITOR_PREFIX},
};
use quail_tests::{
    raw,
    token::{self, Token},
};

use super::{standing::standings, *};

async fn visit(town: &Town, carrier: Carrier) -> (Client, Events) {
    within(town.visitor(carrier).connect()).await.expect("a visitor connects")
}

/// A visitor becomes a user.
async fn log_in(visitor: &Client, user: &str) -> Result<Client, ConnectError> {
    let token = Token::new(FAST, user).sign();
    within(visitor.log_in(user, move || {
        let token = token.clone();
        async move { Ok(token) }
    }))
    .await
}

#[tokio::test]
async fn a_visitor_reads_along_is_counted_and_not_listed() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let r = room(&alice, "r");
        r.create(open()).await.unwrap();
        r.send("1").await.unwrap();
        r.set_attributes([("k", "v")], AttributeOptions::default()).await.unwrap();
        let (visitor, mut events) = visit(&town, carrier).await;
        assert!(visitor.user_id().as_str().starts_with(VISITOR_PREFIX));
        let theirs = room(&visitor, "r");
        assert_eq!(refused(theirs.info().await), Code::NotInRoom, "not in it yet");
        let entered = theirs.join(5).await.unwrap();
        assert_eq!(entered.recent.iter().map(text).collect::<Vec<_>>(), ["1"]);
        let r2 = r.send("2").await.unwrap();
        assert_eq!(text(&message(&mut events).await), "2");
        assert_eq!(theirs.history(1..).await.unwrap().messages.len(), 2);
        assert_eq!(theirs.attributes().await.unwrap().attributes.len(), 1);
        let state = theirs.info().await.unwrap();
        assert_eq!((state.members, state.visitors, state.role), (1, 1, None));
        assert_eq!(r.members(0, 10).await.unwrap().count, 1);
        assert_eq!(town.metric("quail_visitors").await, 1);

        assert_eq!(refused(theirs.send("x").await.map_err(|unsent| unsent.error)), Code::NotLoggedIn);
        assert_eq!(refused(theirs.members(0, 10).await), Code::NotLoggedIn);
        assert_eq!(refused(theirs.enter(open(), 0).await), Code::NotLoggedIn, "it makes no room");
        assert_eq!(refused(theirs.recall(r2.position).await), Code::NotLoggedIn);
        assert_eq!(refused(room(&visitor, "none").join(0).await), Code::RoomNotFound);
        assert_eq!(refused(theirs.join(51).await), Code::InvalidArgument);
        assert_eq!(theirs.join(0).await.unwrap().status, EntryStatus::AlreadyIn);

        assert_eq!(theirs.leave().await.unwrap().last, r2.position);
        r.send("3").await.unwrap();
        theirs.join(0).await.unwrap();
        within(visitor.close()).await;
        // Nobody is told of them, so the first thing that is told is this.
        room(&town.connect(carrier, "bob").await.0, "r").join(0).await.unwrap();
        assert_eq!(users(&joined(&mut to_alice).await.joined)[0], "bob");
        town.counted("quail_visitors 0").await;
        assert_eq!(r.info().await.unwrap().visitors, 0);
        r.dismiss().await.unwrap();
        within(alice.close()).await;
    }
}

#[tokio::test]
async fn a_visitor_keeps_no_room_alive_and_takes_no_place_of_a_member() {
    let town = Town::with(|config| {
        config.apps.get_mut(FAST).unwrap().rooms.members_max = NonZeroU64::new(1);
    })
    .await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    let (visitor, mut events) = visit(&town, Carrier::Quic).await;
    room(&visitor, "r").join(0).await.unwrap();
    r.leave().await.unwrap();
    let told = standings(&mut events, 3).await;
    assert_eq!(told[2], ("r".to_owned(), Standing::Disconnected, StandingCause::Ended));
    assert_eq!(refused(room(&visitor, "r").join(0).await), Code::RoomNotFound);
}

#[tokio::test]
async fn a_visitor_who_logs_in_stays_in_their_rooms() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let r = room(&alice, "r");
        r.create(open()).await.unwrap();
        let (visitor, mut events) = visit(&town, carrier).await;
        room(&visitor, "r").join(0).await.unwrap();
        let session = visitor.session();
        r.send("1").await.unwrap();
        assert_eq!(text(&message(&mut events).await), "1");
        let bob = log_in(&visitor, "bob").await.unwrap();
        assert_eq!((bob.user_id().as_str(), bob.session()), ("bob", session));
        assert_eq!(users(&joined(&mut to_alice).await.joined).last().unwrap(), "bob");
        let theirs = room(&bob, "r");
        let state = theirs.info().await.unwrap();
        assert_eq!((state.members, state.visitors, state.role), (2, 0, Some(Role::Member)));
        theirs.send("mine").await.unwrap();
        assert_eq!(text(&message(&mut to_alice).await), "mine");
        // A text that a visitor's frames would be too small for.
        let long = "x".repeat(30_000);
        bob.peer("alice").unwrap().send(&*long).await.unwrap();
        r.send("2").await.unwrap();
        assert_eq!(text(&message(&mut events).await), "2", "one's own are no events, nothing is told twice");
        assert_eq!(town.metric("quail_visitors").await, 0);
        let again = log_in(&bob, "bob").await.unwrap_err();
        let is_again = |reject: quail_protocol::Reject| reject.code == Code::AlreadyLoggedIn;
        assert!(matches!(again, ConnectError::Failed(Cause::LoginRefused(reject)) if is_again(reject)));
        drop(visitor);
        bob.call(quail_protocol::session::Ping {}).await.unwrap();
        r.kick(bob.user_id().clone(), Default::default()).await.unwrap();
        let out =
            next(&mut events, |event| if let Event::RoomLeft(left) = event { Some(left) } else { None });
        assert_eq!(out.await.cause, LeaveCause::KickedOut);
        r.dismiss().await.unwrap();
        for client in [alice, bob] {
            within(client.close()).await;
        }
        town.counted("quail_sessions 0").await;
    }
}

#[tokio::test]
async fn a_visitor_who_logs_in_is_put_out_of_rooms_that_do_not_let_the_user_in() {
    let town = Town::with(|config| config.apps.get_mut(FAST).unwrap().rooms.per_user = 2).await;
    let (alice, _to_alice) = town.connect(Carrier::Quic, "alice").await;
    let (bob, _to_bob) = town.connect(Carrier::Quic, "bob").await;
    for id in ["a", "b"] {
        room(&alice, id).create(open()).await.unwrap();
    }
    room(&bob, "c").create(open()).await.unwrap();
    room(&alice, "a").ban(bob.user_id().clone(), Until::End, Default::default()).await.unwrap();
    let (visitor, mut events) = visit(&town, Carrier::Quic).await;
    for id in ["a", "b"] {
        room(&visitor, id).join(0).await.unwrap();
    }
    let theirs = log_in(&visitor, "bob").await.unwrap();
    let out = next(&mut events, |event| if let Event::RoomLeft(left) = event { Some(left) } else { None });
    let out = out.await;
    assert_eq!((out.room.as_str(), out.cause), ("a", LeaveCause::Banned));
    assert_eq!(room(&theirs, "b").info().await.unwrap().members, 2);
    let state = room(&alice, "a").info().await.unwrap();
    assert_eq!((state.members, state.visitors), (1, 0));
    assert_eq!(refused(room(&theirs, "d").enter(open(), 0).await), Code::TooManyRooms);
}

#[tokio::test]
async fn a_refused_login_leaves_a_visitor_as_they_were_and_the_third_ends_them() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    room(&alice, "r").create(open()).await.unwrap();
    let (visitor, mut events) = visit(&town, Carrier::Quic).await;
    room(&visitor, "r").join(0).await.unwrap();
    for user in ["alice", "visitor:1"] {
        let token = Token::new(FAST, user).with(|token| token.claims.sub = Some("bob".into())).sign();
        let refused = within(visitor.log_in(user, move || {
            let token = token.clone();
            async move { Ok(token) }
        }));
        assert!(matches!(refused.await, Err(ConnectError::Failed(Cause::LoginRefused(_)))));
    }
    room(&alice, "r").send("1").await.unwrap();
    assert_eq!(text(&message(&mut events).await), "1");
    let bob = log_in(&visitor, "bob").await.unwrap();
    assert_eq!(room(&bob, "r").info().await.unwrap().members, 2);

    let (visitor, _events) = visit(&town, Carrier::Quic).await;
    for _ in 0..3 {
        _ = within(visitor.log_in("bob", || async { Ok("none".to_owned()) })).await.unwrap_err();
    }
    let mut states = visitor.states();
    while !matches!(states.current(), State::Disconnected { .. }) {
        within(states.changed()).await;
    }
}

#[tokio::test]
async fn a_visitor_whose_connection_is_lost_comes_in_again_and_misses_nothing() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _to_alice) = town.connect(carrier, "alice").await;
        let r = room(&alice, "r");
        r.create(open()).await.unwrap();
        let mut raw = Raw::connect(&town, carrier).await;
        raw.request(1, &raw::visit(FAST)).await;
        raw.reply(1).await.unwrap();
        raw.request(2, &quail_protocol::room::Join { room: r.id().clone(), recent: 0 }).await;
        raw.reply(2).await.unwrap();
        assert_eq!(r.info().await.unwrap().visitors, 1);
        raw.lose().await;
        town.counted("quail_visitors 0").await;
        assert_eq!(r.info().await.unwrap().visitors, 0, "a visitor is not kept");
        let (visitor, _events) = visit(&town, carrier).await;
        let theirs = room(&visitor, "r");
        let entered = theirs.join(0).await.unwrap();
        let sent = r.send("1").await.unwrap();
        let cursor = quail_protocol::session::Cursor {
            conversation: Conversation::Room(r.id().clone()),
            position: entered.state.head,
            ahead: List::default(),
            rev: entered.state.rev,
        };
        let of_peer = quail_protocol::session::Cursor {
            conversation: Conversation::Peer(alice.user_id().clone()),
            ..cursor.clone()
        };
        let asked = Resume { cursors: List::new(vec![cursor, of_peer]).unwrap() };
        let answers = visitor.call(asked).await.unwrap().answers;
        assert_eq!((answers[0].missed, answers[0].head), (Missed::Replay, sent.position));
        assert_eq!(answers[1].missed, Missed::NotMember);
        r.dismiss().await.unwrap();
        for client in [alice, visitor] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn who_visits_twice_or_under_the_name_of_a_visitor_is_refused() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let mut raw = Raw::connect(&town, carrier).await;
        raw.request(1, &raw::login(FAST, "visitor:me")).await;
        assert_eq!(raw.refusal(1).await, Code::InvalidArgument);
        raw.request(2, &raw::visit(FAST)).await;
        raw.reply(2).await.unwrap();
        raw.request(3, &raw::visit(FAST)).await;
        assert_eq!(raw.refusal(3).await, Code::AlreadyLoggedIn);
        let elsewhere = raw::login_with(quail_tests::STRICT, "bob", token::Token::new(FAST, "bob").sign());
        raw.request(4, &elsewhere).await;
        assert_eq!(raw.refusal(4).await, Code::InvalidArgument, "another app");
    }
}

#[tokio::test]
async fn a_visitor_who_asks_for_more_than_a_frame_of_theirs_holds_keeps_the_connection() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        room(&alice, "r").create(open()).await.unwrap();
        let (visitor, _events) = visit(&town, carrier).await;
        let theirs = room(&visitor, "r");
        let long = "x".repeat(20_000);
        let too_large = theirs.send(&*long).await.map_err(|unsent| unsent.error);
        assert!(matches!(too_large, Err(CallError::TooLarge(_))), "{too_large:?}");
        assert_eq!(refused(theirs.info().await), Code::NotInRoom);
        theirs.join(0).await.unwrap();
        let _bob = log_in(&visitor, "bob").await.unwrap();
        theirs.send(&*long).await.expect("the handle of the visitor is the user's now");
        within(alice.close()).await;
    }
}
