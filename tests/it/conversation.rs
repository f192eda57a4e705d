use std::fmt::Debug;

use quail_client::{CallError, Client, Events};
use quail_protocol::{
    Code, Conversation, Epoch, Event, Operation, Position, Rev, Seq,
    conversation::{ConversationMarked, Conversations, Mark, Marked, Summary, Sync},
    frame,
    id::{RoomId, UserId},
    session::{LoggedIn, Login},
};
use quail_tests::{
    Carrier, FAST, Town, next_message,
    raw::{Raw, login},
    within,
};

fn peer(user: &str) -> Conversation {
    Conversation::Peer(UserId::new(user).unwrap())
}

fn mark(delivered: u64, read: u64) -> Mark {
    Mark { conversation: peer("bob"), epoch: Epoch(1), delivered: Seq(delivered), read: Seq(read) }
}

async fn marked(client: &Client, mark: Mark) -> (u64, u64) {
    let Marked { delivered, read, .. } = within(client.call(mark)).await.unwrap();
    (delivered.0, read.0)
}

async fn refused<O: Operation<Reply: Debug> + Clone>(client: &Client, request: O) -> Code {
    match within(client.call(request)).await {
        Err(CallError::Reject(reject)) => reject.code,
        other => panic!("not refused: {other:?}"),
    }
}

/// The next marks a client is told of, messages left out.
async fn next_marks(events: &mut Events) -> ConversationMarked {
    loop {
        match within(events.recv()).await {
            Some(Event::ConversationMarked(marked)) => return marked,
            Some(Event::MessageSent(_)) => {}
            other => panic!("no marks: {other:?}"),
        }
    }
}

#[tokio::test]
async fn marks_hold_on_every_terminal_and_never_go_back() {
    for (left, right) in [(Carrier::Quic, Carrier::WebSocket), (Carrier::WebSocket, Carrier::Quic)] {
        let town = Town::new().await;
        let (bob, mut to_bob) = town.connect(left, "bob").await;
        for i in 1..=5 {
            bob.peer("alice").unwrap().send(format!("{i}")).await.unwrap();
        }
        let (phone, _to_phone) = town.connect(left, "alice").await;
        let (laptop, mut to_laptop) = town.connect(right, "alice").await;
        assert_eq!(marked(&phone, mark(3, 2)).await, (3, 2));
        let told = next_marks(&mut to_laptop).await;
        assert_eq!((told.conversation, told.epoch), (peer("bob"), Epoch(1)));
        assert_eq!((told.delivered, told.read), (Seq(3), Seq(2)));

        assert_eq!(marked(&phone, mark(1, 1)).await, (3, 2), "never back, and nobody is told");
        assert_eq!(marked(&laptop, mark(0, 3)).await, (3, 3), "seen from the other terminal");
        assert_eq!(marked(&phone, mark(99, 4)).await, (5, 4), "not above the newest");
        let told = next_marks(&mut to_laptop).await;
        assert_eq!((told.delivered, told.read), (Seq(5), Seq(4)), "the one before was its own");

        // A receipt that is still waiting gives its place to a newer one.
        let mut to_come = [(3, 2), (3, 3), (5, 4)].into_iter();
        let mut last = None;
        while last != Some((5, 4)) {
            let receipt = within(to_bob.recv()).await;
            let Some(Event::PeerMarked(told)) = receipt else { panic!("no receipt: {receipt:?}") };
            last = Some((told.delivered.0, told.read.0));
            assert_eq!(told.conversation, peer("alice"));
            assert!(to_come.any(|expected| Some(expected) == last), "{last:?} was told or never set");
        }
        phone.peer("bob").unwrap().send("read them all").await.unwrap();
        assert_eq!(next_message(&mut to_bob).await.position.seq, Seq(6));
        town.stop().await;
    }
}

#[tokio::test]
async fn marks_of_another_epoch_or_of_what_is_not_kept_are_refused() {
    let town = Town::new().await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let elsewhen = Mark { epoch: Epoch(2), ..mark(1, 1) };
        assert_eq!(refused(&alice, elsewhen).await, Code::EpochMismatch);
        let room = Mark { conversation: Conversation::Room(RoomId::new("r").unwrap()), ..mark(1, 1) };
        assert_eq!(refused(&alice, room).await, Code::InvalidArgument);
        assert_eq!(marked(&alice, mark(1, 1)).await, (0, 0), "there is nothing to have read");
    }
}

#[tokio::test]
async fn an_app_without_receipts_tells_marks_to_their_own_user_alone() {
    let town = Town::with(|config| config.apps.values_mut().for_each(|app| app.receipts = false)).await;
    for carrier in Carrier::ALL {
        let (alice, _events) = town.connect(carrier, "alice").await;
        let (bob, mut to_bob) = town.connect(carrier, "bob").await;
        let (_laptop, mut to_laptop) = town.connect(carrier, "alice").await;
        let sent = bob.peer("alice").unwrap().send("x").await.unwrap();
        let read = alice.peer("bob").unwrap().mark_read(sent.position).await.unwrap();
        assert_eq!(next_marks(&mut to_laptop).await.read, read.read);
        alice.peer("bob").unwrap().send("y").await.unwrap();
        assert!(matches!(within(to_bob.recv()).await, Some(Event::MessageSent(_))), "and no receipt before");
        let page = bob.conversations(None).await.unwrap();
        assert_eq!((page.conversations[0].peer_delivered, page.conversations[0].peer_read), (Seq(0), Seq(0)));
    }
}

#[tokio::test]
async fn a_login_brings_as_many_conversations_as_it_asks_for() {
    let town = Town::new().await;
    let (alice, _events) = town.connect(Carrier::Quic, "alice").await;
    for to in ["bob", "carla", "dave"] {
        alice.peer(to).unwrap().send("x").await.unwrap();
    }
    let pages = sync(&alice, None, 2).await;
    for (conversations, expected) in [
        (0, Ok(Conversations::default())),
        (2, Ok(pages)),
        (50, Ok(sync(&alice, None, 50).await)),
        (51, Err(Code::InvalidArgument)),
    ] {
        let mut raw = Raw::connect(&town, Carrier::Quic).await;
        raw.request(1, &Login { conversations, ..login(FAST, "alice") }).await;
        let told = raw.reply(1).await.map_err(|reject| reject.code);
        let told = told.map(|body| frame::decode::<LoggedIn>(&body).unwrap().conversations);
        assert_eq!(told, expected, "{conversations}");
    }
    town.stop().await;
}

async fn sync(client: &Client, after: Option<&str>, limit: u16) -> Conversations {
    within(client.call(Sync { after: after.map(peer), limit })).await.unwrap()
}

#[tokio::test]
async fn a_user_pages_through_their_own_conversations() {
    for carrier in Carrier::ALL {
        let town = Town::new().await;
        let (alice, _events) = town.connect(carrier, "alice").await;
        assert_eq!(sync(&alice, None, 100).await.conversations[..], [], "nobody said anything");
        let (bob, _events) = town.connect(carrier, "bob").await;
        for to in ["dave", "bob", "carla", "alice"] {
            alice.peer(to).unwrap().send("x").await.unwrap();
        }
        let sent = bob.peer("alice").unwrap().send("y").await.unwrap();
        bob.peer("dave").unwrap().send("none of alice's").await.unwrap();
        marked(&alice, mark(2, 1)).await;

        let (mut found, mut next) = (vec![], None);
        loop {
            let page = sync(&alice, next.as_deref(), 3).await;
            found.extend(page.conversations.into_vec());
            let Some(Conversation::Peer(last)) = page.next else { break };
            next = Some(last.to_string());
        }
        let names: Vec<_> = found.iter().map(|summary| summary.conversation.clone()).collect();
        assert_eq!(names, ["alice", "bob", "carla", "dave"].map(peer));
        let expected = Summary {
            conversation: peer("bob"),
            head: Position { epoch: Epoch(1), seq: Seq(2) },
            first: Seq(1),
            rev: Rev(0),
            time: sent.time,
            delivered: Seq(2),
            read: Seq(1),
            unread: 1,
            peer_delivered: Seq(0),
            peer_read: Seq(0),
        };
        assert_eq!(found[1], expected);
        assert_eq!(sync(&bob, Some("alice"), 1).await.conversations[0].conversation, peer("dave"));
        for limit in [0, 101] {
            assert_eq!(refused(&alice, Sync { after: None, limit }).await, Code::InvalidArgument);
        }
        town.stop().await;
    }
}
