//! Conversations that this client has not heard of.

use quail_protocol::{
    Rev,
    conversation::{Conversations, Summary, Sync},
    message::Behind,
};

use super::*;

fn with(name: &str) -> Conversation {
    Conversation::Peer(user(name))
}

pub(super) fn summary(name: &str, head: u64, first: u64, time: u64) -> Summary {
    Summary {
        conversation: with(name),
        head: Position { epoch: Epoch(EPOCH), seq: Seq(head) },
        first: Seq(first),
        rev: Rev(0),
        time: Timestamp(time),
        delivered: Seq(0),
        read: Seq(0),
        unread: 0,
        peer_delivered: Seq(0),
        peer_read: Seq(0),
    }
}

fn listing(summaries: &[Summary], next: Option<&str>) -> Conversations {
    Conversations { conversations: List::new(summaries.to_vec()).unwrap(), next: next.map(with) }
}

/// After what the next page of conversations is asked for.
fn asked_after(tracker: &mut Tracker) -> Option<Conversation> {
    match tracker.ask() {
        Some(Query::Sync(Sync { after, limit: 100 })) => after,
        other => panic!("{other:?}"),
    }
}

/// A tracker that logged in at 10 and saw all pages.
fn knowing(summaries: &[Summary]) -> Tracker {
    let mut tracker = tracker();
    tracker.connected(Timestamp(10));
    assert_eq!(asked_after(&mut tracker), None);
    tracker.listed(listing(summaries, None));
    tracker
}

#[test]
fn what_the_login_brings_is_not_asked_for() {
    let mut tracker = tracker();
    tracker.connected(Timestamp(10));
    tracker.brought(listing(&[summary("ann", 3, 1, 5)], Some("ann")));
    assert_eq!(asked_after(&mut tracker), Some(with("ann")), "the second page");
    // The session goes on: what was asked is answered yet, and may be older than what the next login brings.
    tracker.reconnected(true, Timestamp(20));
    tracker.brought(listing(&[summary("ann", 3, 1, 5), summary("bob", 4, 1, 15)], None));
    tracker.listed(listing(&[summary("bob", 3, 1, 8)], None));
    tracker.unsure.clear();
    assert_eq!(asked_after(&mut tracker), None, "all of it again");
    tracker.listed(listing(&[], None));
    // And once all are known, a login that brings all is asked about none.
    tracker.reconnected(false, Timestamp(30));
    tracker.unsure.clear();
    tracker.brought(listing(&[summary("ann", 3, 1, 5), summary("cleo", 2, 1, 25)], None));
    let news = |query| matches!(query, Some(Query::History(History { conversation, .. })) if conversation == with("cleo"));
    assert!(news(tracker.ask()), "she is news");
}

fn reconnect(tracker: &mut Tracker, at: u64) {
    tracker.reconnected(false, Timestamp(at));
    while let Some(Query::Resume(Resume { cursors })) = tracker.ask() {
        let caught_up = |cursor: &Cursor| Answer {
            missed: Missed::CaughtUp,
            head: cursor.position,
            first: Seq(1),
            rev: Rev(0),
        };
        tracker.answered(answers(&cursors.iter().map(caught_up).collect::<Vec<_>>()));
    }
    tracker.retry();
}

#[test]
fn at_first_everything_is_followed_at_its_head_and_nothing_is_told() {
    let story = Story("nnnnhn");
    let mut tracker = tracker();
    tracker.connected(Timestamp(10));
    assert_eq!(asked_after(&mut tracker), None);
    tracker.listed(listing(&[summary("bob", 3, 1, 5)], Some("bob")));
    assert_eq!(asked_after(&mut tracker), Some(bob()));
    tracker.listed(listing(&[summary("carol", 7, 1, 5)], None));
    assert_eq!((tracker.ask(), told(&mut tracker)), (None, vec![]));
    tracker.event(Event::MessageSent(story.message(6)));
    assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![4], vec![4, 6]));
    tracker.event(Event::MessageSent(story.message(5)));
    assert_eq!((told(&mut tracker), tracker.ask()), (vec![5], None));
}

#[test]
fn a_new_conversation_is_told_from_its_beginning_however_it_is_heard_of() {
    for (first, expected) in [(1, vec![1, 2, 3, 4]), (3, vec![3, 4])] {
        let (story, mut tracker) = (Story("nhnn"), knowing(&[]));
        reconnect(&mut tracker, 20);
        assert_eq!(asked_after(&mut tracker), None);
        tracker.listed(listing(&[summary("bob", 4, first, 15)], None));
        assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![first], expected));
    }
    let story = Story("nhnn");
    let behind = Behind {
        conversation: bob(),
        head: story.message(4).position,
        rev: Rev(0),
        cause: BehindCause::SlowReader,
    };
    for event in [Event::MessageSent(story.message(4)), Event::Behind(behind)] {
        let mut tracker = knowing(&[]);
        tracker.event(event);
        assert_eq!(fetch(&mut tracker, &story, &[], 100).1, [1, 2, 3, 4]);
    }
    let mut tracker = knowing(&[]);
    let (own, sent) = story.sent(3);
    tracker.sending(&own);
    tracker.sent(&own, &sent);
    assert_eq!(fetch(&mut tracker, &story, &[3], 100), (vec![1], vec![1, 2, 4]));
}

#[test]
fn what_is_seen_before_all_is_known_begins_where_it_is_seen() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    tracker.connected(Timestamp(10));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told(&mut tracker), [3]);
    assert_eq!(asked_after(&mut tracker), None);
    tracker.listed(listing(&[summary("bob", 4, 1, 5)], None));
    tracker.event(Event::MessageSent(story.message(4)));
    assert_eq!((told(&mut tracker), tracker.ask()), (vec![4], None));
}

#[test]
fn a_reconnect_begins_the_pages_again() {
    for resumed in [false, true] {
        let (story, mut tracker) = (Story("nn"), knowing(&[]));
        reconnect(&mut tracker, 20);
        assert_eq!(asked_after(&mut tracker), None);
        tracker.listed(listing(&[], Some("x")));
        assert_eq!(asked_after(&mut tracker), Some(with("x")));
        tracker.reconnected(resumed, Timestamp(30));
        if resumed {
            tracker.listed(listing(&[], None));
        }
        assert_eq!(asked_after(&mut tracker), None, "what was seen may be old");
        tracker.listed(listing(&[summary("bob", 2, 1, 25)], None));
        assert_eq!(fetch(&mut tracker, &story, &[], 100).1, [1, 2]);
    }
}

#[test]
fn a_page_that_is_refused_changes_nothing_and_one_that_has_to_wait_is_asked_again() {
    let mut tracker = tracker();
    tracker.connected(Timestamp(10));
    assert_eq!(asked_after(&mut tracker), None);
    tracker.retry();
    assert_eq!(asked_after(&mut tracker), None);
    tracker.give_up(None);
    assert_eq!(tracker.ask(), None);
    reconnect(&mut tracker, 20);
    assert_eq!(tracker.ask(), None, "a server that has no pages is not asked for them for ever");
    tracker.connected(Timestamp(10));
    for _ in 0..2 {
        assert!(matches!(tracker.ask(), Some(Query::Sync(_))));
        tracker.listed(listing(&[], Some("x")));
    }
    assert_eq!(tracker.ask(), None, "nor one that goes round in circles");
}

#[test]
fn what_was_let_go_is_not_told_again_from_its_beginning() {
    let mut tracker = Tracker { conversations_max: 2, ..tracker() };
    tracker.connected(Timestamp(10));
    assert_eq!(asked_after(&mut tracker), None);
    tracker.listed(listing(&["bob", "carol", "dave"].map(|name| summary(name, 3, 1, 5)), None));
    assert_eq!((tracker.ask(), told(&mut tracker)), (None, vec![]));
    reconnect(&mut tracker, 20);
    assert_eq!(asked_after(&mut tracker), None);
    let page = [summary("dave", 3, 1, 5), summary("erin", 8, 1, 15)];
    tracker.listed(listing(&page, None));
    assert_eq!(told(&mut tracker), [-8], "only what is newer than the last login, and as a notice");
    assert_eq!(tracker.ask(), None);
    tracker.event(Event::MessageSent(Message { sender: user("dave"), ..Story("nnnnn").message(5) }));
    assert_eq!((told(&mut tracker), tracker.ask()), (vec![5], None));
}

#[test]
fn what_came_before_all_pages_were_seen_is_told_if_the_connection_was_lost_meanwhile() {
    let story = Story("nnnnn");
    let placed = |seq: u64| Message { time: Timestamp(seq), ..story.message(seq) };
    let mut tracker = tracker();
    tracker.connected(Timestamp(4));
    assert_eq!(asked_after(&mut tracker), None);
    tracker.reconnected(true, Timestamp(9));
    tracker.retry();
    assert_eq!(asked_after(&mut tracker), None);
    tracker.listed(listing(&[summary("bob", 5, 1, 5), summary("carol", 7, 1, 3)], None));
    let query = history(&mut tracker);
    assert_eq!((&query.conversation, query.to), (&bob(), Seq(5)));
    let messages = List::new((1..=5).map(placed).collect()).unwrap();
    tracker.page(Page { head: placed(5).position, first: Seq(1), rev: Rev(0), messages, next: None });
    assert_eq!((told(&mut tracker), tracker.ask()), (vec![4, 5], None));
    // From now on everything is news.
    tracker.event(Event::MessageSent(Message { time: Timestamp(9), ..Story("nnnnnn").message(6) }));
    assert_eq!(told(&mut tracker), [6]);
}
