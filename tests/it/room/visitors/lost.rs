//! Visitors whose line is cut, whose server goes away, or whose login fails half-way.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use quail_server::apps::MultiLogin;
use quail_tests::store::{Asked, Failing, Fate};

use super::*;
use crate::room::again::{Bob, forgetful};

#[tokio::test]
async fn a_visitor_whose_login_comes_to_nothing_in_the_store_is_one_still() {
    let fates = Arc::new(Mutex::new(VecDeque::new()));
    let next_fate = fates.clone();
    let fate = move |asked: Asked<'_>| match asked {
        Asked::Profiles | Asked::FeedEnds => next_fate.lock().unwrap().pop_front().unwrap_or(Fate::Answered),
        _ => Fate::Answered,
    };
    let soon = |config: &mut Config| config.session.request_timeout = Duration::from_millis(200);
    let town = Town::over(soon, |store| Failing::before(store, fate)).await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    for carrier in Carrier::ALL {
        let reconnect = Reconnect::within([Duration::ZERO]);
        let (visitor, mut events) =
            within(town.visitor(carrier).reconnect(reconnect).connect()).await.unwrap();
        let theirs = room(&visitor, "r");
        theirs.join(0).await.unwrap();
        standings(&mut events, 2).await;

        // The profile, as the login keeps it and as the room is to see it, and the feed. More often than one may be refused.
        for _ in 0..3 {
            fates.lock().unwrap().extend([Fate::Answered, Fate::Fails]);
            log_in(&visitor, "bob").await.unwrap_err();
        }
        let state = theirs.info().await.unwrap();
        assert_eq!((state.members, state.visitors, state.role), (1, 1, None), "as before");
        for fate in [Fate::Fails, Fate::Hangs] {
            fates.lock().unwrap().extend([Fate::Answered, Fate::Answered, fate]);
            log_in(&visitor, "bob").await.unwrap_err();
            let told = standings(&mut events, 2).await;
            assert_eq!(
                told.iter().map(|told| told.2).collect::<Vec<_>>(),
                [StandingCause::Interrupted, StandingCause::Rejoined]
            );
            let state = theirs.info().await.unwrap();
            assert_eq!((state.members, state.visitors, state.role), (1, 1, None), "{fate:?}");
            town.counted("quail_sessions 1").await;
        }
        let bob = log_in(&visitor, "bob").await.unwrap();
        assert_eq!(room(&bob, "r").info().await.unwrap().role, Some(Role::Member));
        within(bob.close()).await;
    }
}

#[tokio::test]
async fn visitors_do_not_all_come_back_at_once_when_the_server_goes_away() {
    let town = Town::with(|config| config.session.returns_per_second = 1).await;
    let mut visitors = vec![];
    for _ in 0..4 {
        visitors.push(visit(&town, Carrier::Quic).await);
    }
    let told = join_all(visitors.iter_mut().map(|(_, events)| {
        next(events, |event| if let Event::Draining(draining) = event { Some(draining) } else { None })
    }));
    let (told, ()) = tokio::join!(told, town.stop());
    // Nobody before the server is gone.
    assert!(told.iter().any(|draining| draining.retry_after_ms > 1000), "{told:?}");
    assert!(told.iter().all(|draining| (1000..=5000).contains(&draining.retry_after_ms)), "{told:?}");
}

#[tokio::test]
async fn a_visitor_who_logged_in_comes_back_as_the_user() {
    for keeps in [true, false] {
        let town = if keeps { Town::new().await } else { forgetful(|_| {}).await };
        let (alice, _to_alice) = town.connect(Carrier::Quic, "alice").await;
        let r = room(&alice, "r");
        r.create(open()).await.unwrap();
        let mut visitor = Bob::with(&town, |builder| builder.visitor()).await;
        room(&visitor.client, "r").join(0).await.unwrap();
        let bob = log_in(&visitor.client, "bob").await.unwrap();
        let session = bob.session();
        visitor.cut().await;
        town.counted(if keeps { "quail_connections{carrier=\"websocket\"} 0" } else { "quail_sessions 1" })
            .await;
        r.send("to all").await.unwrap();
        alice.peer("bob").unwrap().send("to bob").await.unwrap();
        bob.reconnect_now();
        let mut heard =
            vec![text(&message(&mut visitor.events).await), text(&message(&mut visitor.events).await)];
        heard.sort();
        assert_eq!(heard, ["to all", "to bob"]);
        assert_eq!((bob.session() == session, town.metric("quail_visitors").await), (keeps, 0));
        let state = room(&bob, "r").info().await.unwrap();
        assert_eq!((state.members, state.visitors, state.role), (2, 0, Some(Role::Member)));
        for client in [alice, bob] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn a_visitor_whose_line_is_cut_reads_on_where_they_were() {
    let town = Town::new().await;
    let (alice, _to_alice) = town.connect(Carrier::Quic, "alice").await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    for reenters in [true, false] {
        let gone = room(&alice, "gone");
        gone.create(open()).await.unwrap();
        let mut visitor = Bob::with(&town, |builder| builder.visitor().reenter_rooms(reenters)).await;
        for id in ["r", "gone"] {
            room(&visitor.client, id).join(0).await.unwrap();
        }
        standings(&mut visitor.events, 4).await;
        visitor.cut().await;
        town.counted("quail_visitors 0").await;
        r.send("2").await.unwrap();
        gone.dismiss().await.unwrap();
        visitor.client.reconnect_now();
        let mut told = vec![];
        while told.len() < if reenters { 5 } else { 4 } {
            match within(visitor.events.recv()).await.unwrap() {
                Event::RoomStateChanged(changed) => {
                    told.push(format!("{} {:?}", changed.room, changed.cause));
                }
                Event::MessageSent(message) => told.push(text(&message)),
                _ => {}
            }
        }
        told.sort();
        let mut expected = vec!["gone Interrupted", "r Interrupted"];
        expected.extend(if reenters {
            &["2", "gone NotFound", "r Rejoined"][..]
        } else {
            &["gone Lost", "r Lost"]
        });
        expected.sort_unstable();
        assert_eq!(told, expected);
        assert_eq!(r.info().await.unwrap().visitors, u64::from(reenters));
        within(visitor.client.close()).await;
    }
}

#[tokio::test]
async fn nothing_is_told_twice_or_left_out_while_a_crowd_of_visitors_logs_in() {
    let town = Town::with(|config| {
        let budget = &mut config.apps.get_mut(FAST).unwrap().rooms.budget;
        (budget.high, budget.normal) = (1_000_000, 1_000_000);
    })
    .await;
    let (alice, _to_alice) = town.connect(Carrier::Quic, "alice").await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    let mut visitors = vec![];
    for number in 0..40 {
        let carrier = Carrier::ALL[number % 2];
        let (visitor, events) = visit(&town, carrier).await;
        room(&visitor, "r").join(0).await.unwrap();
        visitors.push((visitor, events));
    }
    let (bob, _) = town.connect(Carrier::Quic, "u0").await;
    r.ban(bob.user_id().clone(), Until::End, Default::default()).await.unwrap();
    let sending = async {
        for number in 1..=60 {
            r.send(number.to_string()).await.unwrap();
        }
    };
    let becoming = join_all(visitors.iter_mut().enumerate().map(|(number, (visitor, events))| async move {
        let user = log_in(visitor, &format!("u{number}")).await.unwrap();
        let mut heard = vec![];
        while heard.len() < 60 {
            match within(events.recv()).await.unwrap() {
                Event::MessageSent(message) => heard.push(message.position.seq.0),
                Event::RoomLeft(left) => {
                    assert_eq!((number, left.cause), (0, LeaveCause::Banned));
                    heard = (1..=60).collect();
                }
                Event::MessageGap(gap) => panic!("{gap:?}"),
                _ => {}
            }
        }
        (user, heard)
    }));
    let (told, ()) = tokio::join!(becoming, sending);
    for (number, (_, heard)) in told.iter().enumerate() {
        assert_eq!(*heard, (1..=60).collect::<Vec<_>>(), "{number}");
    }
    let state = r.info().await.unwrap();
    assert_eq!((state.members, state.visitors), (40, 0));
    r.dismiss().await.unwrap();
    assert_eq!(town.metric("quail_visitors").await, 0);
}

#[tokio::test]
async fn connections_that_end_while_a_visitor_logs_in_leave_nothing_behind() {
    let town = forgetful(|config| config.apps.get_mut(FAST).unwrap().multi_login = MultiLogin::One).await;
    let (alice, _to_alice) = town.connect(Carrier::Quic, "alice").await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    let before = town.population().await;
    for round in 0..3 {
        join_all((0..30).map(|number| {
            let town = &town;
            async move {
                let mut raw = Raw::connect(town, Carrier::ALL[number % 2]).await;
                raw.request(1, &raw::visit(FAST)).await;
                raw.reply(1).await.unwrap();
                let join = quail_protocol::room::Join {
                    room: quail_protocol::id::RoomId::new("r").unwrap(),
                    recent: 0,
                };
                raw.request(2, &join).await;
                raw.reply(2).await.unwrap();
                // Two each are the same user, of whom one gives way.
                raw.request(3, &raw::login(FAST, &format!("u{round}-{}", number / 3))).await;
                if number % 5 > 0 {
                    _ = raw.next().await;
                }
                raw.lose().await;
            }
        }))
        .await;
    }
    town.settles(&before).await;
    town.counted("quail_visitors 0").await;
    let state = r.info().await.unwrap();
    assert_eq!((state.members, state.visitors), (1, 0));
}
