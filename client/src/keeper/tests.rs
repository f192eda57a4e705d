use quail_protocol::{
    Epoch, Position, Priority, Rev, Seq,
    id::{AppId, UserId},
    message::{Content, MessageKind, Text},
    session::Platform,
};

use super::*;
use crate::storage::Memory;

fn at(user: &str, seq: u64) -> Note {
    Note::At(Cursor {
        conversation: Conversation::Peer(UserId::new(user).unwrap()),
        position: Position { epoch: Epoch(1), seq: Seq(seq) },
        ahead: Default::default(),
        rev: Rev(seq / 2),
    })
}

fn send(number: u8) -> Send {
    Send {
        conversation: Conversation::Peer(UserId::new("bob").unwrap()),
        id: ClientMessageId([number; 16]),
        priority: Priority::High,
        content: Content::new(MessageKind::Text, Text::encode(number.to_string()).unwrap()),
    }
}

fn login(user: &str, device: &str) -> Login {
    Login {
        revision: 1,
        app: AppId::new("demo").unwrap(),
        user: UserId::new(user).unwrap(),
        token: Default::default(),
        name: None,
        avatar: None,
        device: DeviceId::new(device).unwrap(),
        platform: Platform::Linux,
        client: Default::default(),
        stream_window_bytes: 0,
        streams_per_lane: 1,
        conversations: 0,
        resume: None,
    }
}

/// How far the next run is in each conversation.
fn kept(memory: &Memory) -> Vec<u64> {
    let (_, restored) = Keeper::open(&Slot::new(memory.clone())).unwrap();
    restored.cursors.iter().map(|cursor| cursor.position.seq.0).collect()
}

#[test]
fn only_what_was_taken_is_kept() {
    let memory = Memory::default();
    let (keeper, _) = Keeper::open(&Slot::new(memory.clone())).unwrap();
    keeper.pen().queued(false, Some(at("own", 9)));
    assert_eq!(kept(&memory), [9], "nothing stands before it");
    keeper.pen().queued(true, Some(at("bob", 1)));
    keeper.pen().queued(true, Some(at("bob", 2)));
    keeper.pen().queued(false, Some(at("bob", 3)));
    keeper.pen().queued(false, Some(at("bob", 4)));
    keeper.taken();
    assert_eq!(kept(&memory), [9]);
    keeper.handed();
    assert_eq!(kept(&memory), [9], "in hand");
    keeper.taken();
    assert_eq!(kept(&memory), [1, 9]);
    keeper.handed();
    keeper.taken();
    assert_eq!(kept(&memory), [4, 9], "with what filled its place behind it");
    let conversation = Conversation::Peer(UserId::new("bob").unwrap());
    keeper.pen().queued(false, Some(Note::LetGo(conversation)));
    keeper.pen().queued(false, Some(Note::Synced(Timestamp(5))));
    drop(keeper);
    let (_, restored) = Keeper::open(&Slot::new(memory)).unwrap();
    assert_eq!((restored.cursors.len(), restored.let_go, restored.synced), (1, true, Some(Timestamp(5))));
}

#[test]
fn the_last_event_is_taken_if_the_app_ended_the_session_and_left() {
    for (closed, left, expected) in
        [(false, false, &[][..]), (true, false, &[]), (false, true, &[]), (true, true, &[1])]
    {
        let memory = Memory::default();
        let (keeper, _) = Keeper::open(&Slot::new(memory.clone())).unwrap();
        for seq in 1..=2 {
            keeper.pen().queued(true, Some(at("bob", seq)));
        }
        keeper.handed();
        if closed {
            keeper.closed();
        }
        if left {
            keeper.left();
        }
        assert_eq!(kept(&memory), expected, "{closed} {left}");
    }
}

#[test]
fn messages_without_an_answer_are_there_in_the_next_run_in_order() {
    let memory = Memory::default();
    let (keeper, _) = Keeper::open(&Slot::new(memory.clone())).unwrap();
    for number in [3, 1, 2, 3] {
        keeper.sending(&send(number)).unwrap();
    }
    assert!(keeper.unsent().is_empty(), "of this run");
    keeper.answered(send(1).id);
    drop(keeper);
    let (keeper, restored) = Keeper::open(&Slot::new(memory.clone())).unwrap();
    assert_eq!(keeper.unsent(), [send(3), send(2)]);
    assert_eq!(restored.unsent.iter().map(|own| own.id).collect::<Vec<_>>(), [send(3).id, send(2).id]);
    keeper.sending(&send(4)).unwrap();
    keeper.sending(&send(3)).unwrap();
    keeper.answered(send(2).id);
    assert_eq!(keeper.unsent(), [send(3)]);
    drop(keeper);
    let (keeper, _) = Keeper::open(&Slot::new(memory)).unwrap();
    assert_eq!(keeper.unsent(), [send(3), send(4)], "one that is sent again keeps its turn");
}

#[test]
fn a_storage_has_one_owner_and_serves_one_at_a_time() {
    let slot = Slot::new(Memory::default());
    let (keeper, _) = Keeper::open(&slot).unwrap();
    assert!(matches!(Keeper::open(&slot), Err(ConnectError::Storage(_))));
    assert_eq!(keeper.device(), None);
    keeper.belongs_to(&login("alice", "phone")).unwrap();
    drop(keeper);
    let (keeper, _) = Keeper::open(&slot).unwrap();
    assert_eq!(keeper.device(), Some(DeviceId::new("phone").unwrap()));
    keeper.admit(&login("alice", "phone")).unwrap();
    for other in [login("bob", "phone"), login("alice", "laptop")] {
        assert!(matches!(keeper.admit(&other), Err(ConnectError::ForeignStorage { .. })));
    }
}

/// Keeps nothing.
struct Full;

impl Storage for Full {
    fn load(&mut self) -> io::Result<Vec<crate::storage::Entry>> {
        Ok(vec![])
    }

    fn put(&mut self, _: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn remove(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
}

#[test]
fn a_storage_that_fails_refuses_messages_and_holds_no_event_up() {
    let (keeper, _) = Keeper::open(&Slot::new(Full)).unwrap();
    assert!(keeper.sending(&send(1)).is_err());
    assert!(matches!(keeper.belongs_to(&login("alice", "phone")), Err(ConnectError::Storage(_))));
    keeper.pen().queued(true, Some(at("bob", 1)));
    keeper.handed();
    keeper.taken();
    assert!(keeper.desk().notes.is_empty());
}
