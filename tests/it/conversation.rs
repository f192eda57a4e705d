use quail_client::{CallError, Client, Events};
use quail_protocol::{
    Code, Conversation, Epoch, Event, Seq,
    conversation::{ConversationMarked, Mark, Marked},
    id::{RoomId, UserId},
};
use quail_tests::{Carrier, Town, next_message, within};

fn peer(user: &str) -> Conversation {
    Conversation::Peer(UserId::new(user).unwrap())
}

fn mark(delivered: u64, read: u64) -> Mark {
    Mark { conversation: peer("bob"), epoch: Epoch(1), delivered: Seq(delivered), read: Seq(read) }
}

async fn marked(client: &Client, mark: Mark) -> (u64, u64) {
    let Marked { delivered, read } = within(client.call(mark)).await.unwrap();
    (delivered.0, read.0)
}

async fn refused(client: &Client, mark: Mark) -> Code {
    match within(client.call(mark)).await {
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

        phone.peer("bob").unwrap().send("read them all").await.unwrap();
        assert_eq!(next_message(&mut to_bob).await.position.seq, Seq(6), "the other side hears no marks");
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
