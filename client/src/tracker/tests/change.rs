//! Changes of messages: those that are told, and those that were missed.

use quail_protocol::{
    Rev,
    conversation::{Conversations, Summary},
    message::{Changed, Changes, ChangesPage, RecallNote, Recalled},
};

use super::*;

fn changed(story: &Story, seq: u64, rev: u64) -> Message {
    let recall = Some(RecallNote { operator: user("bob"), time: Timestamp(0) });
    Message { rev: Rev(rev), recall, ..story.message(seq) }
}

fn event(story: &Story, seq: u64, rev: u64) -> Event {
    Event::MessageChanged(Changed { prev: Rev(rev - 1), message: changed(story, seq, rev) })
}

/// What the app is told: messages, and changes with the numbers of change and message.
fn heard(tracker: &mut Tracker) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| tracker.pop_ready())
        .filter_map(|told| told.event)
        .map(|event| match event {
            Event::MessageSent(message) => (0, message.position.seq.0),
            Event::MessageChanged(changed) => (changed.message.rev.0, changed.message.position.seq.0),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn page(story: &Story, changes: &[(u64, u64)], rev: u64, more: bool) -> ChangesPage {
    let messages = changes.iter().map(|(rev, seq)| changed(story, *seq, *rev)).collect();
    let head = story.message(story.0.len() as u64).position;
    ChangesPage { head, rev: Rev(rev), messages: List::new(messages).unwrap(), more }
}

fn asked(tracker: &mut Tracker) -> Option<u64> {
    match tracker.ask() {
        Some(Query::Changes(Changes { since, .. })) => Some(since.0),
        None => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn changes_are_told_once_and_in_order_and_what_is_missing_is_fetched() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    for seq in 1..=4 {
        tracker.event(Event::MessageSent(story.message(seq)));
    }
    tracker.event(event(&story, 2, 1));
    tracker.event(event(&story, 2, 1));
    assert_eq!(heard(&mut tracker), [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2)]);
    tracker.event(event(&story, 4, 4));
    assert_eq!(heard(&mut tracker), [], "2 and 3 are missing");
    assert_eq!(asked(&mut tracker), Some(1));
    tracker.changes(page(&story, &[(2, 1)], 2, true));
    assert_eq!(heard(&mut tracker), [(2, 1)]);
    assert_eq!(asked(&mut tracker), Some(2));
    tracker.changes(page(&story, &[(3, 3), (4, 4)], 4, false));
    assert_eq!(heard(&mut tracker), [(3, 3), (4, 4)]);
    assert_eq!(asked(&mut tracker), None);
    tracker.event(event(&story, 3, 3));
    assert_eq!(heard(&mut tracker), [], "late on another lane");
}

#[test]
fn what_was_changed_before_the_first_message_is_no_news() {
    let (story, mut tracker) = (Story("nn"), tracker());
    tracker.event(Event::MessageSent(Message { rev: Rev(7), ..story.message(1) }));
    tracker.event(event(&story, 1, 8));
    assert_eq!(heard(&mut tracker), [(0, 1), (8, 1)]);
    assert_eq!(asked(&mut tracker), None);
}

#[test]
fn after_a_reconnect_missed_changes_are_fetched_and_a_restart_knows_the_last() {
    let (story, mut tracker) = (Story("nn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(event(&story, 1, 1));
    heard(&mut tracker);
    tracker.reconnected(true, Timestamp(0));
    let Some(Query::Resume(Resume { cursors })) = tracker.ask() else { panic!("not asked") };
    assert_eq!(cursors[0].rev, Rev(1), "which a storage keeps as well");
    let answer =
        Answer { missed: Missed::Replay, head: story.message(1).position, first: Seq(1), rev: Rev(2) };
    tracker.answered(Resumed { answers: List::new(vec![answer]).unwrap() });
    assert_eq!(asked(&mut tracker), Some(1));
    tracker.changes(page(&story, &[(2, 1)], 2, false));
    assert_eq!(heard(&mut tracker), [(2, 1)]);
}

#[test]
fn a_message_that_was_recalled_while_it_waited_is_told_as_it_is() {
    let (story, mut tracker) = (Story("nnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    tracker.event(event(&story, 3, 1));
    assert_eq!(heard(&mut tracker), [(0, 1)], "3 waits for 2");
    let query = history(&mut tracker);
    tracker.page(Page { messages: List::new(vec![story.message(2)]).unwrap(), ..story.page(&query, &[], 1) });
    let told: Vec<_> = std::iter::from_fn(|| tracker.pop_ready()).filter_map(|told| told.event).collect();
    let [Event::MessageSent(two), Event::MessageSent(three)] = &told[..] else { panic!("{told:?}") };
    assert!(two.recall.is_none() && three.recall.is_some());
}

/// The messages that the app is told, and if each was recalled then.
fn told_as(tracker: &mut Tracker) -> Vec<(u64, bool)> {
    std::iter::from_fn(|| tracker.pop_ready())
        .filter_map(|told| told.event)
        .map(|event| match event {
            Event::MessageSent(message) => (message.position.seq.0, message.recall.is_some()),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_message_that_a_change_overtook_is_told_as_it_is_and_not_as_it_was() {
    // 2 is on its way on a slower lane when 3 is recalled, and the answer tells of both.
    let (story, mut tracker) = (Story("nlnl"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    tracker.event(event(&story, 3, 2));
    assert_eq!(heard(&mut tracker), [(0, 1), (0, 3)]);
    assert_eq!(asked(&mut tracker), Some(0));
    tracker.changes(page(&story, &[(1, 2), (2, 3)], 2, false));
    assert_eq!(heard(&mut tracker), [(2, 3)], "2 can say it itself");
    tracker.event(Event::MessageSent(story.message(2)));
    tracker.event(event(&story, 2, 1));
    tracker.event(Event::MessageSent(story.message(4)));
    assert_eq!(told_as(&mut tracker), [(2, true), (4, false)]);
}

#[test]
fn a_page_that_was_read_before_a_change_does_not_undo_it() {
    let (story, mut tracker) = (Story("nnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told_as(&mut tracker), [(1, false)]);
    let query = history(&mut tracker);
    tracker.event(event(&story, 2, 1));
    tracker.page(story.page(&query, &[], 1));
    assert_eq!(told_as(&mut tracker), [(2, true), (3, false)]);
}

#[test]
fn a_change_of_an_own_message_is_told_before_its_answer() {
    let (story, mut tracker) = (Story("nn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    let (own, sent) = story.sent(2);
    tracker.sending(&own);
    let mine = Changed { prev: Rev(0), message: Message { rev: Rev(1), ..story.my_message(2) } };
    tracker.event(Event::MessageChanged(mine));
    tracker.sent(&own, &sent);
    assert_eq!(heard(&mut tracker), [(0, 1), (1, 2)]);
}

fn listed(tracker: &mut Tracker, story: &Story, rev: u64) {
    assert!(matches!(tracker.ask(), Some(Query::Sync(_))));
    let head = story.message(story.0.len() as u64).position;
    let summary = Summary { rev: Rev(rev), head, ..sync::summary("bob", 0, 1, 0) };
    tracker.listed(Conversations { conversations: List::new(vec![summary]).unwrap(), next: None });
}

#[test]
fn a_change_of_an_old_message_makes_no_news_of_what_follows_it() {
    let mut tracker = tracker();
    tracker.connected(Timestamp(5));
    tracker.event(event(&Story("nnn"), 1, 1));
    assert_eq!(heard(&mut tracker), [(1, 1)]);
    listed(&mut tracker, &Story("nnn"), 1);
    let story = Story("nnnn");
    tracker.event(Event::MessageSent(Message { rev: Rev(1), ..story.message(4) }));
    assert_eq!(heard(&mut tracker), [(0, 4)]);
    assert!(tracker.ask().is_none(), "2 and 3 were there before");
}

#[test]
fn a_change_that_was_on_its_way_when_a_conversation_was_listed_is_told() {
    let (story, mut tracker) = (Story("nnn"), tracker());
    tracker.connected(Timestamp(5));
    listed(&mut tracker, &story, 2);
    tracker.event(event(&story, 1, 2));
    assert_eq!(heard(&mut tracker), [(2, 1)]);
    tracker.event(event(&story, 1, 3));
    tracker.event(event(&story, 1, 3));
    assert_eq!(heard(&mut tracker), [(3, 1)]);
}

#[test]
fn a_change_in_a_conversation_that_began_during_a_reconnect_brings_what_was_missed() {
    let (story, mut tracker) = (Story("nn"), tracker());
    tracker.connected(Timestamp(5));
    assert!(matches!(tracker.ask(), Some(Query::Sync(_))));
    tracker.listed(Conversations { conversations: List::default(), next: None });
    tracker.reconnected(true, Timestamp(9));
    tracker.event(event(&story, 1, 1));
    assert_eq!(heard(&mut tracker), []);
    let asked = cursors(&mut tracker);
    assert_eq!(asked[0].position.seq, Seq(0));
    tracker.answered(answers(&[Answer { rev: Rev(1), ..story.answer(&asked[0], Seq(1)) }]));
    while let Some(query) = tracker.ask() {
        match query {
            Query::History(query) => tracker.page(story.page(&query, &[], 100)),
            Query::Sync(_) => tracker.listed(Conversations { conversations: List::default(), next: None }),
            other => panic!("{other:?}"),
        }
        if tracker.ready.is_empty() {
            continue;
        }
        assert_eq!(told_as(&mut tracker), [(1, true), (2, false)]);
    }
}

#[test]
fn an_own_recall_is_the_next_change_or_shows_that_one_is_missing() {
    let (story, mut tracker) = (Story("nn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    let recalled = |rev| Recalled { rev: Rev(rev), time: Timestamp(0) };
    tracker.recalled(&bob(), &recalled(1));
    assert_eq!(asked(&mut tracker), None);
    tracker.recalled(&bob(), &recalled(3));
    heard(&mut tracker);
    assert_eq!(asked(&mut tracker), Some(1));
}

#[test]
fn a_server_without_the_changes_is_not_asked_for_ever() {
    let (story, mut tracker) = (Story("nn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(event(&story, 1, 5));
    heard(&mut tracker);
    assert_eq!(asked(&mut tracker), Some(0));
    tracker.changes(page(&story, &[], 0, false));
    let told: Vec<_> = std::iter::from_fn(|| tracker.pop_ready()).filter_map(|told| told.event).collect();
    let [Event::Behind(behind)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((behind.rev, behind.cause), (Rev(5), BehindCause::Refused), "the app learns of it");
    assert_eq!(asked(&mut tracker), None);
}

#[test]
fn a_message_that_was_placed_before_the_login_has_waited() {
    let (story, mut tracker) = (Story("nn"), tracker());
    tracker.connected(Timestamp(5));
    let sync = tracker.ask();
    assert!(matches!(sync, Some(Query::Sync(_))));
    tracker.event(Event::MessageSent(Message { time: Timestamp(4), ..story.message(1) }));
    tracker.event(Event::MessageSent(Message { time: Timestamp(5), ..story.message(2) }));
    let waited: Vec<_> = std::iter::from_fn(|| tracker.pop_ready()).map(|told| told.waited).collect();
    assert_eq!(waited, [true, false]);
}
