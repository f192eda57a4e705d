//! Messages of rooms.

use quail_protocol::{Position, Rev, bounded::Text, id::RoomId, message::SenderNote, room::Role};
use quail_server::store::{Forget, Forgotten, RecallChange};

use super::*;

fn key(of: &str, room: &str, made: u64) -> ConversationKey {
    ConversationKey::Room(app(of), RoomId::new(room).unwrap(), Epoch(made))
}

fn said(key: &ConversationKey, id: u8, priority: Priority) -> Append {
    let ConversationKey::Room(_, room, _) = key else { panic!("{key:?}") };
    let (name, avatar) = (Text::new("A").unwrap(), Text::new("a.png").unwrap());
    Append {
        key: key.clone(),
        conversation: Conversation::Room(room.clone()),
        member: Some(SenderNote { name, avatar, role: Role::Admin }),
        ..append("a", "nobody", id, priority, "x")
    }
}

async fn say(store: &dyn Store, key: &ConversationKey, ids: std::ops::RangeInclusive<u8>) {
    append_batch(store, ids.map(|id| said(key, id, Priority::Normal)).collect()).await.unwrap();
}

async fn seqs(store: &dyn Store, key: &ConversationKey) -> Vec<u64> {
    let read = store.read_range(key, ALL).await.unwrap();
    read.messages.iter().map(|message| message.position.seq.0).collect()
}

async fn forget(store: &dyn Store, key: &ConversationKey, entries_max: u64) -> Forgotten {
    let forget = Write::Forget(Forget { key: key.clone(), entries_max });
    let written = store.write_batch(vec![forget]).await.unwrap();
    let [Written::Forget(forgotten)] = &written[..] else { panic!("{written:?}") };
    *forgotten
}

fn recall(key: &ConversationKey, by: &str, moderates: bool, seq: u64) -> Write {
    let ConversationKey::Room(.., made) = key else { panic!("{key:?}") };
    Write::Recall(RecallChange {
        key: key.clone(),
        position: Position { epoch: *made, seq: Seq(seq) },
        user: user(by),
        moderates,
        window: std::time::Duration::ZERO,
        time: Timestamp(1000),
    })
}

#[tokio::test]
async fn a_room_has_positions_of_its_own_in_the_epoch_it_was_made_under() {
    for (engine, store, _directory) in engines() {
        let keys = [key("demo", "r", 70), key("demo", "r", 71), key("demo", "rr", 70), key("other", "r", 70)];
        let batch = [&keys[0], &keys[1], &keys[0], &keys[2], &keys[3], &keys[0]];
        let batch: Vec<_> = batch.iter().zip(1..).map(|(key, id)| said(key, id, Priority::Low)).collect();
        let outcomes = append_batch(&*store, batch).await.unwrap();
        let places: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                let Position { epoch, seq } = placed(outcome).position;
                (epoch.0, seq.0, placed(outcome).prev.0)
            })
            .collect();
        assert_eq!(
            places,
            [(70, 1, 0), (71, 1, 0), (70, 2, 1), (70, 1, 0), (70, 1, 0), (70, 3, 2)],
            "{engine}"
        );
        let read = store.read_range(&keys[0], ALL).await.unwrap();
        let stored: Vec<_> = [0, 2, 5].iter().map(|i| placed(&outcomes[*i]).clone()).collect();
        assert_eq!((read.head.epoch, read.messages), (Epoch(70), stored), "{engine}: with who sent them");
        let none = store.heads(&[key("demo", "r", 72)]).await.unwrap()[0].position;
        assert_eq!(none, Position { epoch: Epoch(72), seq: Seq(0) }, "{engine}");
        let (views, _) = store.conversations(&app("demo"), &user("a"), None, 9).await.unwrap();
        assert_eq!(views, [], "{engine}: a room is in nobody's list");
    }
}

#[tokio::test]
async fn a_repetition_is_recognised_whatever_priority_it_gets() {
    for (engine, store, _directory) in engines() {
        let r = key("demo", "r", 70);
        let lowered = |priority| Append { asked: Priority::High, ..said(&r, 1, priority) };
        let first = append_batch(&*store, vec![lowered(Priority::Normal)]).await.unwrap();
        let place = Place::of(placed(&first[0]));
        assert_eq!(place.priority, Priority::Normal, "{engine}");
        let again = Appended::Duplicate(place);
        assert_eq!(store.find(&lowered(Priority::High)).await.unwrap(), Some(again.clone()), "{engine}");
        let asked_less = said(&r, 1, Priority::Normal);
        let elsewhere = said(&key("demo", "r", 71), 1, Priority::Normal);
        let batch = vec![lowered(Priority::High), asked_less, elsewhere];
        let outcomes = append_batch(&*store, batch).await.unwrap();
        assert_eq!(outcomes[..2], [again, Appended::Conflict], "{engine}");
        assert_eq!(placed(&outcomes[2]).position.seq, Seq(1), "{engine}: a room made anew");
    }
}

#[tokio::test]
async fn who_moderates_the_sender_takes_back_at_any_time() {
    for (engine, store, _directory) in engines() {
        let r = key("demo", "r", 70);
        say(&*store, &r, 1..=3).await;
        for (name, write, expected) in [
            ("the sender, late", recall(&r, "a", false, 1), Err(quail_protocol::Code::RecallTooLate)),
            ("another", recall(&r, "b", false, 1), Err(quail_protocol::Code::NotSender)),
            ("a moderator", recall(&r, "b", true, 2), Ok((1, true))),
            ("once more", recall(&r, "c", true, 2), Ok((1, false))),
            ("the next", recall(&r, "b", true, 1), Ok((2, true))),
        ] {
            let written = store.write_batch(vec![write]).await.unwrap();
            let [Written::Recall(outcome)] = &written[..] else { panic!("{engine} {name}: {written:?}") };
            let outcome = outcome.clone().map(|kept| (kept.message.rev.0, kept.changed));
            assert_eq!(outcome, expected, "{engine}: {name}");
        }
        let changes = store.changes(&r, Rev(0), 9, 1 << 20).await.unwrap();
        let changed: Vec<_> = changes.messages.iter().map(|message| message.position.seq.0).collect();
        assert_eq!((changed, changes.rev), (vec![2, 1], Rev(2)), "{engine}");
        assert_eq!(changes.messages[0].recall.as_ref().unwrap().operator, user("b"), "{engine}");
    }
}

#[tokio::test]
async fn a_room_that_is_over_is_removed_in_steps_and_nothing_else_is() {
    for (engine, store, _directory) in engines() {
        let (over, other) = (key("demo", "r", 70), key("demo", "r", 71));
        say(&*store, &over, 1..=25).await;
        say(&*store, &other, 1..=2).await;
        // The first six are trimmed.
        let bounded = Append { keep: std::num::NonZeroU64::new(20), ..said(&over, 26, Priority::Normal) };
        append_batch(&*store, vec![bounded]).await.unwrap();
        store.write_batch(vec![recall(&over, "b", true, 9), recall(&over, "b", true, 26)]).await.unwrap();
        assert_eq!(store.rooms().await.unwrap().histories, [over.clone(), other.clone()], "{engine}");
        // Twenty entries, then two notes of changes.
        for (most, entries, more, left) in
            [(8, 8, true, 15..27), (8, 8, true, 23..27), (5, 4, true, 27..27), (8, 0, false, 27..27)]
        {
            assert_eq!(forget(&*store, &over, most).await, Forgotten { entries, more }, "{engine}");
            assert_eq!(seqs(&*store, &over).await, left.collect::<Vec<_>>(), "{engine}");
        }
        assert_eq!(store.rooms().await.unwrap().histories, std::slice::from_ref(&other), "{engine}");
        assert_eq!(seqs(&*store, &other).await, [1, 2], "{engine}");
        assert_eq!(forget(&*store, &over, 8).await, Forgotten { entries: 0, more: false }, "{engine}");
        let changes = store.changes(&over, Rev(0), 9, 1 << 20).await.unwrap();
        assert_eq!((changes.messages, changes.rev), (vec![], Rev(0)), "{engine}");
        // What comes late all the same begins anew, and is found at the next start.
        say(&*store, &over, 30..=30).await;
        assert_eq!(seqs(&*store, &over).await, [1], "{engine}");
        assert_eq!(store.rooms().await.unwrap().histories, [over, other], "{engine}");
    }
}

#[tokio::test]
async fn a_step_in_the_batch_of_the_last_message_leaves_nothing_when_more_follow() {
    for (engine, store, _directory) in engines() {
        let over = key("demo", "r", 70);
        let step = || Write::Forget(Forget { key: over.clone(), entries_max: 8 });
        let last = Write::Append(said(&over, 1, Priority::Lowest));
        let mut outcomes = store.write_batch(vec![last, step(), step()]).await.unwrap();
        while let Some(Written::Forget(Forgotten { more: true, .. })) = outcomes.last() {
            outcomes = store.write_batch(vec![step()]).await.unwrap();
        }
        assert_eq!(store.rooms().await.unwrap().histories, [], "{engine}");
        assert_eq!(seqs(&*store, &over).await, [0; 0], "{engine}");
    }
}

#[tokio::test]
async fn rooms_are_found_among_the_conversations_of_many_apps() {
    for (engine, store, _directory) in engines() {
        let rooms = [key("a", "z", 1), key("ab", "a", 1), key("ab", "a", 2), key("b", "a", 1)];
        for room in &rooms {
            say(&*store, room, 1..=1).await;
        }
        for of in ["a", "aa", "b", "c"] {
            let peers = |id| Append {
                key: ConversationKey::peer(&app(of), &user("a"), &user(&format!("b{id}"))),
                ..append("a", &format!("b{id}"), id, Priority::Normal, "x")
            };
            append_batch(&*store, (1..=9).map(peers).collect()).await.unwrap();
        }
        let mut found = store.rooms().await.unwrap().histories;
        found.sort();
        assert_eq!(found, rooms, "{engine}");
    }
}

#[tokio::test]
async fn what_was_removed_in_part_is_removed_in_full_when_the_store_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        Embedded::open(&directory.path().join("store"), &Config::default(), false, Clock::system()).unwrap()
    };
    let over = key("demo", "r", 70);
    let store = open();
    say(&store, &over, 1..=20).await;
    store.write_batch((11..=20).map(|seq| recall(&over, "b", true, seq)).collect()).await.unwrap();
    let mut removed = 0;
    let mut steps = 0;
    let mut store = Some(store);
    loop {
        let open = store.take().unwrap_or_else(open);
        assert_eq!(open.rooms().await.unwrap().histories, std::slice::from_ref(&over), "after {steps}");
        let step = forget(&open, &over, 7).await;
        (removed, steps) = (removed + step.entries, steps + 1);
        if !step.more {
            assert_eq!(open.rooms().await.unwrap().histories, []);
            break;
        }
    }
    assert_eq!((removed, steps), (20, 5));
}
