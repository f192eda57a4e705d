use quail_protocol::{Event, Seq, Timestamp, bounded::Text, user::FeedPage};
use quail_server::store::{FEED_ENTRIES_MAX, ProfileChange, Store, Write};
use quail_tests::store::append_batch;

use super::{app, append, engines, mark, user};

pub(super) fn rename(name: u64, time: u64) -> Write {
    Write::Profile(ProfileChange {
        app: app("demo"),
        user: user("a"),
        name: Some(Text::new(name.to_string()).unwrap()),
        avatar: None,
        extension: None,
        time: Timestamp(time),
    })
}

async fn feed(store: &dyn Store, after: u64, limit: usize) -> FeedPage {
    store.feed(&app("demo"), &user("a"), Seq(after), limit).await.unwrap()
}

fn seqs(page: &FeedPage) -> Vec<u64> {
    page.entries.iter().map(|entry| entry.seq.0).collect()
}

#[tokio::test]
async fn a_feed_tells_what_changed_in_its_order() {
    for (engine, store, _directory) in engines() {
        let nothing = feed(&*store, 0, 9).await;
        assert_eq!((nothing.head.seq, nothing.first, nothing.next), (Seq(0), Seq(1), None), "{engine}");
        append_batch(&*store, vec![append("a", "b", 1, quail_protocol::Priority::Low, "x")]).await.unwrap();
        store.write_batch(vec![rename(1, 5), rename(1, 6), rename(2, 7)]).await.unwrap();
        mark(&*store, "a", 1, 1, 0).await.unwrap();
        store.write_batch(vec![rename(3, 8)]).await.unwrap();

        let page = feed(&*store, 0, 9).await;
        assert_eq!((page.head.seq, page.first, page.next), (Seq(3), Seq(1), None), "{engine}");
        let told: Vec<_> = page.entries.iter().map(|entry| (entry.time.0, entry.event().unwrap())).collect();
        let [
            (5, Event::ProfileUpdated(one)),
            (7, Event::ProfileUpdated(two)),
            (8, Event::ProfileUpdated(three)),
        ] = &told[..]
        else {
            panic!("{engine}: {told:?}")
        };
        assert_eq!((one.profile.name.as_str(), one.feed), ("1", Seq(1)), "{engine}");
        assert_eq!((two.profile.name.as_str(), two.feed), ("2", Seq(2)), "{engine}");
        assert_eq!(
            (three.profile.name.as_str(), three.feed),
            ("3", Seq(3)),
            "{engine}: marks are in no feed"
        );

        for (after, limit, expected, next) in [
            (0, 2, &[1, 2][..], Some(2)),
            (2, 2, &[3], None),
            (1, 2, &[2, 3], None),
            (3, 9, &[], None),
            (99, 9, &[], None),
            (u64::MAX, 0, &[], None),
        ] {
            let page = feed(&*store, after, limit).await;
            assert_eq!((&seqs(&page)[..], page.next), (expected, next.map(Seq)), "{engine}: {after} {limit}");
            assert_eq!(page.head.seq, Seq(3), "{engine}");
        }
    }
}

#[tokio::test]
async fn a_feed_keeps_its_newest_entries_and_none_that_is_old() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    for (engine, store, _directory) in engines() {
        store.write_batch((1..=FEED_ENTRIES_MAX + 5).map(|name| rename(name, 0)).collect()).await.unwrap();
        store.write_batch(vec![rename(0, 0)]).await.unwrap();
        let page = feed(&*store, 0, 2).await;
        assert_eq!((page.head.seq.0, page.first.0), (FEED_ENTRIES_MAX + 6, 7), "{engine}");
        assert_eq!((seqs(&page), page.next), (vec![7, 8], Some(Seq(8))), "{engine}: from the first on");

        for (day, name, first) in [(30, 1, 8), (31, 2, 24), (31, 3, 40)] {
            store.write_batch(vec![rename(name, day * DAY_MS)]).await.unwrap();
            assert_eq!(feed(&*store, 0, 0).await.first, Seq(first), "{engine}: day {day}");
        }
        for name in 4..70 {
            store.write_batch(vec![rename(name, 31 * DAY_MS)]).await.unwrap();
        }
        let page = feed(&*store, 0, 9).await;
        assert_eq!(page.first.0, FEED_ENTRIES_MAX + 7, "{engine}: those of the first day are gone");
        assert_eq!(seqs(&page)[0], FEED_ENTRIES_MAX + 7, "{engine}");
    }
}
