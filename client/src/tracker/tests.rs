use quail_protocol::{
    Epoch, Priority, Rev, Timestamp,
    bounded::List,
    id::MessageId,
    message::{Ack, Content, History, MessageKind, Page, Sent},
    session::{Answer, Cursor, Missed, Resume, Resumed},
};

use super::*;
use crate::outbox::OwnMessage;

mod change;
mod notes;
mod random;
mod resume;
mod room;
mod standing;
mod sync;

const EPOCH: u64 = 3;

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn bob() -> Conversation {
    Conversation::Peer(user("bob"))
}

fn priority(letter: char) -> Priority {
    match letter {
        'h' => Priority::High,
        'n' => Priority::Normal,
        _ => Priority::Low,
    }
}

fn id(seq: u64) -> ClientMessageId {
    ClientMessageId([seq as u8; 16])
}

/// The history of a conversation: the letters are the priorities of its entries.
struct Story(&'static str);

impl Story {
    fn message(&self, seq: u64) -> Message {
        let letters: Vec<char> = self.0.chars().collect();
        let letter = letters[seq as usize - 1];
        let prev = (1..seq).rev().find(|prev| letters[*prev as usize - 1] == letter).unwrap_or(0);
        Message {
            id: MessageId([0; 16]),
            client_id: id(seq),
            conversation: Conversation::Peer(user("alice")),
            sender: user("bob"),
            member: None,
            position: Position { epoch: Epoch(EPOCH), seq: Seq(seq) },
            prev: Seq(prev),
            ordinal: 0,
            rev: Rev(0),
            recall: None,
            priority: priority(letter),
            time: Timestamp(0),
            content: Content::new(MessageKind::Text, Default::default()),
        }
    }

    fn my_message(&self, seq: u64) -> Message {
        Message { sender: user("alice"), conversation: bob(), ..self.message(seq) }
    }

    fn sent(&self, seq: u64) -> (OwnMessage, Sent) {
        let message = self.message(seq);
        let own = OwnMessage { conversation: bob(), id: message.client_id };
        let Message { id, position, prev, rev, priority, time, .. } = message;
        (own, Sent { id, position, prev, rev, priority, time, ack: Ack::Durable })
    }

    fn answer(&self, cursor: &Cursor, first: Seq) -> Answer {
        let head = Position { epoch: Epoch(EPOCH), seq: Seq(self.0.len() as u64) };
        let reached = |letter| {
            let ahead = cursor.ahead.iter().find(|ahead| ahead.priority == priority(letter));
            ahead.map_or(cursor.position.seq, |ahead| ahead.seq)
        };
        let missing = (1..).zip(self.0.chars()).any(|(seq, letter)| Seq(seq) > reached(letter));
        let missed = match missing {
            _ if cursor.position.epoch != head.epoch => Missed::EpochChanged,
            false => Missed::CaughtUp,
            true if cursor.position.seq.next() < first => Missed::Trimmed,
            true => Missed::Replay,
        };
        Answer { missed, head, first, rev: Rev(0) }
    }

    fn page(&self, query: &History, mine: &[u64], most: u64) -> Page {
        let head = self.0.len() as u64;
        let last = query.to.0.min(head);
        let end = last.min(query.from.0 + most - 1);
        let message = |seq| if mine.contains(&seq) { self.my_message(seq) } else { self.message(seq) };
        Page {
            head: Position { epoch: Epoch(EPOCH), seq: Seq(head) },
            first: Seq(1),
            rev: Rev(0),
            messages: List::new((query.from.0..=end).map(message).collect()).unwrap(),
            next: (end < last).then(|| Seq(end + 1)),
        }
    }
}

fn tracker() -> Tracker {
    Tracker::new(user("alice"))
}

/// What the app is told, behind-notices as negative numbers.
fn told(tracker: &mut Tracker) -> Vec<i64> {
    std::iter::from_fn(|| tracker.pop_ready())
        .filter_map(|told| told.event)
        .map(|event| match event {
            Event::MessageSent(message) => message.position.seq.0 as i64,
            Event::Behind(behind) => -(behind.head.seq.0 as i64),
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Answers cursors and serves pages until nothing is wanted. Returns the first numbers of the pages, and what the app is
/// told.
fn fetch(tracker: &mut Tracker, story: &Story, mine: &[u64], most: u64) -> (Vec<u64>, Vec<i64>) {
    let (mut asked, mut heard) = (vec![], vec![]);
    while let Some(query) = tracker.ask() {
        assert!(asked.len() < 100, "it ends");
        match query {
            Query::Resume(Resume { cursors }) => tracker.answered(Resumed {
                answers: List::new(cursors.iter().map(|cursor| story.answer(cursor, Seq(1))).collect())
                    .unwrap(),
            }),
            Query::History(query) => {
                asked.push(query.from.0);
                tracker.page(story.page(&query, mine, most));
            }
            other => panic!("{other:?}"),
        }
        heard.extend(told(tracker));
    }
    (asked, heard)
}

/// The page that is asked for next.
fn history(tracker: &mut Tracker) -> History {
    match tracker.ask() {
        Some(Query::History(query)) => query,
        other => panic!("{other:?}"),
    }
}

/// The cursors that are asked about next.
fn cursors(tracker: &mut Tracker) -> Vec<Cursor> {
    match tracker.ask() {
        Some(Query::Resume(Resume { cursors })) => cursors.into_vec(),
        other => panic!("{other:?}"),
    }
}

fn answers(answers: &[Answer]) -> Resumed {
    Resumed { answers: List::new(answers.to_vec()).unwrap() }
}

#[test]
fn what_is_next_is_told_at_once_and_what_is_not_waits_for_what_was_missed() {
    for (story, arrivals, at_once, asked, fetched) in [
        // In order; late on another lane; twice.
        ("nnnn", &[1, 2, 3, 4][..], &[1, 2, 3, 4][..], &[][..], &[][..]),
        ("nhnh", &[2, 4, 1, 3], &[2, 4, 1, 3], &[], &[]),
        ("nnn", &[1, 2, 2, 1, 3, 3], &[1, 2, 3], &[], &[]),
        // The first that is seen is the baseline.
        ("nnnnn", &[4, 5], &[4, 5], &[], &[]),
        // Holes.
        ("nnnn", &[1, 4], &[1], &[2], &[2, 3, 4]),
        ("nnnnnn", &[1, 4, 5, 6], &[1], &[2], &[2, 3, 4, 5, 6]),
        ("nnnnnn", &[1, 3, 6], &[1], &[2], &[2, 3, 4, 5, 6]),
        ("nhnhn", &[1, 5, 2, 4], &[1, 2, 4], &[3], &[3, 5]),
        ("nhnhnh", &[1, 2, 6, 3], &[1, 2, 3], &[4], &[4, 6]),
        ("nlnln", &[1, 2, 5], &[1, 2], &[3], &[3, 5]),
    ] {
        let (story, mut tracker) = (Story(story), tracker());
        for seq in arrivals {
            tracker.event(Event::MessageSent(story.message(*seq)));
        }
        assert_eq!(told(&mut tracker), at_once, "{} {arrivals:?}", story.0);
        let (from, heard) = fetch(&mut tracker, &story, &[], 100);
        assert_eq!((&from[..], &heard[..]), (asked, fetched), "{} {arrivals:?}", story.0);
    }
}

#[test]
fn what_arrives_while_a_page_is_on_its_way_keeps_its_place() {
    let (story, mut tracker) = (Story("nnnnnnn"), tracker());
    for seq in [1, 4] {
        tracker.event(Event::MessageSent(story.message(seq)));
    }
    assert!(tracker.ask().is_none(), "the app comes first");
    assert_eq!(told(&mut tracker), [1]);
    let query = history(&mut tracker);
    assert_eq!((query.from, query.to), (Seq(2), Seq(3)));
    assert!(tracker.ask().is_none(), "one at a time");
    tracker.event(Event::MessageSent(story.message(5)));
    tracker.event(Event::MessageSent(story.message(7)));
    tracker.page(story.page(&query, &[], 100));
    assert_eq!(told(&mut tracker), [2, 3, 4, 5]);
    assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![6], vec![6, 7]));
}

#[test]
fn a_new_session_fetches_what_came_after_the_last_that_is_known_in_pages() {
    let (story, mut tracker) = (Story("nhnhlnhnl"), tracker());
    // 3 was late when the connection broke.
    for seq in [1, 2, 4] {
        tracker.event(Event::MessageSent(story.message(seq)));
    }
    assert_eq!(told(&mut tracker), [1, 2, 4]);
    tracker.reconnected(false, Timestamp(0));
    // The new session tells of what is new; nothing stands before it on its priority.
    tracker.event(Event::MessageSent(story.message(7)));
    assert_eq!(told(&mut tracker), [7]);
    assert_eq!(fetch(&mut tracker, &story, &[], 2), (vec![3, 5, 8], vec![3, 5, 6, 8, 9]));
    tracker.reconnected(false, Timestamp(0));
    assert_eq!(fetch(&mut tracker, &story, &[], 2), (vec![], vec![]));
}

#[test]
fn a_reconnect_forgets_the_page_that_was_on_its_way() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told(&mut tracker), [1]);
    history(&mut tracker);
    tracker.reconnected(false, Timestamp(0));
    assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![2], vec![2, 3, 4]));
}

#[test]
fn own_sends_fill_their_place_and_are_not_told() {
    let (story, mut tracker) = (Story("nnnnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    let (own, sent) = story.sent(2);
    tracker.sending(&own);
    tracker.sent(&own, &sent);
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told(&mut tracker), [1, 3]);
    // The reply to 5 is lost; another session of this user sent 4.
    tracker.sending(&story.sent(5).0);
    tracker.reconnected(false, Timestamp(0));
    tracker.event(Event::MessageSent(story.message(6)));
    assert_eq!(fetch(&mut tracker, &story, &[4, 5], 100), (vec![4], vec![4, 6]));
    let (own, sent) = story.sent(5);
    tracker.sent(&own, &sent);
    assert_eq!(told(&mut tracker), []);
}

#[test]
fn an_own_send_beyond_a_hole_is_still_own_when_the_hole_is_filled() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    let (own, sent) = story.sent(4);
    tracker.sending(&own);
    tracker.sent(&own, &sent);
    tracker.reconnected(false, Timestamp(0));
    assert_eq!(told(&mut tracker), [1]);
    assert_eq!(fetch(&mut tracker, &story, &[4], 100).1, [2, 3]);
}

#[test]
fn behind_is_fetched_where_something_is_known_and_told_where_nothing_is() {
    let (story, mut tracker) = (Story("nnnnn"), tracker());
    let cause = BehindCause::SlowReader;
    let behind = |seq| Behind { conversation: bob(), head: story.message(seq).position, rev: Rev(0), cause };
    tracker.event(Event::Behind(behind(2)));
    assert_eq!(told(&mut tracker), [-2]);
    tracker.event(Event::MessageSent(story.message(3)));
    tracker.event(Event::Behind(behind(5)));
    assert_eq!(told(&mut tracker), [3]);
    assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![4], vec![4, 5]));
    tracker.event(Event::Behind(behind(5)));
    assert_eq!(fetch(&mut tracker, &story, &[], 100), (vec![], vec![]));
}

#[test]
fn a_refusal_is_repeated_or_told() {
    let (story, mut tracker) = (Story("nnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(3)));
    assert_eq!(told(&mut tracker), [1]);
    let query = tracker.ask();
    tracker.retry();
    assert_eq!(tracker.ask(), query);
    tracker.give_up(None);
    assert_eq!(told(&mut tracker), [3, -3]);
    assert!(!tracker.wants());
}

#[test]
fn a_server_that_answers_nothing_is_not_asked_for_ever() {
    let (story, mut tracker) = (Story("nnnn"), tracker());
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(4)));
    assert_eq!(told(&mut tracker), [1]);
    let query = history(&mut tracker);
    let stuck = Page {
        first: Seq(1),
        rev: Rev(0),
        messages: List::default(),
        next: Some(Seq(2)),
        head: story.message(4).position,
    };
    tracker.page(stuck);
    assert_eq!((query.from, told(&mut tracker)), (Seq(2), vec![4, -4]));
    // A history that ends before what the server told of.
    tracker.event(Event::MessageSent(story.message(1)));
    tracker.event(Event::MessageSent(story.message(4)));
    assert_eq!(told(&mut tracker), [1]);
    assert_eq!(fetch(&mut tracker, &Story("n"), &[], 100).1, [4]);
}

#[test]
fn memory_is_bounded() {
    let story = Story("nnn");
    let mut tracker = Tracker { conversations_max: 2, ..tracker() };
    let from = |sender: &str, seq| Event::MessageSent(Message { sender: user(sender), ..story.message(seq) });
    for sender in ["bob", "carol", "bob", "dave"] {
        tracker.event(from(sender, 1));
    }
    assert_eq!((tracker.tracks.len(), tracker.uses.len()), (2, 2));
    assert!(tracker.tracks.contains_key(&bob()), "carol was used least recently");
    tracker.event(from("bob", 3));
    assert_eq!(told(&mut tracker), [1, 1, 1]);
    tracker.event(from("dave", 2));
    tracker.event(from("erin", 1));
    assert_eq!(told(&mut tracker), [2, 1, 3, -3], "what is let go while it waits is told");
    assert_eq!((tracker.tracks.len(), tracker.held), (2, 0));
    assert!(tracker.ask().is_none());

    let many = Story("nnnnnnnnnnnnnnnnnnnnnnnnnnnnnn");
    let mut tracker = self::tracker();
    tracker.held = HELD_MAX;
    for seq in [1, 3, 4, 5] {
        tracker.event(Event::MessageSent(many.message(seq)));
    }
    assert_eq!(tracker.held, HELD_MAX);
    assert_eq!(told(&mut tracker), [1]);
    assert_eq!(fetch(&mut tracker, &many, &[], 2), (vec![2, 4], vec![2, 3, 4, 5]));
}
