//! What every storage engine must do. One suite for all of them.

mod change;
mod feed;
mod history;
mod room;

use std::sync::Arc;

use quail_protocol::{
    Conversation, Epoch, Priority, Seq, Timestamp,
    bounded::Text,
    id::{AppId, ClientMessageId, MessageId, UserId},
    message::{self, Content, Direction, Message, MessageKind},
};
use quail_server::{
    clock::Clock,
    domain::conversation::Marks,
    entropy::Entropy,
    store::{
        Append, Appended, ConversationKey, MarkChange, Place, ProfileChange, RangeQuery, Store, Write,
        Written,
        embedded::{Config, Embedded},
        memory::Memory,
    },
};
use quail_tests::store::append_batch;
use tempfile::TempDir;

fn engines() -> Vec<(&'static str, Arc<dyn Store>, TempDir)> {
    let directory = || tempfile::tempdir().unwrap();
    let on_disk = directory();
    let embedded =
        Embedded::open(&on_disk.path().join("store"), &Config::default(), false, Clock::system()).unwrap();
    vec![
        ("memory", Arc::new(Memory::new(Entropy::seeded(7).hasher())), directory()),
        ("embedded", Arc::new(embedded), on_disk),
    ]
}

fn app(id: &str) -> AppId {
    AppId::new(id).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn append(sender: &str, to: &str, id: u8, priority: Priority, text: &str) -> Append {
    Append {
        key: ConversationKey::peer(&app("demo"), &user(sender), &user(to)),
        conversation: Conversation::Peer(user(to)),
        sender: user(sender),
        member: None,
        id: MessageId([id; 16]),
        client_id: ClientMessageId([id; 16]),
        time: Timestamp(u64::from(id)),
        asked: priority,
        priority,
        content: Content::new(MessageKind::Text, message::Text::encode(text).unwrap()),
        known: None,
        keep: None,
    }
}

fn placed(outcome: &Appended) -> &Message {
    match outcome {
        Appended::Placed(message) => message,
        other => panic!("not placed: {other:?}"),
    }
}

const ALL: RangeQuery = RangeQuery {
    from: Seq(0),
    to: Seq(u64::MAX),
    entries_max: 1000,
    bytes_max: 1 << 20,
    direction: Direction::Forwards,
};

#[tokio::test]
async fn a_batch_gets_dense_numbers_per_conversation_and_the_last_of_each_priority() {
    for (engine, store, _directory) in engines() {
        use Priority::{High, Low};
        let batch = vec![
            append("a", "b", 1, Low, "1"),
            append("b", "a", 2, High, "2"),
            append("a", "c", 3, Low, "3"),
            append("a", "b", 4, Low, "4"),
            append("a", "b", 5, High, "5"),
        ];
        let outcomes = append_batch(&*store, batch).await.unwrap();
        let places: Vec<_> =
            outcomes.iter().map(placed).map(|m| (m.position.seq.0, m.prev.0, m.time.0)).collect();
        assert_eq!(places, [(1, 0, 1), (2, 0, 2), (1, 0, 3), (3, 1, 4), (4, 2, 5)], "{engine}");

        let one = ConversationKey::peer(&app("demo"), &user("b"), &user("a"));
        let other = ConversationKey::peer(&app("demo"), &user("a"), &user("c"));
        let none = ConversationKey::peer(&app("demo"), &user("x"), &user("y"));
        let heads = store.heads(&[one.clone(), none, other]).await.unwrap();
        let seen: Vec<_> =
            heads.iter().map(|head| (head.position.seq.0, head.first.0, head.time.0)).collect();
        assert_eq!(seen, [(4, 1, 5), (0, 1, 0), (1, 1, 3)], "{engine}");
        assert_eq!(heads[0].last_by_priority.map(|last| last.0), [0, 3, 0, 4], "{engine}");
        let read = store.read_range(&one, ALL).await.unwrap();
        let stored: Vec<_> = [0, 1, 3, 4].iter().map(|i| placed(&outcomes[*i]).clone()).collect();
        assert_eq!(read.messages, stored, "{engine}: what is read is what was placed");
    }
}

#[tokio::test]
async fn a_repetition_gets_the_first_place_inside_a_batch_and_across_batches() {
    for (engine, store, _directory) in engines() {
        let normal = Priority::Normal;
        let batch = vec![
            append("a", "b", 1, normal, "x"),
            append("a", "b", 1, normal, "x"),
            append("a", "b", 1, normal, "y"),
            append("b", "a", 1, normal, "x"),
        ];
        let first = append_batch(&*store, batch).await.unwrap();
        let place = Place::of(placed(&first[0]));
        assert_eq!(first[1], Appended::Duplicate(place), "{engine}: twice in one batch");
        assert_eq!(first[2], Appended::Conflict, "{engine}: another body");
        assert_eq!(placed(&first[3]).position.seq, Seq(2), "{engine}: the same id of another sender");

        let again = append_batch(&*store, vec![append("a", "b", 1, normal, "x")]).await.unwrap();
        assert_eq!(again[0], Appended::Duplicate(place), "{engine}: in a later batch");
        let urgent = append_batch(&*store, vec![append("a", "b", 1, Priority::High, "x")]).await.unwrap();
        assert_eq!(urgent[0], Appended::Conflict, "{engine}: another priority");

        // Above all that "a" had, then below that but new, and again.
        let later = [(7, "a", "c"), (3, "a", "b"), (7, "a", "c"), (3, "a", "b"), (1, "a", "b")];
        let later = later.map(|(id, sender, to)| append(sender, to, id, normal, "x"));
        let mut places = vec![];
        for one in later {
            match append_batch(&*store, vec![one]).await.unwrap().remove(0) {
                Appended::Placed(message) => places.push((message.position.seq.0, true)),
                Appended::Duplicate(place) => places.push((place.position.seq.0, false)),
                other => panic!("{engine}: {other:?}"),
            }
        }
        assert_eq!(places, [(1, true), (3, true), (1, false), (3, false), (1, false)], "{engine}");

        for (id, text, expected) in
            [(1, "x", Some(Appended::Duplicate(place))), (1, "y", Some(Appended::Conflict)), (9, "x", None)]
        {
            let found = store.find(&append("a", "b", id, normal, text)).await.unwrap();
            assert_eq!(found, expected, "{engine}");
        }
    }
}

#[tokio::test]
async fn the_newest_entries_are_kept_and_what_was_trimmed_is_no_new_message() {
    for (engine, store, _directory) in engines() {
        let bounded = |id, keep| {
            let append = append("a", "b", id, Priority::Normal, "x");
            Append { keep: std::num::NonZeroU64::new(keep), ..append }
        };
        let first = append_batch(&*store, vec![bounded(1, 3)]).await.unwrap();
        append_batch(&*store, (2..=40).map(|id| bounded(id, 30)).collect()).await.unwrap();
        let kept = async || {
            let read = store.read_range(&message_key(), ALL).await.unwrap();
            assert_eq!(store.heads(&[message_key()]).await.unwrap()[0].first, read.first, "{engine}");
            let seqs: Vec<_> = read.messages.iter().map(|message| message.position.seq.0).collect();
            assert_eq!(seqs, (read.first.0..=read.head.seq.0).collect::<Vec<_>>(), "{engine}");
            (read.first.0, read.head.seq.0)
        };
        assert_eq!(kept().await, (11, 40), "{engine}");
        let again = append_batch(&*store, vec![bounded(1, 3)]).await.unwrap();
        assert_eq!(again[0], Appended::Duplicate(Place::of(placed(&first[0]))), "{engine}");
        assert_eq!(kept().await, (11, 40), "{engine}: a repetition removes nothing");
        // A lowered limit is caught up with over several appends.
        append_batch(&*store, vec![bounded(41, 5)]).await.unwrap();
        assert_eq!(kept().await, (27, 41), "{engine}");
        append_batch(&*store, vec![bounded(42, 5)]).await.unwrap();
        assert_eq!(kept().await, (38, 42), "{engine}");
    }
}

fn message_key() -> ConversationKey {
    ConversationKey::peer(&app("demo"), &user("a"), &user("b"))
}

#[tokio::test]
async fn a_range_ends_at_its_bounds_and_says_where_to_go_on() {
    for (engine, store, _directory) in engines() {
        let batch = (1..=9).map(|id| append("a", "b", id, Priority::Normal, "0123456789")).collect();
        append_batch(&*store, batch).await.unwrap();
        for (from, to, entries_max, bytes_max, expected, next) in [
            (0, 99, 99, 9999, 1..=9, None),
            (3, 5, 99, 9999, 3..=5, None),
            (3, 99, 2, 9999, 3..=4, Some(5)),
            (8, 99, 2, 9999, 8..=9, None),
            (1, 99, 99, 25, 1..=2, Some(3)),
            (1, 99, 99, 1, 1..=1, Some(2)),
        ] {
            let query = RangeQuery {
                from: Seq(from),
                to: Seq(to),
                entries_max,
                bytes_max,
                direction: Direction::Forwards,
            };
            let read = store.read_range(&message_key(), query).await.unwrap();
            let seqs: Vec<_> = read.messages.iter().map(|message| message.position.seq.0).collect();
            assert_eq!(seqs, expected.collect::<Vec<_>>(), "{engine} {query:?}");
            assert_eq!(read.next, next.map(Seq), "{engine} {query:?}");
        }
    }
}

#[tokio::test]
async fn a_profile_keeps_what_a_change_leaves_out() {
    for (engine, store, _directory) in engines() {
        let change = |name: Option<&str>, avatar: Option<&str>| ProfileChange {
            app: app("demo"),
            user: user("a"),
            name: name.map(|name| Text::new(name).unwrap()),
            avatar: avatar.map(|avatar| Text::new(avatar).unwrap()),
            extension: None,
            time: Timestamp(7),
        };
        for (name, avatar, expected, feed) in [
            (None, None, ("", ""), None),
            (Some("A"), None, ("A", ""), Some(1)),
            (None, Some("u"), ("A", "u"), Some(2)),
            (Some("B"), None, ("B", "u"), Some(3)),
            (Some("B"), None, ("B", "u"), None),
        ] {
            let written = store.write_batch(vec![Write::Profile(change(name, avatar))]).await.unwrap();
            let [Written::Profile(kept)] = &written[..] else { panic!("{engine}: {written:?}") };
            assert_eq!(kept.feed, feed.map(Seq), "{engine}: {name:?} {avatar:?}");
            let found = store.profiles(&app("demo"), &[user("x"), user("a")]).await.unwrap();
            let [profile] = &found[..] else { panic!("{engine}: {found:?}") };
            assert_eq!((profile.name.as_str(), profile.avatar.as_str()), expected, "{engine}");
        }
        assert_eq!(
            store.profiles(&app("other"), &[user("a")]).await.unwrap(),
            [],
            "{engine}: apps are apart"
        );
    }
}

#[tokio::test]
async fn duplicates_are_forgotten_by_the_age_of_their_ids() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    for (engine, store, _directory) in engines() {
        let send = |day: u64| {
            let mut append = append("a", "b", 1, Priority::Normal, "x");
            append.client_id = ClientMessageId::at(day * DAY_MS, [1; 10]);
            append
        };
        for day in [10, 11, 20] {
            placed(&append_batch(&*store, vec![send(day)]).await.unwrap()[0]);
        }
        assert_eq!(store.forget_duplicates(Timestamp(12 * DAY_MS)).await.unwrap(), 2, "{engine}");
        assert_eq!(store.forget_duplicates(Timestamp(12 * DAY_MS)).await.unwrap(), 0, "{engine}");
        let again = append_batch(&*store, vec![send(20), send(10)]).await.unwrap();
        assert!(matches!(again[0], Appended::Duplicate(_)), "{engine}: still remembered");
        assert_eq!(placed(&again[1]).position.seq, Seq(4), "{engine}: forgotten");
    }
}

async fn mark(
    store: &dyn Store,
    of: &str,
    epoch: u64,
    delivered: u64,
    read: u64,
) -> Option<(u64, u64, bool)> {
    let change = MarkChange {
        app: app("demo"),
        user: user(of),
        key: message_key(),
        conversation: Conversation::Peer(user(if of == "a" { "b" } else { "a" })),
        epoch: Epoch(epoch),
        marks: Marks { delivered: Seq(delivered), read: Seq(read) },
        receipt: true,
    };
    let written = store.write_batch(vec![Write::Mark(change)]).await.unwrap();
    let [Written::Mark(kept)] = &written[..] else { panic!("{written:?}") };
    kept.as_ref().map(|kept| (kept.marks.delivered.0, kept.marks.read.0, kept.changed))
}

#[tokio::test]
async fn marks_are_kept_for_each_user_and_never_go_back() {
    for (engine, store, _directory) in engines() {
        assert_eq!(mark(&*store, "a", 1, 9, 9).await, Some((0, 0, false)), "{engine}: nothing there yet");
        append_batch(&*store, (1..=5).map(|id| append("a", "b", id, Priority::Normal, "x")).collect())
            .await
            .unwrap();
        for (of, epoch, delivered, read, expected) in [
            ("a", 1, 3, 2, Some((3, 2, true))),
            ("a", 1, 2, 1, Some((3, 2, false))),
            ("b", 1, 0, 1, Some((1, 1, true))),
            ("a", 2, 5, 5, None),
            ("a", 1, 9, 0, Some((5, 2, true))),
        ] {
            assert_eq!(mark(&*store, of, epoch, delivered, read).await, expected, "{engine}");
        }
    }
}

#[tokio::test]
async fn a_user_has_the_conversations_that_were_begun_in_the_order_of_their_names() {
    for (engine, store, _directory) in engines() {
        let batch = [("a", "c"), ("b", "a"), ("a", "bb"), ("a", "a"), ("a", "b"), ("b", "c")];
        let batch = batch.iter().zip(1..).map(|((from, to), id)| append(from, to, id, Priority::Normal, "x"));
        append_batch(&*store, batch.collect()).await.unwrap();
        mark(&*store, "a", 1, 1, 1).await.unwrap();
        for (of, after, limit, expected, more) in [
            ("a", None, 9, &["a", "b", "bb", "c"][..], false),
            ("a", None, 4, &["a", "b", "bb", "c"], false),
            ("a", None, 3, &["a", "b", "bb"], true),
            ("a", Some("b"), 9, &["bb", "c"], false),
            ("a", Some("c"), 9, &[], false),
            ("b", Some("aa"), 9, &["c"], false),
            ("aa", None, 9, &[], false),
        ] {
            let after = after.map(|after| Conversation::Peer(user(after)));
            let page = store.conversations(&app("demo"), &user(of), after.as_ref(), limit).await.unwrap();
            let names: Vec<_> = page.0.iter().map(|summary| summary.conversation.clone()).collect();
            let expected: Vec<_> = expected.iter().map(|name| Conversation::Peer(user(name))).collect();
            assert_eq!((names, page.1), (expected, more), "{engine}: {of} {after:?}");
        }
        let (of_a, _) = store.conversations(&app("demo"), &user("a"), None, 2).await.unwrap();
        let told = [(1, 4, 0, 0), (2, 5, 1, 1)];
        let seen = of_a.iter().map(|s| (s.head.seq.0, s.time.0, s.delivered.0, s.read.0));
        assert_eq!(seen.collect::<Vec<_>>(), told, "{engine}");
        assert_eq!(
            store.conversations(&app("other"), &user("a"), None, 9).await.unwrap(),
            (vec![], false),
            "{engine}: apps are apart"
        );
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_the_store_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        Embedded::open(&directory.path().join("store"), &Config::default(), false, Clock::system()).unwrap()
    };
    let store = open();
    let bounded =
        |id| Append { keep: std::num::NonZeroU64::new(3), ..append("a", "b", id, Priority::High, "x") };
    append_batch(&store, (1..=5).map(bounded).collect()).await.unwrap();
    mark(&store, "b", 1, 4, 3).await.unwrap();
    store.write_batch(vec![feed::rename(1, 5)]).await.unwrap();
    let head = store.heads(&[message_key()]).await.unwrap();
    drop(store);
    let store = open();
    assert_eq!(store.heads(&[message_key()]).await.unwrap(), head);
    assert_eq!((head[0].first, head[0].position.seq), (Seq(3), Seq(5)));
    assert_eq!(mark(&store, "b", 1, 0, 0).await, Some((4, 3, false)));
    assert_eq!(store.conversations(&app("demo"), &user("a"), None, 9).await.unwrap().0.len(), 1);
    assert_eq!(store.feed(&app("demo"), &user("a"), Seq(0), 9).await.unwrap().entries.len(), 1);
    let again = append_batch(&store, vec![bounded(1)]).await.unwrap();
    assert!(matches!(again[0], Appended::Duplicate(place) if place.position.seq == Seq(1)));
}

#[tokio::test]
async fn a_repetition_behind_an_older_message_that_is_new_gets_its_first_place_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        Embedded::open(&directory.path().join("store"), &Config::default(), false, Clock::system()).unwrap()
    };
    let message = |id| append("a", "b", id, Priority::Normal, "x");
    append_batch(&open(), vec![message(7)]).await.unwrap();
    let store = open();
    let mut outcomes = vec![];
    for id in [3, 7, 9, 7, 3, 9] {
        outcomes.extend(append_batch(&store, vec![message(id)]).await.unwrap());
    }
    let seqs = outcomes.iter().map(|outcome| match outcome {
        Appended::Placed(message) => (message.position.seq.0, true),
        Appended::Duplicate(place) => (place.position.seq.0, false),
        other => panic!("{other:?}"),
    });
    let expected = [(2, true), (1, false), (3, true), (1, false), (2, false), (3, false)];
    assert_eq!(seqs.collect::<Vec<_>>(), expected);
}
