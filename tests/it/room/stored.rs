//! Rooms whose messages are kept.

use quail_protocol::{
    Rev,
    message::{self, Changes, Page, Sent},
    room::{Reason, RoomState, StandingCause},
};

use quail_client::{Outgoing, State, Until};

use super::{
    restart::{connect, ended_and_started},
    standing::standing,
    *,
};

/// A room passes on whatever it gets.
const UNBOUNDED: &str =
    "[apps.demo.rooms.budget]\nhigh = 1000000\nnormal = 1000000\nlow = 1000000\nlowest = 1000000\n";

/// Sends a message as one that was not answered is sent again, with this content.
async fn again(
    client: &Client,
    outgoing: &Outgoing,
    priority: Priority,
    text: &str,
) -> Result<Sent, CallError> {
    let body = message::Text::encode(text).unwrap();
    let content = message::Content::new(message::MessageKind::Text, body);
    let (conversation, id) = (outgoing.conversation().clone(), outgoing.id());
    client.call(message::Send { conversation, id, priority, content }).await
}

/// All that can be read of a room.
#[derive(Debug, PartialEq)]
struct Read {
    head: quail_protocol::Position,
    first: Seq,
    rev: Rev,
    recent: Vec<Message>,
    history: Page,
    changes: Vec<Message>,
}

async fn read(client: &Client, of: &Room, state: &RoomState, recent: Vec<Message>) -> Read {
    let history = of.history_backwards(..).await.unwrap();
    let conversation = Conversation::Room(of.id().clone());
    let changes = client.call(Changes { conversation, since: Rev(0), limit: 100 }).await.unwrap();
    let RoomState { head, first, rev, .. } = *state;
    assert_eq!((history.head, history.first, history.rev), (head, first, rev));
    assert_eq!((changes.head, changes.rev, changes.more), (head, rev, false));
    Read { head, first, rev, recent, history, changes: changes.messages.into_vec() }
}

/// A room with a history, over the end of its server.
async fn is_there_again(end: fn(Process)) {
    let inside = async |server: &Process| {
        let (alice, _a) = within(server.client("alice").name("Alice").connect()).await.unwrap();
        let (bob, _b) = connect(server, "bob").await;
        let r = room(&alice, "r");
        let made = r.create(stored()).await.unwrap().state;
        assert_eq!((made.history, made.head.seq, made.first), (RoomHistory::Stored, Seq(0), Seq(1)));
        room(&bob, "r").join(0).await.unwrap();
        // After the restart it is not among the newest that the room holds.
        let of_bob = room(&bob, "r").send("a slip").await.unwrap();
        for number in 1..=55 {
            let priority = Priority::ALL[number % 4];
            let sent = r.message(number.to_string()).priority(priority).send().await.unwrap();
            assert_eq!((sent.ack, sent.position.epoch), (Ack::Durable, made.head.epoch));
        }
        let taken_back = r.send("taken back").await.unwrap();
        r.recall(taken_back.position).await.unwrap();
        let once = r.message("once").priority(Priority::High);
        let first = once.clone().send().await.unwrap();
        let (carol, _c) = connect(server, "carol").await;
        let entered = room(&carol, "r").join(50).await.unwrap();
        assert_eq!(entered.recent.len(), 50);
        let before = read(&carol, &room(&carol, "r"), &entered.state, entered.recent.into_vec()).await;
        assert_eq!((before.history.messages.len(), before.head.seq, before.rev), (58, Seq(58), Rev(1)));
        // Still in it when the server ends.
        (before, of_bob, (once, first), [alice, bob, carol])
    };
    let (server, (before, of_bob, (once, first), _inside), _data) =
        ended_and_started(end, UNBOUNDED, inside).await;
    let (carol, mut to_carol) = connect(&server, "carol").await;
    let entered = room(&carol, "r").join(50).await.unwrap();
    let now = read(&carol, &room(&carol, "r"), &entered.state, entered.recent.into_vec()).await;
    assert_eq!(now, before);

    let (alice, _a) = connect(&server, "alice").await;
    let r = room(&alice, "r");
    assert_eq!(
        again(&alice, &once, Priority::High, "once").await.unwrap(),
        first,
        "whether she is in or not"
    );
    assert_eq!(refused(r.send("new").await), Code::NotInRoom);
    assert_eq!(r.join(0).await.unwrap().state.role, Some(Role::Owner));
    assert_eq!(again(&alice, &once, Priority::High, "once").await.unwrap(), first);
    assert_eq!(refused(again(&alice, &once, Priority::High, "twice").await), Code::MessageConflict);
    let recalled = r.recall(of_bob.position).await.unwrap();
    assert_eq!(recalled.rev, Rev(2));
    let changed = |event| if let Event::MessageChanged(changed) = event { Some(changed) } else { None };
    let changed = next(&mut to_carol, changed).await;
    assert_eq!((changed.prev, changed.message.position), (Rev(1), of_bob.position));
    assert_eq!(changed.message.recall.unwrap().operator, *alice.user_id());
    let sent = r.message("goes on").priority(Priority::High).send().await.unwrap();
    assert_eq!((sent.position.epoch, sent.position.seq.0), (before.head.epoch, before.head.seq.0 + 1));
    assert_eq!((sent.prev, sent.rev), (first.position.seq, Rev(2)));
    let heard = message(&mut to_carol).await;
    assert_eq!((heard.position, text(&heard).as_str()), (sent.position, "goes on"));
    assert_eq!(heard.member.unwrap().role, Role::Owner);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_is_there_after_the_server_was_killed() {
    is_there_again(Process::kill).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_is_there_after_the_server_was_asked_to_end() {
    is_there_again(Process::stop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_after_the_server_was_killed_without_a_hole_or_anything_twice() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let start = move |addresses| Process::start_at(Path::new(QUAIL), &data, addresses, UNBOUNDED);
    let server = start([SocketAddr::from(([127, 0, 0, 1], 0)); 2]);
    let addresses = [server.quic, server.websocket];
    let soon = Reconnect::within([Duration::from_millis(100)]);
    let never = Reconnect::within([Duration::from_secs(24 * 3600)]);
    let alice = server.client_over(Carrier::WebSocket, "alice").reconnect(soon);
    let bob = server.client_over(Carrier::WebSocket, "bob").reconnect(never);
    let (alice, mut to_alice) = within(alice.connect()).await.unwrap();
    let (bob, mut to_bob) = within(bob.connect()).await.unwrap();
    let r = room(&alice, "r");
    let made = r.create(stored()).await.unwrap().state;
    room(&bob, "r").join(0).await.unwrap();
    r.send("1").await.unwrap();
    room(&bob, "r").send("2").await.unwrap();
    assert_eq!(text(&message(&mut to_bob).await), "1");
    assert_eq!(text(&message(&mut to_alice).await), "2");
    let replace = move || {
        server.kill();
        start(addresses)
    };
    let _server = tokio::task::spawn_blocking(replace).await.unwrap();
    // Alice is back, and goes on before Bob is.
    while standing(&mut to_alice).await.cause != StandingCause::Rejoined {}
    for number in 3..=9 {
        let priority = Priority::ALL[number % 4];
        let sent = r.message(number.to_string()).priority(priority).send().await.unwrap();
        assert_eq!((sent.position.epoch, sent.position.seq.0), (made.head.epoch, number as u64));
    }
    while !matches!(bob.states().current(), State::Reconnecting { .. }) {
        tokio::task::yield_now().await;
    }
    bob.reconnect_now();
    let mut heard = vec![];
    while heard.len() < 7 {
        match within(to_bob.recv()).await.unwrap() {
            Event::MessageSent(message) => heard.push(text(&message)),
            Event::Behind(behind) => panic!("{behind:?}"),
            _ => {}
        }
    }
    heard.sort();
    assert_eq!(heard, (3..=9).map(|number| number.to_string()).collect::<Vec<_>>());
    let sent = room(&bob, "r").send("10").await.unwrap();
    assert_eq!(sent.position.seq, Seq(10));
    let heard = message(&mut to_alice).await;
    assert_eq!((text(&heard).as_str(), heard.position), ("10", sent.position), "and Alice as well");
}

#[tokio::test]
async fn a_room_that_ended_leaves_nothing_and_one_of_its_name_begins_anew() {
    let town = Town::new().await;
    let (alice, _a) = town.connect(Carrier::Quic, "alice").await;
    let settings = Settings { lifetime: Lifetime::default(), ..stored() };
    let mut removed = 0;
    for (id, dismissed) in [("dismissed", true), ("empty", false)] {
        let r = room(&alice, id);
        let made = r.create(settings.clone()).await.unwrap().state.head;
        for number in 1..=12 {
            r.send(number.to_string()).await.unwrap();
        }
        let once = r.message("once");
        once.clone().send().await.unwrap();
        if dismissed {
            assert_eq!(r.dismiss().await.unwrap().last.seq, Seq(13));
        } else {
            assert_eq!(r.leave().await.unwrap().last.seq, Seq(13));
        }
        removed += 13;
        let entered = r.create(settings.clone()).await.unwrap();
        assert_eq!((entered.state.head.seq, entered.state.first), (Seq(0), Seq(1)), "{id}");
        assert!(entered.state.head.epoch > made.epoch, "{id}");
        assert_eq!(r.history(..).await.unwrap().messages.len(), 0, "{id}");
        let sent = again(&alice, &once, Priority::Normal, "once").await.unwrap();
        assert_eq!((sent.position.seq, sent.prev), (Seq(1), Seq(0)), "{id}: it is another room");
        assert_eq!(r.history(..).await.unwrap().messages.len(), 1, "{id}");
        town.counted(&format!("quail_room_history_forgotten_total {removed}")).await;
    }
}

#[tokio::test]
async fn who_may_speak_is_asked_first_and_who_has_spoken_is_answered_all_the_same() {
    let slow = |config: &mut Config| {
        config.apps.get_mut(FAST).unwrap().rooms.budget.window = Duration::from_secs(600);
    };
    let town = Town::with(slow).await;
    for carrier in Carrier::ALL {
        let (alice, _a) = town.connect(carrier, "alice").await;
        let (bob, _b) = town.connect(carrier, "bob").await;
        let id = format!("r-{carrier:?}");
        let (r, of_bob) = (room(&alice, &id), room(&bob, &id));
        r.create(stored()).await.unwrap();
        assert_eq!(refused(of_bob.send("not in it").await), Code::NotInRoom);
        assert_eq!(refused(of_bob.history(..).await), Code::NotInRoom);
        of_bob.join(0).await.unwrap();
        use Priority::{High, Lowest, Normal};
        let mut urgent = vec![];
        for number in 0..4 {
            let outgoing = of_bob.message(number.to_string()).priority(High);
            urgent.push((outgoing.clone(), outgoing.send().await.unwrap()));
        }
        let granted: Vec<_> = urgent.iter().map(|(_, sent)| sent.priority).collect();
        assert_eq!(granted, [High, High, Normal, Normal], "more are lowered");
        r.mute(bob.user_id().clone(), Until::End, Reason::default()).await.unwrap();
        assert_eq!(refused(of_bob.send("muted").await), Code::MutedInRoom);
        for (number, (outgoing, sent)) in urgent.iter().enumerate() {
            let repeated = again(&bob, outgoing, High, &number.to_string()).await.unwrap();
            assert_eq!(repeated, *sent, "whether it was lowered or not");
        }
        let mut placed = 4;
        while let Ok(sent) = r.message("least").priority(Lowest).send().await {
            placed = sent.position.seq.0;
        }
        let refusal = r.message("least").priority(Lowest).send().await;
        assert_eq!(refused(refusal), Code::RoomThrottled);
        assert_eq!(r.info().await.unwrap().head.seq.0, placed, "what is refused takes no number");
        assert_eq!(r.history(..).await.unwrap().head.seq.0, placed);
        for outgoing in [r.message("passing").unkept(), r.compose(&Barrage { text: Text::default() })] {
            let sent = outgoing.send().await.unwrap();
            assert_eq!((sent.ack, sent.position.seq.0), (Ack::Accepted, placed), "it is not kept");
        }
        let unknown = Settings { history: RoomHistory::Unknown(9), ..open() };
        assert_eq!(refused(room(&alice, "unknown").create(unknown).await), Code::InvalidArgument);
    }
}

#[tokio::test]
async fn a_room_keeps_as_many_as_every_conversation_and_says_so() {
    let few = |config: &mut Config| {
        config.apps.get_mut(FAST).unwrap().history.entries_max = NonZeroU64::new(5);
    };
    let town = Town::with(few).await;
    let (alice, _a) = town.connect(Carrier::Quic, "alice").await;
    let r = room(&alice, "r");
    r.create(stored()).await.unwrap();
    for number in 1..=9u64 {
        r.send(number.to_string()).await.unwrap();
        let (state, page) = (r.info().await.unwrap(), r.history(..).await.unwrap());
        let first = Seq(number.saturating_sub(4).max(1));
        assert_eq!((state.first, page.first, page.messages[0].position.seq), (first, first, first));
    }
    assert_eq!(alice.conversations(None).await.unwrap().conversations.len(), 0, "it is in no list");
}

#[tokio::test]
async fn a_visitor_reads_what_is_kept_while_they_are_in() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _a) = town.connect(carrier, "alice").await;
        let (visitor, mut told) = within(town.visitor(carrier).connect()).await.unwrap();
        let id = format!("r-{carrier:?}");
        let (r, theirs) = (room(&alice, &id), room(&visitor, &id));
        r.create(stored()).await.unwrap();
        r.send("1").await.unwrap();
        assert_eq!(refused(theirs.history(..).await), Code::NotInRoom);
        let entered = theirs.join(10).await.unwrap();
        assert_eq!(entered.recent.iter().map(text).collect::<Vec<_>>(), ["1"]);
        let sent = r.send("2").await.unwrap();
        assert_eq!(message(&mut told).await.position, sent.position);
        r.recall(sent.position).await.unwrap();
        let state = theirs.info().await.unwrap();
        let read = read(&visitor, &theirs, &state, vec![]).await;
        assert_eq!((read.history.messages.len(), read.changes.len(), state.visitors), (2, 1, 1));
    }
}
