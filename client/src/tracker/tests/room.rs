//! What is told of messages that were dropped on the way.

use quail_protocol::{
    Rev,
    id::RoomId,
    message::{Changes, ChangesPage, Dropped, Gap, RecallNote},
    room::{Lifetime, RoomInfo, RoomState},
};

use super::*;

/// What the app is told: numbers of messages, and where it is behind or has a gap.
fn heard(tracker: &mut Tracker) -> Vec<String> {
    let told = std::iter::from_fn(|| tracker.pop_ready()).filter_map(|told| told.event);
    told.map(|event| match event {
        Event::MessageSent(message) => message.position.seq.0.to_string(),
        Event::Behind(behind) => format!("behind {}", behind.head.seq.0),
        Event::MessageGap(gap) => format!("gap to {}", gap.through.seq.0),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn gap(story: &Story, through: u64, count: u32) -> Event {
    let position = story.message(through).position;
    Event::MessageGap(Gap { conversation: bob(), priority: Priority::Normal, through: position, count })
}

#[test]
fn what_follows_a_gap_is_told_at_once() {
    let (story, mut tracker) = (Story("nnnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(gap(&story, 4, 3));
    tracker.event(Event::MessageSent(story.message(5)));
    assert_eq!(heard(&mut tracker), ["1", "gap to 4", "5"]);
    assert!(tracker.ask().is_none());
}

#[test]
fn a_gap_behind_a_hole_loses_nothing_that_arrived() {
    let (story, mut tracker) = (Story("nnnnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(heard(&mut tracker), ["1"], "3 waits for 2");
    tracker.event(gap(&story, 5, 2));
    tracker.event(Event::MessageSent(story.message(6)));
    assert_eq!(heard(&mut tracker), ["behind 5", "3", "gap to 5", "6"]);
}

#[test]
fn a_gap_that_comes_before_the_answer_to_a_cursor_hides_nothing_of_what_was_missed() {
    for is_asked in [false, true] {
        let (story, mut tracker) = (Story("nnnnn"), tracker());
        tracker.event(Event::MessageSent(story.message(1)));
        assert_eq!(heard(&mut tracker), ["1"]);
        tracker.reconnected(true, Timestamp(0));
        if is_asked {
            assert!(matches!(tracker.ask(), Some(Query::Resume(_))));
        }
        // 2 and 3 were placed while the connection was away.
        tracker.event(gap(&story, 4, 1));
        assert_eq!(heard(&mut tracker), ["behind 4", "gap to 4"], "{is_asked}");
    }
}

#[test]
fn what_was_told_before_a_gap_is_not_fetched_again_after_a_lost_connection() {
    let (story, mut tracker) = (Story("nnnhlln"), tracker());
    for seq in [1, 4, 5] {
        tracker.event(Event::MessageSent(story.message(seq)));
    }
    let lowest = Message { priority: Priority::Lowest, prev: Seq(0), ..story.message(6) };
    tracker.event(Event::MessageSent(lowest));
    tracker.event(gap(&story, 3, 2));
    tracker.event(Event::MessageSent(story.message(7)));
    assert_eq!(heard(&mut tracker), ["1", "4", "5", "6", "gap to 3", "7"]);
    tracker.reconnected(true, Timestamp(0));
    let Some(Query::Resume(Resume { cursors })) = tracker.ask() else { panic!("not asked") };
    assert_eq!(cursors[0].position.seq, Seq(7));
}

fn lobby() -> RoomId {
    RoomId::new("lobby").unwrap()
}

fn come_in(tracker: &mut Tracker, head: Position) {
    let state = RoomState {
        room: lobby(),
        info: RoomInfo::default(),
        lifetime: Lifetime::default(),
        counters_for_members: false,
        omit_notes: false,
        history: Default::default(),
        owner: UserId::new("alice").unwrap(),
        members: 1,
        visitors: 0,
        head,
        first: Seq(1),
        rev: Rev(0),
        created: Timestamp(0),
        role: None,
        attributes_version: 0,
        member_attributes_version: 0,
        counters_version: 0,
    };
    tracker.follow_room(&lobby(), &state, true);
}

/// A message of a room.
fn said(story: &Story, seq: u64) -> Event {
    let conversation = Conversation::Room(lobby());
    Event::MessageSent(Message { conversation, ..story.message(seq) })
}

#[test]
fn what_is_late_when_a_room_is_left_stays_so_when_the_app_comes_in_again() {
    let (story, mut tracker) = (Story("nnnnnnn"), tracker());
    let head = |seq| story.message(seq).position;
    come_in(&mut tracker, head(1));
    tracker.event(said(&story, 2));
    tracker.left(&lobby(), head(5));
    tracker.event(said(&story, 3));
    come_in(&mut tracker, head(6));
    tracker.event(said(&story, 4));
    tracker.event(said(&story, 5));
    tracker.event(said(&story, 7));
    assert_eq!(heard(&mut tracker), ["2", "7"]);
    assert!(tracker.ask().is_none());
}

#[test]
fn what_comes_after_leaving_all_rooms_and_coming_in_again_is_told() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    come_in(&mut tracker, story.message(1).position);
    tracker.left_all();
    tracker.event(said(&story, 2));
    come_in(&mut tracker, story.message(3).position);
    tracker.event(said(&story, 4));
    assert_eq!(heard(&mut tracker), ["4"]);
}

#[test]
fn an_answer_that_comes_after_a_room_was_left_does_not_tell_what_is_said_meanwhile() {
    let (story, mut tracker) = (Story("nnnnn"), tracker());
    let room = Conversation::Room(lobby());
    come_in(&mut tracker, story.message(1).position);
    let (own, sent) = story.sent(2);
    let own = OwnMessage { conversation: room, ..own };
    tracker.sending(&own);
    tracker.left(&lobby(), story.message(2).position);
    tracker.sent(&own, &sent);
    come_in(&mut tracker, story.message(4).position);
    tracker.event(said(&story, 5));
    assert_eq!(heard(&mut tracker), ["5"]);
    assert!(tracker.ask().is_none(), "3 and 4 were said to others");
}

#[test]
fn what_was_told_between_coming_in_and_an_answer_that_took_two_connections_is_asked_for() {
    let mut tracker = tracker();
    tracker.reconnected(true, Timestamp(1));
    come_in(&mut tracker, Story("n").message(1).position);
    let Some(Query::Resume(Resume { cursors })) = tracker.ask() else { panic!("it asks what it missed") };
    assert_eq!(cursors[0].conversation, Conversation::Room(lobby()));
}

/// A room with a message, which the app was told.
fn in_room(tracker: &mut Tracker) -> (Conversation, Message) {
    let conversation = Conversation::Room(RoomId::new("r").unwrap());
    let message = Message { conversation: conversation.clone(), ..Story("n").message(1) };
    tracker.event(Event::MessageSent(message.clone()));
    assert_eq!(heard(tracker), ["1"]);
    (conversation, message)
}

fn drop_some(tracker: &mut Tracker, conversation: &Conversation) {
    let dropped = Dropped { conversation: conversation.clone(), count: 3 };
    tracker.event(Event::MessagesDropped(dropped.clone()));
    assert_eq!(tracker.pop_ready().and_then(|told| told.event), Some(Event::MessagesDropped(dropped)));
}

fn asks_for_changes(tracker: &mut Tracker) {
    match tracker.ask() {
        Some(Query::Changes(Changes { since, .. })) => assert_eq!(since, Rev(0)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_change_that_was_dropped_in_a_room_is_fetched_with_one_question_for_many_drops() {
    let mut tracker = tracker();
    let (room, message) = in_room(&mut tracker);
    for _ in 0..3 {
        drop_some(&mut tracker, &room);
    }
    asks_for_changes(&mut tracker);
    let recall = Some(RecallNote { operator: user("bob"), time: Timestamp(0) });
    let changed = Message { rev: Rev(1), recall, ..message };
    let (head, messages) = (changed.position, List::new(vec![changed]).unwrap());
    tracker.changes(ChangesPage { head, rev: Rev(1), messages, more: false });
    assert!(matches!(tracker.pop_ready().and_then(|told| told.event), Some(Event::MessageChanged(_))));
    assert!(tracker.ask().is_none());
}

#[test]
fn drops_that_took_no_change_are_asked_about_once_and_told_as_nothing() {
    let mut tracker = tracker();
    let (room, message) = in_room(&mut tracker);
    let nothing = |tracker: &mut Tracker| {
        let (head, messages) = (message.position, List::default());
        tracker.changes(ChangesPage { head, rev: Rev(0), messages, more: false });
    };
    drop_some(&mut tracker, &room);
    asks_for_changes(&mut tracker);
    drop_some(&mut tracker, &room);
    nothing(&mut tracker);
    asks_for_changes(&mut tracker);
    nothing(&mut tracker);
    assert!(tracker.ask().is_none());
    drop_some(&mut tracker, &room);
    asks_for_changes(&mut tracker);
    tracker.retry();
    asks_for_changes(&mut tracker);
    tracker.give_up(None);
    assert!(tracker.ask().is_none());
    assert!(heard(&mut tracker).is_empty());
    let peer = bob();
    tracker.event(Event::MessageSent(Story("n").message(1)));
    tracker.pop_ready();
    drop_some(&mut tracker, &peer);
    assert!(tracker.ask().is_none(), "elsewhere no change is dropped");
}
