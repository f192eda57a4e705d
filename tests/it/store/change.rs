//! Changes of placed entries, and what they leave.

use std::{num::NonZeroU64, time::Duration};

use quail_protocol::{Code, Position, Rev, message::RecallNote};
use quail_server::store::{RecallChange, RecallKept};

use super::*;

const WINDOW: Duration = Duration::from_millis(100);

fn recall(by: &str, seq: u64, time: u64) -> Write {
    let position = Position { epoch: Epoch(1), seq: Seq(seq) };
    Write::Recall(RecallChange {
        key: message_key(),
        position,
        user: user(by),
        moderates: false,
        window: WINDOW,
        time: Timestamp(time),
    })
}

async fn recalled(store: &dyn Store, write: Write) -> Result<RecallKept, Code> {
    let written = store.write_batch(vec![write]).await.unwrap();
    let [Written::Recall(outcome)] = &written[..] else { panic!("{written:?}") };
    outcome.clone()
}

/// The numbers of the entries of a page of changes, up to where it goes, and if more are left.
async fn changes(store: &dyn Store, since: u64, most: usize) -> (Vec<u64>, u64, bool) {
    let read = store.changes(&message_key(), Rev(since), most, 1 << 20).await.unwrap();
    (read.messages.iter().map(|message| message.position.seq.0).collect(), read.rev.0, read.more)
}

async fn five(store: &dyn Store, keep: Option<u64>) {
    let one = |id| Append {
        keep: keep.and_then(NonZeroU64::new),
        ..append(
            if id % 2 == 0 { "b" } else { "a" },
            if id % 2 == 0 { "a" } else { "b" },
            id,
            Priority::Normal,
            "x",
        )
    };
    append_batch(store, (1..=5).map(one).collect()).await.unwrap();
}

#[tokio::test]
async fn a_recall_leaves_the_place_and_nothing_that_was_said() {
    for (engine, store, _directory) in engines() {
        five(&*store, None).await;
        let kept = recalled(&*store, recall("a", 3, 50)).await.unwrap();
        assert_eq!((kept.prev, kept.message.rev, kept.changed), (Rev(0), Rev(1), true), "{engine}");
        let note = RecallNote { operator: user("a"), time: Timestamp(50) };
        let read = store.read_range(&message_key(), ALL).await.unwrap();
        assert_eq!((read.messages.len(), read.rev), (5, Rev(1)), "{engine}");
        assert_eq!(read.messages[2], kept.message, "{engine}");
        assert_eq!((&kept.message.recall, kept.message.content.body.len()), (&Some(note), 0), "{engine}");

        let again = recalled(&*store, recall("a", 3, 9999)).await.unwrap();
        assert_eq!((again.message, again.changed), (kept.message, false), "{engine}: once is enough");
        for (name, write, code) in [
            ("another's", recall("b", 1, 50), Code::NotSender),
            ("late", recall("a", 1, 102), Code::RecallTooLate),
            ("beyond", recall("a", 6, 50), Code::MessageNotFound),
            ("zero", recall("a", 0, 50), Code::MessageNotFound),
        ] {
            assert_eq!(recalled(&*store, write).await.unwrap_err(), code, "{engine}: {name}");
        }
        assert_eq!(changes(&*store, 0, 9).await, (vec![3], 1, false), "{engine}: refusals are no changes");
    }
}

#[tokio::test]
async fn changes_are_read_in_their_order_and_in_pages() {
    for (engine, store, _directory) in engines() {
        assert_eq!(changes(&*store, 0, 9).await, (vec![], 0, false), "{engine}");
        five(&*store, None).await;
        // In one batch, and the last of them placed in it, too.
        let late = Write::Append(append("a", "b", 6, Priority::High, "y"));
        let batch = vec![recall("a", 5, 9), recall("b", 2, 9), late, recall("a", 6, 9)];
        store.write_batch(batch).await.unwrap();
        for (since, most, expected) in [
            (0, 9, (vec![5, 2, 6], 3, false)),
            (0, 2, (vec![5, 2], 2, true)),
            (2, 2, (vec![6], 3, false)),
            (3, 2, (vec![], 3, false)),
            (99, 2, (vec![], 3, false)),
        ] {
            assert_eq!(changes(&*store, since, most).await, expected, "{engine}: {since}");
        }
        let read = store.read_range(&message_key(), ALL).await.unwrap();
        let revs: Vec<_> = read.messages.iter().map(|message| message.rev.0).collect();
        assert_eq!(revs, [0, 2, 0, 0, 1, 3], "{engine}");
        let next = append_batch(&*store, vec![append("a", "b", 7, Priority::Low, "z")]).await.unwrap();
        assert_eq!(placed(&next[0]).rev, Rev(3), "{engine}: it says how many changes went before");
    }
}

#[tokio::test]
async fn a_change_goes_with_its_entry() {
    for (engine, store, _directory) in engines() {
        five(&*store, Some(5)).await;
        store.write_batch(vec![recall("a", 1, 9), recall("b", 4, 9)]).await.unwrap();
        // The first is trimmed by an append that stands alone, the fourth by one behind a change of it.
        let bounded = |id, keep| {
            Write::Append(Append {
                keep: NonZeroU64::new(keep),
                ..append("a", "b", id, Priority::Normal, "x")
            })
        };
        store.write_batch(vec![bounded(6, 5)]).await.unwrap();
        assert_eq!(changes(&*store, 0, 9).await, (vec![4], 2, false), "{engine}");
        store.write_batch(vec![recall("a", 5, 9), bounded(7, 1)]).await.unwrap();
        assert_eq!(changes(&*store, 0, 9).await, (vec![], 3, false), "{engine}");
        let read = store.read_range(&message_key(), ALL).await.unwrap();
        assert_eq!((read.messages.len(), read.first), (1, Seq(7)), "{engine}");
        assert_eq!(
            recalled(&*store, recall("a", 5, 9)).await.unwrap_err(),
            Code::MessageNotFound,
            "{engine}"
        );
    }
}

#[tokio::test]
async fn unread_are_the_countable_messages_of_others_beyond_the_mark() {
    for (engine, store, _directory) in engines() {
        let uncounted = |id| {
            let mut append = append("b", "a", id, Priority::Normal, "x");
            append.content.options.count = false;
            append
        };
        five(&*store, None).await;
        append_batch(&*store, vec![uncounted(6), append("b", "a", 7, Priority::Normal, "x")]).await.unwrap();
        // a said 1, 3 and 5; b said 2, 4, 6, which does not count, and 7.
        let unread = async |of: &str| {
            let (page, _) = store.conversations(&app("demo"), &user(of), None, 9).await.unwrap();
            (page[0].unread, page[0].read.0, page[0].peer_read.0)
        };
        assert_eq!(unread("a").await, (3, 0, 0), "{engine}");
        for (read, expected) in [(1, 3), (2, 2), (3, 2), (4, 1), (6, 1), (7, 0)] {
            mark(&*store, "a", 1, 0, read).await.unwrap();
            assert_eq!(unread("a").await, (expected, read, 0), "{engine}: read up to {read}");
        }
        assert_eq!(unread("b").await, (3, 0, 7), "{engine}: and the other side knows");
        let read = store.read_range(&message_key(), ALL).await.unwrap();
        let ordinals: Vec<_> = read.messages.iter().map(|message| message.ordinal).collect();
        assert_eq!(ordinals, [1, 2, 3, 4, 5, 5, 6], "{engine}");
    }
}

#[tokio::test]
async fn what_is_not_to_be_kept_is_told_its_place_in_time_and_leaves_nothing() {
    for (engine, store, _directory) in engines() {
        let mut passing = append("a", "b", 9, Priority::Normal, "x");
        passing.content.options.persist = false;
        let batch =
            vec![passing.clone(), append("a", "b", 1, Priority::Normal, "x"), passing.clone(), passing];
        let outcomes = append_batch(&*store, batch).await.unwrap();
        let follows: Vec<_> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Appended::Passed(passed) => Some(passed.follows.seq.0),
                _ => None,
            })
            .collect();
        assert_eq!(follows, [0, 1, 1], "{engine}: no number, and no duplicate of it");
        assert_eq!(store.read_range(&message_key(), ALL).await.unwrap().messages.len(), 1, "{engine}");
    }
}

#[tokio::test]
async fn a_recipient_that_must_be_known_has_logged_in() {
    for (engine, store, _directory) in engines() {
        let to = |id| Append { known: Some(user("a")), ..append("b", "a", id, Priority::Normal, "x") };
        let outcomes = append_batch(&*store, vec![to(1)]).await.unwrap();
        assert_eq!(outcomes, [Appended::RecipientUnknown], "{engine}");
        // The login and the message in one batch.
        let batch = vec![feed::rename(1, 5), Write::Append(to(1))];
        let written = store.write_batch(batch).await.unwrap();
        assert!(matches!(&written[1], Written::Append(Appended::Placed(_))), "{engine}: {written:?}");
        assert!(
            matches!(append_batch(&*store, vec![to(2)]).await.unwrap()[0], Appended::Placed(_)),
            "{engine}"
        );
    }
}

#[tokio::test]
async fn a_range_is_read_from_its_end() {
    for (engine, store, _directory) in engines() {
        five(&*store, None).await;
        for (from, to, entries_max, expected, next) in [
            (1, 99, 9, 1..=5, None),
            (1, 99, 2, 4..=5, Some(3)),
            (2, 3, 1, 3..=3, Some(2)),
            (2, 2, 1, 2..=2, None),
        ] {
            let (from, to, direction) = (Seq(from), Seq(to), Direction::Backwards);
            let query = RangeQuery { from, to, entries_max, bytes_max: 1 << 20, direction };
            let read = store.read_range(&message_key(), query).await.unwrap();
            let seqs: Vec<_> = read.messages.iter().map(|message| message.position.seq.0).collect();
            assert_eq!((seqs, read.next), (expected.collect(), next.map(Seq)), "{engine} {query:?}");
        }
    }
}

#[tokio::test]
async fn changes_and_counts_are_there_when_the_store_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        Embedded::open(&directory.path().join("store"), &Config::default(), false, Clock::system()).unwrap()
    };
    let store = open();
    five(&store, None).await;
    store.write_batch(vec![recall("a", 3, 9)]).await.unwrap();
    mark(&store, "b", 1, 0, 3).await.unwrap();
    drop(store);
    let store = open();
    assert_eq!(changes(&store, 0, 9).await, (vec![3], 1, false));
    assert!(!recalled(&store, recall("a", 3, 9)).await.unwrap().changed);
    assert_eq!(recalled(&store, recall("a", 5, 9)).await.unwrap().message.rev, Rev(2));
    let (page, _) = store.conversations(&app("demo"), &user("b"), None, 9).await.unwrap();
    assert_eq!((page[0].unread, page[0].rev), (1, Rev(2)));
}
