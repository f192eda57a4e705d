//! Rooms whose messages are kept, while nothing is written yet.

use quail_protocol::{
    Conversation, Lane, Operation, Seq,
    event::Kind,
    frame::{self, Decoder, Frame, Head, Outcome},
    id::ClientMessageId,
    limits::FRAME_BYTES_MAX,
    message::{self, Content, Message, MessageKind, Sent},
    room::{RoomHistory, RoomLeft},
};

use super::*;
use crate::{
    context::Context,
    hub::fanout::Ticket,
    services,
    store::{self, ConversationKey, Store, commit::Submission},
};

/// What a session is told: a reply, or an event by its kind and a number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Placed(u64),
    Refused(Code),
    Message(u64),
    Left(u64),
    Other(Kind),
}

/// Alice's room, with Bob in it.
struct Stage {
    shared: Arc<Shared>,
    alice: Arc<Session>,
    bob: Arc<Session>,
}

fn app() -> AppId {
    AppId::new("demo").unwrap()
}

fn room() -> RoomId {
    RoomId::new("r").unwrap()
}

fn log_in(name: &str, number: u8) -> Arc<Session> {
    let session = Arc::new(Session::new(outbox::Config::default()));
    let (user, device) = (UserId::new(name).unwrap(), DeviceId::new("d").unwrap());
    let (class, id) = (PlatformClass::Desktop, SessionId([number; 16]));
    session.log_in(Identity { app: app(), user, device, class, session: id }, Streams::default()).unwrap();
    session
}

impl Stage {
    /// Nothing of it is written, unless `is_synced`.
    fn new(is_synced: bool) -> Self {
        let rates = apps::Rates::all(1_000_000);
        let apps = [(app(), apps::Config { rates, ..apps::Config::default() })].into();
        let shared = Arc::new(Shared { apps, ..Shared::empty(NOW) });
        let stage = Self { shared, alice: log_in("alice", 1), bob: log_in("bob", 2) };
        stage.made(is_synced);
        stage
    }

    fn made(&self, is_synced: bool) {
        let lifetime = Lifetime { kind: LifetimeKind::Kept, ms: 0 };
        let settings = Settings { lifetime, history: RoomHistory::Stored, ..Settings::default() };
        for (session, door) in [(&self.alice, Door::Create(settings)), (&self.bob, Door::Join)] {
            let Identity { user, session: id, .. } = session.identity().unwrap().clone();
            let note =
                SenderNote { name: Default::default(), avatar: Default::default(), role: Role::Member };
            let newcomer = Newcomer { user, session: id, note };
            let (app, now) = (app(), self.shared.moment());
            let config = apps::Rooms::default();
            let rooms = &self.shared.rooms;
            let entered = rooms.enter((&app, &config), &room(), &door, (&newcomer, session), 0, now).unwrap();
            if is_synced {
                self.commit();
                entered.kept().now_or_never().expect("it is written").unwrap();
            }
        }
        for session in [&self.alice, &self.bob] {
            told(session);
        }
    }

    /// Writes all that waits, and tells it.
    fn commit(&self) {
        let Shared { committer, hub, rooms, store, metrics, clock, .. } = &*self.shared;
        let (hub, rooms, metrics) = (hub.clone(), rooms.clone(), metrics.clone());
        let stage = FanOut { hub, rooms, store: store.clone(), metrics };
        // The engine in memory never waits: what is left then is to wait for more.
        assert!(committer.clone().run(store.clone(), stage, *clock).now_or_never().is_none());
    }

    fn send(&self, number: u8, priority: Priority) {
        let content = Content::new(MessageKind::Text, message::Text::encode("x").unwrap());
        let id = ClientMessageId::at(NOW.0, [number; 10]);
        let send = message::Send { conversation: Conversation::Room(room()), id, priority, content };
        self.ask(number, &send);
    }

    /// Alice asks for something that is written.
    fn ask<O: Operation>(&self, number: u8, operation: &O) {
        let context = Context { session: self.alice.clone(), shared: self.shared.clone() };
        let body = frame::encode_body(operation).into();
        let serving = services::routes().serve(context, number.into(), O::INFO.opcode, body);
        serving.now_or_never().expect("it waits for nothing before the queue");
    }

    fn dismiss(&self) {
        let alice = UserId::new("alice").unwrap();
        let dismiss = Dismiss { room: room(), reason: Reason::default() };
        drop(self.shared.rooms.dismiss(&app(), &dismiss, (&alice, &self.alice)).unwrap());
    }

    fn kept(&self) -> RoomsKept {
        self.shared.store.rooms().now_or_never().unwrap().unwrap()
    }
}

/// All that waits in the outbox of a session, lane by lane.
fn told(session: &Session) -> Vec<Told> {
    let mut all = vec![];
    for lane in Lane::ALL {
        let mut decoder = Decoder::new(FRAME_BYTES_MAX);
        while let Some(batch) = session.outbox.take(Default::default(), lane, 1 << 20) {
            decoder.extend(&batch.bytes);
        }
        while let Some(Frame { head, body }) = decoder.next_frame().unwrap() {
            all.push(match head {
                Head::Reply { outcome: Outcome::Reject(reject), .. } => Told::Refused(reject.code),
                Head::Reply { .. } => Told::Placed(frame::decode::<Sent>(&body).unwrap().position.seq.0),
                Head::Event { kind } if kind == Message::KIND => {
                    Told::Message(frame::decode::<Message>(&body).unwrap().position.seq.0)
                }
                Head::Event { kind } if kind == RoomLeft::KIND => {
                    Told::Left(frame::decode::<RoomLeft>(&body).unwrap().last.seq.0)
                }
                Head::Event { kind } => Told::Other(kind),
                other => panic!("{other:?}"),
            });
        }
    }
    all
}

const EVERY: [Priority; 4] = [Priority::Lowest, Priority::High, Priority::Low, Priority::Normal];

#[tokio::test]
async fn nobody_is_told_before_it_is_written_and_then_everybody_in_one_order() {
    use Told::{Message, Placed};
    let stage = Stage::new(true);
    for (number, priority) in (1..).zip(EVERY) {
        stage.send(number, priority);
    }
    assert_eq!((told(&stage.alice), told(&stage.bob)), (vec![], vec![]));
    let head = || stage.shared.rooms.head(&app(), &room(), &stage.bob).unwrap().position.seq;
    assert_eq!(head(), Seq(0), "whoever comes now will be told of it");
    stage.commit();
    // Lanes from the most urgent on; High got its place before what came earlier.
    assert_eq!(told(&stage.alice), [Placed(1), Placed(2), Placed(3), Placed(4)]);
    assert_eq!(told(&stage.bob), [Message(1), Message(2), Message(3), Message(4)]);
    assert_eq!(head(), Seq(4));
}

#[tokio::test]
async fn what_is_placed_after_its_room_ended_is_told_to_nobody_and_leaves_nothing() {
    use Told::{Left, Refused};
    for again in [false, true] {
        let stage = Stage::new(true);
        for (number, priority) in (1..).zip(EVERY) {
            stage.send(number, priority);
        }
        stage.dismiss();
        if again {
            stage.made(false);
        }
        stage.commit();
        assert_eq!(told(&stage.alice), [Refused(Code::NotInRoom); 4]);
        let left = if again { vec![] } else { vec![Left(0)] };
        assert_eq!(told(&stage.bob), left, "{again}");
        let kept = stage.kept();
        assert_eq!(kept.histories, [], "{again}");
        assert_eq!(kept.rows.len(), usize::from(again), "{again}");
    }
}

#[tokio::test]
async fn what_is_taken_back_after_its_room_ended_is_told_to_nobody() {
    let stage = Stage::new(true);
    stage.send(1, Priority::Normal);
    stage.commit();
    let position = stage.shared.rooms.head(&app(), &room(), &stage.bob).unwrap().position;
    stage.ask(2, &message::Recall { conversation: Conversation::Room(room()), position });
    stage.dismiss();
    stage.commit();
    assert_eq!(told(&stage.alice), [Told::Refused(Code::NotInRoom), Told::Placed(1)]);
    assert_eq!(told(&stage.bob), [Told::Left(1), Told::Message(1)]);
    assert_eq!(stage.kept().histories, []);
}

#[tokio::test]
async fn a_room_that_is_not_written_yet_takes_no_message_that_is_to_be_kept() {
    let stage = Stage::new(false);
    stage.send(1, Priority::High);
    assert_eq!(told(&stage.alice), [Told::Refused(Code::Unavailable)]);
    stage.commit();
    assert_eq!(stage.kept().histories, []);
    // Whoever made it waits no more, and it is there all the same.
    stage.send(2, Priority::High);
    stage.commit();
    assert_eq!((told(&stage.alice), told(&stage.bob)), (vec![Told::Placed(1)], vec![Told::Message(1)]));
}

#[tokio::test]
async fn a_full_queue_refuses_before_anything_happens() {
    let stage = Stage::new(true);
    let change = RoomChange { app: app(), room: room(), epoch: Epoch(1), rows: vec![] };
    while !stage.shared.committer.is_full() {
        let (ticket, _) = tokio::sync::oneshot::channel();
        let (write, ticket) = (Write::Room(change.clone()), Ticket::Room { waiting: ticket, settles: None });
        stage.shared.committer.insist(Submission { write, ticket });
    }
    for number in 1..=50 {
        stage.send(number, Priority::Normal);
    }
    assert!(told(&stage.alice).iter().all(|told| *told == Told::Refused(Code::Unavailable)));
    stage.commit();
    assert_eq!(stage.kept().histories, []);
    // Nothing was taken from the room's budget, for which those would have been too many.
    for number in 51..=60 {
        stage.send(number, Priority::Normal);
    }
    stage.commit();
    assert_eq!(told(&stage.alice).len(), 10);
    assert_eq!(told(&stage.bob).len(), 10);
}

/// Messages of a room, more than one step removes.
async fn long_history(store: &dyn Store, made: Epoch, messages: u64) -> ConversationKey {
    let key = ConversationKey::Room(app(), room(), made);
    let append = |number: u64| {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        Write::Append(store::Append {
            key: key.clone(),
            conversation: Conversation::Room(room()),
            sender: UserId::new("alice").unwrap(),
            member: None,
            id: quail_protocol::id::MessageId(id),
            client_id: ClientMessageId(id),
            time: NOW,
            asked: Priority::Normal,
            priority: Priority::Normal,
            content: Content::new(MessageKind::Text, message::Text::encode("x").unwrap()),
            known: None,
            keep: None,
        })
    };
    store.write_batch((1..=messages).map(append).collect()).await.unwrap();
    key
}

#[tokio::test]
async fn a_start_removes_what_a_server_that_ended_had_not_and_no_more() {
    let stage = Stage::new(true);
    stage.send(1, Priority::Normal);
    stage.commit();
    let kept = stage.kept();
    let living = &kept.histories;
    assert_eq!(living.len(), 1);
    let over = long_history(&*stage.shared.store, Epoch(7), 2500).await;
    assert_eq!(stage.kept().histories, [&[over], &living[..]].concat());

    let shared = Arc::new(Shared { store: stage.shared.store.clone(), ..Shared::empty(NOW) });
    let next = Stage { shared, ..stage };
    let restored =
        next.shared.rooms.restore(next.kept(), |_| Some(apps::Rooms::default()), next.shared.moment());
    let restored = restored.unwrap();
    next.commit();
    let living_on = restored.kept().now_or_never().expect("it is written").unwrap();
    assert_eq!(living_on, *living);
    assert_eq!(next.kept().histories, *living);
    assert!(next.shared.metrics.render().contains("quail_room_history_forgotten_total 2500"));
}

#[tokio::test]
async fn a_server_that_ends_leaves_the_rest_to_the_next() {
    let shared = Arc::new(Shared::empty(NOW));
    let over = long_history(&*shared.store, Epoch(7), 2500).await;
    let stage = Stage { shared, alice: log_in("alice", 1), bob: log_in("bob", 2) };
    let rooms = &stage.shared.rooms;
    drop(rooms.restore(stage.kept(), |_| Some(apps::Rooms::default()), stage.shared.moment()).unwrap());
    rooms.close();
    stage.commit();
    let head = stage.shared.store.heads(&[over]).await.unwrap()[0];
    assert_eq!((head.first.0, head.position.seq.0), (1001, 2500));
}
