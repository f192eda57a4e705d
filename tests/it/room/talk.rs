//! Messages of rooms, and what becomes of those who are away or slow.

use super::*;

#[tokio::test]
async fn messages_reach_everybody_in_the_room_with_who_sent_them_and_the_newest_whoever_comes_later() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) =
            within(town.client(carrier, "alice").name("Alice").connect()).await.unwrap();
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let (carol, mut to_carol) = town.connect(carrier, "carol").await;
        let id = format!("r-{carrier:?}");
        room(&alice, &id).create(open()).await.unwrap();
        room(&bob, &id).join(0).await.unwrap();
        let sent = room(&alice, &id).send("one").await.unwrap();
        assert_eq!((sent.ack, sent.position.seq, sent.prev), (Ack::Accepted, Seq(1), Seq(0)));
        let heard = message(&mut to_bob).await;
        assert_eq!((text(&heard).as_str(), heard.position), ("one", sent.position));
        let note = heard.member.unwrap();
        assert_eq!((note.name.as_str(), note.role), ("Alice", Role::Owner));
        room(&bob, &id).message("two").priority(Priority::High).send().await.unwrap();
        assert_eq!(text(&message(&mut to_alice).await), "two");

        let entered = room(&carol, &id).join(1).await.unwrap();
        assert_eq!(entered.recent.iter().map(text).collect::<Vec<_>>(), ["two"]);
        room(&alice, &id).send("three").await.unwrap();
        let heard = message(&mut to_carol).await;
        assert_eq!(
            (text(&heard).as_str(), heard.position.seq),
            ("three", Seq(3)),
            "and goes on without a hole"
        );
        let page = room(&carol, &id).history(..).await.unwrap();
        assert_eq!(page.messages.iter().map(text).collect::<Vec<_>>(), ["one", "two", "three"]);
        let page = room(&carol, &id).history_backwards(..=2).await.unwrap();
        assert_eq!((page.messages.len(), page.first, page.next), (2, Seq(1), None));

        let barrage = Barrage { text: Text::new("whee").unwrap() };
        let sent = room(&carol, &id).compose(&barrage).send().await.unwrap();
        let passed =
            next(
                &mut to_bob,
                |event| if let Event::MessagePassed(passed) = event { Some(passed) } else { None },
            );
        let passed = passed.await;
        assert_eq!((passed.follows.seq, sent.ack), (Seq(3), Ack::Accepted));
        assert!(passed.member.is_some());
        for client in [alice, bob, carol] {
            within(client.close()).await;
        }
    }
}

#[tokio::test]
async fn a_repeated_message_is_placed_once_and_members_who_urge_too_often_are_lowered() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let (bob, _events) = town.connect(carrier, "bob").await;
        let id = format!("r-{carrier:?}");
        room(&alice, &id).create(open()).await.unwrap();
        room(&bob, &id).join(0).await.unwrap();
        let once = room(&bob, &id).message("once");
        let first = once.clone().send().await.unwrap();
        assert_eq!(once.send().await.unwrap(), first);
        let urge = async |client: &Client| {
            let sends =
                (0..4).map(|i| room(client, &id).message(format!("{i}")).priority(Priority::High).send());
            join_all(sends).await.into_iter().map(|sent| sent.unwrap().priority).collect::<Vec<_>>()
        };
        use Priority::{High, Normal};
        assert_eq!(urge(&bob).await, [High, High, Normal, Normal]);
        assert_eq!(urge(&alice).await, [High; 4], "the owner is not");
    }
}

#[tokio::test]
async fn a_room_that_gets_too_much_refuses_the_least_urgent_and_says_when_to_come_back() {
    let slow = |config: &mut Config| {
        config.apps.get_mut(FAST).unwrap().rooms.budget.window = Duration::from_secs(600);
    };
    let town = Town::with(slow).await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let r = room(&alice, &format!("r-{carrier:?}"));
        r.create(open()).await.unwrap();
        let mut placed = vec![];
        for priority in [Priority::Lowest, Priority::Low, Priority::Normal, Priority::High] {
            let sends = join_all((0..50).map(|i| r.message(format!("{i}")).priority(priority).send())).await;
            placed.push(sends.iter().filter(|sent| sent.is_ok()).count());
            for unsent in sends.into_iter().filter_map(Result::err) {
                let CallError::Reject(reject) = unsent.error else { panic!("{unsent}") };
                assert_eq!(reject.code, Code::RoomThrottled);
                assert!((1..=600_001).contains(&reject.retry_after_ms.unwrap()));
            }
        }
        assert_eq!(placed, [10, 5, 5, 20]);
    }
    let refused =
        town.try_metric("quail_room_messages_total{priority=\"Lowest\",outcome=\"RoomThrottled\"}").await;
    assert_eq!(refused, Some(2 * 40), "what senders were told is what was counted");
}

#[tokio::test]
async fn a_reader_that_is_too_slow_for_a_room_learns_what_it_missed_and_is_not_closed() {
    let busy = |config: &mut Config| {
        config.session.outbox.lane_items = 8;
        let budget = &mut config.apps.get_mut(FAST).unwrap().rooms.budget;
        (budget.high, budget.normal, budget.low, budget.lowest) = (u32::MAX, u32::MAX, u32::MAX, u32::MAX);
    };
    let town = Town::with(busy).await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) =
            within(town.client(carrier, "bob").event_capacity(1).connect()).await.unwrap();
        let r = room(&alice, &format!("r-{carrier:?}"));
        r.create(open()).await.unwrap();
        room(&bob, &format!("r-{carrier:?}")).join(0).await.unwrap();
        let dropped =
            || town.try_metric("quail_room_deliveries_total{priority=\"Normal\",outcome=\"dropped\"}");
        let before = dropped().await.unwrap_or_default();
        let mut last = Seq(0);
        while dropped().await.unwrap_or_default() < before + 10 {
            for _ in 0..50 {
                last = r.send("x".repeat(20_000)).await.unwrap().position.seq;
            }
        }
        let counted = dropped().await.unwrap() - before;
        let (mut heard, mut missed, mut newest) = (0, 0, Seq(0));
        while newest < last {
            match within(to_bob.recv()).await.unwrap() {
                Event::MessageSent(message) => {
                    assert!(message.position.seq > newest);
                    (heard, newest) = (heard + 1, message.position.seq);
                }
                Event::MessageGap(Gap { priority, through, count, .. }) => {
                    assert_eq!(priority, Priority::Normal);
                    (missed, newest) = (missed + u64::from(count), through.seq);
                }
                Event::MembersJoined(_) | Event::RoomStateChanged(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((missed, heard + missed), (counted, last.0), "what was told is what was counted");
        assert_eq!(room(&bob, &format!("r-{carrier:?}")).info().await.unwrap().role, Some(Role::Member));
    }
}

#[tokio::test]
async fn a_session_that_is_lost_keeps_its_place_for_the_grace_and_then_leaves_as_offline() {
    let soon = |config: &mut Config| config.session.grace = Duration::from_secs(2);
    let town = Town::with(soon).await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let r = room(&alice, &format!("r-{carrier:?}"));
        r.create(open()).await.unwrap();
        let mut raw = Raw::log_in(&town, carrier, FAST, "bob").await;
        let join = quail_protocol::room::Join { room: r.id().clone(), recent: 0 };
        raw.request(2, &join).await;
        raw.reply(2).await.unwrap();
        joined(&mut to_alice).await;
        raw.lose().await;
        assert_eq!(r.info().await.unwrap().members, 2, "it may come back");
        let told = left(&mut to_alice).await;
        assert_eq!((told.left[0].user.as_str(), told.left[0].cause), ("bob", LeaveCause::Offline));
        within(alice.close()).await;
    }
}

#[tokio::test]
async fn a_client_that_lost_its_connection_gets_what_it_missed_of_its_rooms() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    let r = room(&alice, "r");
    r.create(open()).await.unwrap();
    // Bob's session is lost, and goes on.
    let mut raw = Raw::connect(&town, Carrier::Quic).await;
    raw.request(1, &quail_tests::raw::login(FAST, "bob")).await;
    let begun: quail_protocol::session::LoggedIn =
        quail_protocol::frame::decode(&raw.reply(1).await.unwrap()).unwrap();
    raw.request(2, &quail_protocol::room::Join { room: r.id().clone(), recent: 0 }).await;
    raw.reply(2).await.unwrap();
    raw.lose().await;
    let sent = r.send("while bob was away").await.unwrap();
    let mut raw = Raw::connect(&town, Carrier::WebSocket).await;
    let resume = Some(begun.resume_token);
    raw.request(1, &quail_protocol::session::Login { resume, ..quail_tests::raw::login(FAST, "bob") }).await;
    raw.reply(1).await.unwrap();
    let conversation = Conversation::Room(r.id().clone());
    let cursor = |seq| quail_protocol::session::Cursor {
        conversation: conversation.clone(),
        position: quail_protocol::Position { seq: Seq(seq), ..sent.position },
        ahead: Default::default(),
        rev: Default::default(),
    };
    let cursors = quail_protocol::bounded::List::new(vec![cursor(0), cursor(1)]).unwrap();
    raw.request(3, &quail_protocol::session::Resume { cursors }).await;
    let resumed: quail_protocol::session::Resumed =
        quail_protocol::frame::decode(&raw.reply(3).await.unwrap()).unwrap();
    use quail_protocol::session::Missed::{CaughtUp, Replay};
    let missed: Vec<_> = resumed.answers.iter().map(|answer| answer.missed).collect();
    assert_eq!(missed, [Replay, CaughtUp]);
    let history = quail_protocol::message::History {
        conversation,
        from: Seq(1),
        to: Seq(9),
        limit: 10,
        direction: Default::default(),
    };
    raw.request(4, &history).await;
    let page: quail_protocol::message::Page =
        quail_protocol::frame::decode(&raw.reply(4).await.unwrap()).unwrap();
    assert_eq!(page.messages.iter().map(text).collect::<Vec<_>>(), ["while bob was away"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_the_server_a_client_is_told_that_it_is_in_no_room_if_it_wants_to_come_in_itself()
{
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let start = move |addresses| Process::start_at(Path::new(QUAIL), &data, addresses, "");
    let server = start([SocketAddr::from(([127, 0, 0, 1], 0)); 2]);
    let addresses = [server.quic, server.websocket];
    let soon = Reconnect::within([Duration::from_millis(100)]);
    let alice = server.client_over(Carrier::WebSocket, "alice").reconnect(soon).reenter_rooms(false);
    let (alice, mut events) = within(alice.connect()).await.unwrap();
    let r = room(&alice, "r");
    let before = r.create(open()).await.unwrap().state.head;
    let replace = move || {
        server.kill();
        start(addresses)
    };
    let _server = tokio::task::spawn_blocking(replace).await.unwrap();
    let behind =
        next(&mut events, |event| if let Event::Behind(behind) = event { Some(behind) } else { None });
    let behind = behind.await;
    assert_eq!(
        (behind.cause, behind.conversation),
        (BehindCause::NotMember, Conversation::Room(r.id().clone()))
    );
    let entered = r.enter(open(), 0).await.unwrap();
    assert_eq!((entered.status, entered.state.role), (EntryStatus::Joined, Some(Role::Owner)));
    assert!(entered.state.head.epoch > before.epoch);
}

#[tokio::test]
async fn what_is_taken_back_in_a_room_is_taken_back_for_all_and_for_those_who_come_later() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, mut to_alice) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let id = format!("{carrier:?}");
        let r = room(&alice, &id);
        r.create(open()).await.unwrap();
        room(&bob, &id).join(0).await.unwrap();
        let said = room(&bob, &id).send("a slip").await.unwrap();
        message(&mut to_alice).await;
        // Whoever owns the room may, whoever said it.
        let recalled = r.recall(said.position).await.unwrap();
        let changed =
            next(
                &mut to_bob,
                |event| if let Event::MessageChanged(changed) = event { Some(changed) } else { None },
            );
        let changed = changed.await;
        assert_eq!((changed.message.position, changed.message.rev), (said.position, recalled.rev));
        assert_eq!(changed.message.recall.as_ref().unwrap().operator, *alice.user_id());
        assert!(changed.message.content.body.is_empty());
        let (carol, _to_carol) = town.connect(carrier, "carol").await;
        let entered = room(&carol, &id).join(10).await.unwrap();
        assert_eq!((&entered.recent[0], entered.state.rev), (&changed.message, recalled.rev));
        let page = room(&carol, &id).history(..).await.unwrap();
        assert_eq!((&page.messages[0], page.rev), (&changed.message, recalled.rev));
        assert_eq!(refused(room(&carol, &id).recall(said.position).await), Code::NotSender);
    }
}

#[tokio::test]
async fn a_room_may_leave_out_who_its_senders_are() {
    let town = Town::new().await;
    let named = |user| town.client(Carrier::Quic, user).name("somebody");
    let (alice, mut to_alice) = within(named("alice").connect()).await.unwrap();
    let (bob, _to_bob) = within(named("bob").connect()).await.unwrap();
    for omit_notes in [false, true] {
        let id = format!("{omit_notes}");
        let made = room(&alice, &id).create(Settings { omit_notes, ..open() }).await.unwrap();
        assert_eq!(made.state.omit_notes, omit_notes);
        room(&bob, &id).join(0).await.unwrap();
        room(&bob, &id).send("numbered").await.unwrap();
        room(&bob, &id).compose(&Barrage { text: Text::new("passing").unwrap() }).send().await.unwrap();
        let (mut joined, mut numbered, mut passing) = (None, None, None);
        while joined.is_none() || numbered.is_none() || passing.is_none() {
            match within(to_alice.recv()).await.unwrap() {
                Event::MembersJoined(event) => joined = Some(event.joined[0].name.to_string()),
                Event::MessageSent(message) => {
                    numbered = Some(message.member.map(|note| note.name.to_string()));
                }
                Event::MessagePassed(message) => {
                    passing = Some(message.member.map(|note| note.name.to_string()));
                }
                _ => {}
            }
        }
        let note = (!omit_notes).then(|| "somebody".to_owned());
        assert_eq!(
            (joined, numbered, passing),
            (Some(note.clone().unwrap_or_default()), Some(note.clone()), Some(note.clone()))
        );
        let members = room(&alice, &id).members(0, 10).await.unwrap().members;
        assert!(members.iter().all(|member| member.name.as_str() == "somebody"), "asking names them");
        room(&bob, &id).leave().await.unwrap();
        let gone = left(&mut to_alice).await.left[0].clone();
        assert_eq!((gone.name.to_string(), gone.role), (note.unwrap_or_default(), Role::Member));
    }
}
